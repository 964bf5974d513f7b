import { setTimeout as sleep } from "node:timers/promises";
import { isDigest } from "../../storage/digest.ts";
import type { ScrubReport } from "../../storage/scrub.ts";
import { parseBytes } from "../config/quantities.ts";
import { PURGE_LIMITS } from "../limits.ts";
import { Progress, readableBytes } from "./progress.ts";
import type { AdminClient, StoreOptions } from "./purge-store.ts";
import { reachStore, StoreProblem } from "./purge-store.ts";

export interface ScrubCommandOptions extends StoreOptions {
  readonly rate?: string;
}

interface Work {
  readonly bytesPerSecond: number;
  readonly dryRun: boolean;
}

/**
 * Hashes all that is held again, or has the proxy that uses the store do so. Returns the exit code:
 * 0 when all of it is whole, 1 when something is damaged or could not be looked at.
 */
export async function scrub(
  options: ScrubCommandOptions,
  fail: (message: string) => never,
): Promise<number> {
  const { scrubRate, scrubRateMin, scrubRateMax } = PURGE_LIMITS;
  const bytesPerSecond = options.rate === undefined ? scrubRate : parseBytes(options.rate);
  if (
    bytesPerSecond === undefined ||
    bytesPerSecond < scrubRateMin ||
    bytesPerSecond > scrubRateMax
  ) {
    return fail("--rate takes bytes a second, 1MiB to 10GiB, such as 100MiB");
  }
  const work = { bytesPerSecond, dryRun: options.dryRun === true };
  const reached = await reachStore(options);
  const progress = new Progress(process.stderr, { isQuiet: options.json === true });
  const show = (report: ScrubReport): void => {
    const { bytes: done, totalBytes: total, blobs, damaged } = report;
    progress.show({ done, total, text: `${blobs} blobs, ${damaged} damaged` });
  };
  let report: ScrubReport;
  if ("admin" in reached) {
    report = await follow(reached.admin, work, show);
  } else {
    await using disk = reached.disk;
    const { dryRun: isDryRun } = work;
    report = await disk.scrubber.run({ bytesPerSecond, isDryRun, onProgress: show });
  }
  progress.end();
  process.stdout.write(
    options.json ? `${JSON.stringify(report, undefined, 2)}\n` : toText(report, work.dryRun),
  );
  return report.damaged + report.failed > 0 ? 1 : 0;
}

/** Whoever stops looking does not stop the scrub. */
async function follow(
  admin: AdminClient,
  work: Work,
  show: (report: ScrubReport) => void,
): Promise<ScrubReport> {
  await admin.ask("POST", "/api/v1/scrub", work);
  for (;;) {
    const answer = Object(await admin.ask("GET", "/api/v1/scrub"));
    const report = toReport(answer["report"]);
    if (answer["state"] === "done") {
      return report;
    }
    if (answer["state"] !== "running") {
      throw new StoreProblem("the scrub ended early: the proxy's log says why");
    }
    show(report);
    await sleep(PURGE_LIMITS.scrubPollMs);
  }
}

/** From another version of the proxy a number may be missing. */
function toReport(answer: unknown): ScrubReport {
  const read = (key: string): number => {
    const value: unknown = Object(answer)[key];
    return typeof value === "number" ? value : 0;
  };
  const digests: unknown = Object(answer)["damagedDigests"];
  return {
    blobs: read("blobs"),
    bytes: read("bytes"),
    totalBlobs: read("totalBlobs"),
    totalBytes: read("totalBytes"),
    damaged: read("damaged"),
    damagedDigests: Array.isArray(digests) ? digests.filter(isDigest) : [],
    missing: read("missing"),
    failed: read("failed"),
    freedBytes: read("freedBytes"),
  };
}

function toText(report: ScrubReport, isDryRun: boolean): string {
  const { blobs, bytes, damaged, damagedDigests, missing, failed, freedBytes } = report;
  const whatNow = isDryRun ? "would be put aside" : "were put aside: the next pull fetches them";
  const lines = [
    ...damagedDigests.map((digest) => `damaged ${digest}`),
    `looked at ${blobs} blobs, ${readableBytes(bytes)}: ${blobs - damaged - missing - failed} whole`,
    ...(damaged > 0 ? [`${damaged} damaged, ${readableBytes(freedBytes)}, ${whatNow}`] : []),
    ...(missing > 0 ? [`${missing} were in the index only`] : []),
    ...(failed > 0 ? [`${failed} could not be looked at`] : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}
