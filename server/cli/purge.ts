import type { PurgeReport } from "../../storage/purge-removal.ts";
import type { PurgeRequest } from "../admin/purge-request.ts";
import { parsePurge, targetOf } from "../admin/purge-request.ts";
import { openBucket } from "../stores.ts";
import { purgeRun } from "../upkeep.ts";
import { Progress, readableBytes } from "./progress.ts";
import type { Reached, StoreOptions } from "./purge-store.ts";
import { reachStore } from "./purge-store.ts";

export interface PurgeOptions extends StoreOptions {
  readonly upstream?: string;
  readonly olderThan?: string;
}

const SECONDS: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400, w: 604_800 };
const HINT =
  "nothing that is held matches. Names are those of the upstream, as in team.example/app or " +
  "docker.io/library/nginx; team.example/** is all below, --upstream NAME all of a registry";

/**
 * Removes what was asked for from the store, or has the proxy that uses it do so. Returns the exit
 * code: 0 when something went, or would; 1 when nothing matches, or something could not be removed.
 */
export async function purge(
  image: string | undefined,
  options: PurgeOptions,
  fail: (message: string) => never,
): Promise<number> {
  const { upstream, olderThan, dryRun } = options;
  const olderThanSeconds = olderThan === undefined ? undefined : parseAge(olderThan);
  if (olderThan !== undefined && olderThanSeconds === undefined) {
    return fail("--older-than takes an age such as 30d, 12h, 90m or 4w");
  }
  const request: PurgeRequest = {
    ...(image !== undefined && { image }),
    ...(upstream !== undefined && { upstream }),
    ...(olderThanSeconds !== undefined && { olderThanSeconds }),
    ...(dryRun !== undefined && { dryRun }),
  };
  try {
    parsePurge(request);
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
  const report = await carryOut(request, await reachStore(options), options);
  process.stdout.write(
    options.json ? `${JSON.stringify(report, undefined, 2)}\n` : toText(report, dryRun === true),
  );
  if (report.tags + report.contents + report.blobs + report.failed + report.repositories === 0) {
    process.stderr.write(`sluice: ${HINT}\n`);
    return 1;
  }
  return report.failed > 0 ? 1 : 0;
}

async function carryOut(
  request: PurgeRequest,
  reached: Reached,
  options: PurgeOptions,
): Promise<PurgeReport> {
  // What can be no image is said here, whoever would carry it out.
  const target = targetOf(request, reached.settings, Date.now());
  if ("admin" in reached) {
    return toReport(await reached.admin.ask("POST", "/api/v1/purge", request));
  }
  await using disk = reached.disk;
  await using bucket = await openBucket(reached.settings.storage, reached.events);
  const progress = new Progress(process.stderr, { isQuiet: options.json === true });
  const { report } = await disk.purger.purge(target, {
    ...purgeRun(),
    behind: bucket === undefined ? [] : [bucket.blobs],
    isDryRun: request.dryRun === true,
    onProgress: ({ blobs, freedBytes }) => {
      progress.show({ done: blobs, text: `${blobs} blobs, ${readableBytes(freedBytes)}` });
    },
  });
  progress.end();
  return report;
}

/** `30d` in seconds; undefined for what is no age. */
function parseAge(text: string): number | undefined {
  const [, count = "", unit = ""] = /^([1-9][0-9]{0,5})([mhdw])$/.exec(text) ?? [];
  const seconds = Number(count) * (SECONDS[unit] ?? 0);
  return seconds > 0 ? seconds : undefined;
}

/** From another version of the proxy a number may be missing. */
function toReport(answer: unknown): PurgeReport {
  const read = (key: string): number => {
    const value: unknown = Object(answer)[key];
    return typeof value === "number" ? value : 0;
  };
  const names: unknown = Object(answer)["names"];
  return {
    repositories: read("repositories"),
    names: Array.isArray(names) ? names.filter((name) => typeof name === "string") : [],
    tags: read("tags"),
    contents: read("contents"),
    blobs: read("blobs"),
    freedBytes: read("freedBytes"),
    failed: read("failed"),
  };
}

function toText(report: PurgeReport, isDryRun: boolean): string {
  const { repositories, names, tags, blobs, freedBytes, failed } = report;
  const more = repositories > names.length ? [`… and ${repositories - names.length} more`] : [];
  const verb = isDryRun ? "would remove" : "removed";
  const lines = [
    ...names.map((name) => `${name}`),
    ...more,
    `${verb} ${tags} tags and ${blobs} blobs of ${repositories} repositories, ${readableBytes(freedBytes)}`,
    ...(failed > 0 ? [`${failed} blobs could not be removed`] : []),
  ];
  return lines.map((line) => `${line.replace(/[^\x20-\x7e…]/g, "?")}\n`).join("");
}
