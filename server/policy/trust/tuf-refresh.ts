import { fork } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { POLICY_LIMITS } from "../../limits.ts";
import type { TufSource } from "./tuf-source.ts";

export interface TufJob {
  readonly source: TufSource;
  /** Where the TUF client keeps the metadata that it has seen: what makes a rollback visible. */
  readonly folder: string;
}

/**
 * `unreachable`: the repository could not be asked. `refused`: it was, and what it says is not to
 * be believed. `failed`: the fault is on this machine.
 */
export type TufAnswer =
  | { readonly outcome: "fetched"; readonly trustedRoot: string; readonly isReset: boolean }
  | { readonly outcome: "unreachable" | "refused" | "failed"; readonly problem: string };

const CHILD = fileURLToPath(new URL("./tuf-child.ts", import.meta.url));

/**
 * Asks a TUF repository for its trusted root, and has its signatures, versions and dates checked.
 *
 * In a process of its own, because a thread that ended would leave its memory in ours, and because
 * a process can be killed whatever it is doing. It never keeps this one alive.
 *
 * @param signal gives it up: the answer is then `failed`.
 */
export async function refreshByTuf(job: TufJob, signal: AbortSignal): Promise<TufAnswer> {
  const temporary = join(job.folder, "tmp");
  try {
    // A process that was killed could not tidy up.
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true, mode: 0o700 });
    return await ask(job, temporary, signal);
  } catch (error) {
    return { outcome: "failed", problem: error instanceof Error ? error.message : String(error) };
  }
}

async function ask(job: TufJob, temporary: string, signal: AbortSignal): Promise<TufAnswer> {
  const deadline = AbortSignal.timeout(POLICY_LIMITS.trustRefreshTimeoutMs);
  const child = fork(CHILD, [], {
    execArgv: [`--max-old-space-size=${POLICY_LIMITS.trustHeapMiB}`],
    env: { ...inherited(), TMPDIR: temporary },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    killSignal: "SIGKILL",
    signal: AbortSignal.any([signal, deadline]),
  });
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  let answer: TufAnswer | undefined;
  let problem = "the process that refreshes ended early";
  child.once("message", (message) => {
    answer = message as TufAnswer;
  });
  child.once("exit", () => end());
  child.on("error", (error) => {
    problem = error.message;
    if (child.pid === undefined) {
      end();
    }
  });
  child.send(job, () => undefined);
  child.unref();
  child.channel?.unref();
  await ended;
  if (answer === undefined && deadline.aborted) {
    return { outcome: "unreachable", problem: "the repository took too long" };
  }
  return answer ?? { outcome: "failed", problem };
}

/**
 * What the process needs of our environment: which authorities the operator trusts besides the
 * usual ones. Nothing else, since secrets may stand there.
 */
function inherited(): NodeJS.ProcessEnv {
  // biome-ignore lint/style/noProcessEnv: handed on, not read: Node itself is configured by these
  const { NODE_EXTRA_CA_CERTS, NODE_USE_SYSTEM_CA, SSL_CERT_FILE, SSL_CERT_DIR } = process.env;
  return { NODE_EXTRA_CA_CERTS, NODE_USE_SYSTEM_CA, SSL_CERT_FILE, SSL_CERT_DIR };
}
