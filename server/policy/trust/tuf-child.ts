import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { initTUF } from "@sigstore/tuf";
import { POLICY_LIMITS } from "../../limits.ts";
import type { GuardedFetch } from "./tuf-fetch.ts";
import { guardFetch } from "./tuf-fetch.ts";
import type { TufAnswer, TufJob } from "./tuf-refresh.ts";
import type { TufSource } from "./tuf-source.ts";

const TARGET = "trusted_root.json";

/** Entry of the process that does one refresh: a job comes, an answer goes, then it ends. */
process.once("message", (job) => {
  refresh(job as TufJob).then(
    (answer) => process.send?.(answer, () => process.exit(0)),
    () => process.exit(1),
  );
});
process.once("disconnect", () => process.exit(1));

async function refresh({ source, folder }: TufJob): Promise<TufAnswer> {
  const guard = guardFetch(globalThis.fetch, source.mirror);
  globalThis.fetch = guard.fetch;
  try {
    const rootPath = await startRoot(source, folder);
    const options = {
      mirrorURL: source.mirror,
      cachePath: folder,
      ...(rootPath === undefined ? {} : { rootPath }),
      retry: false,
      timeout: POLICY_LIMITS.trustRequestTimeoutMs,
    };
    const { client, isReset } = await open(options, guard);
    const trustedRoot = await client.getTarget(TARGET);
    return { outcome: "fetched", trustedRoot, isReset };
  } catch (error) {
    return failureOf(error, guard);
  }
}

interface Opened {
  readonly client: Awaited<ReturnType<typeof initTUF>>;
  readonly isReset: boolean;
}

/**
 * The client writes its files in place and never mends them: when the root that it kept cannot be
 * read, the chain of roots is walked again from the start. Only then: a mirror that is refused must
 * not be able to make us forget a root that we have left behind.
 */
async function open(options: Parameters<typeof initTUF>[0], guard: GuardedFetch): Promise<Opened> {
  try {
    return { client: await initTUF(options), isReset: false };
  } catch (error) {
    if (guard.requests() > 0) {
      throw error;
    }
    return { client: await initTUF({ ...options, forceInit: true }), isReset: true };
  }
}

/** The client wants a file. */
async function startRoot({ root }: TufSource, folder: string): Promise<string | undefined> {
  if (root === undefined) {
    return undefined;
  }
  const file = join(folder, "start-root.json");
  await writeFile(file, root, { mode: 0o600 });
  return file;
}

function failureOf(error: unknown, guard: GuardedFetch): TufAnswer {
  const transport = guard.problem();
  if (transport !== undefined) {
    return { outcome: "unreachable", problem: quote(transport) };
  }
  const problem = quote(reasonsOf(error));
  return { outcome: guard.requests() === 0 || isOfSystem(error) ? "failed" : "refused", problem };
}

/** The client tells what it did and hides why in the cause. */
function reasonsOf(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  return error.cause === undefined ? error.message : `${error.message}: ${reasonsOf(error.cause)}`;
}

function isOfSystem(error: unknown): boolean {
  return error instanceof Error && ("syscall" in error || isOfSystem(error.cause));
}

function quote(problem: string): string {
  return problem.slice(0, POLICY_LIMITS.trustProblemMax);
}
