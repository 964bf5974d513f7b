import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import { CredentialError } from "./credential.ts";
import { Turns } from "./turns.ts";

export interface PluginRun {
  /** An absolute path, or a name that is looked up on PATH. */
  readonly command: string;
  readonly args: readonly string[];
  readonly input: string;
  /** Added to the process's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** For messages: `credHelpers docker-credential-ecr-login`. */
  readonly description: string;
}

export interface PluginResult {
  /** 128 and the signal's number for one that a signal ended, as in a shell. */
  readonly exitCode: number;
  readonly stdout: string;
  /** Its beginning, printable: for people. May hold what the plugin says of its own accord. */
  readonly stderr: string;
}

export interface PluginBounds {
  /** Aborted when it must have ended: CREDENTIAL_LIMITS.pluginTimeoutMs from the call. */
  readonly deadline: AbortSignal;
}

const { pluginsMax, pluginTimeoutMs, pluginOutputBytesMax, pluginStderrMax, pluginDrainMs } =
  CREDENTIAL_LIMITS;

const TIMEOUT_SHOWN = `${pluginTimeoutMs / 1000} s`;

const PATH_SHOWN_MAX = 300;

/** Enough of UTF-8 for what is shown of it. */
const STDERR_BYTES_KEPT = 4 * pluginStderrMax;

/** Of the whole process: a crowd of pulls must not become a crowd of processes. */
const turns = new Turns(pluginsMax);

/**
 * Runs a credential helper, without a shell: bounded in time and output, its whole process group
 * ended with it. The time is counted from the call, the wait for others included.
 *
 * What it wrote to stdout may be a secret, and is never part of an error.
 *
 * @throws CredentialError when it cannot be started, does not end in time or writes too much.
 */
export async function runPlugin(
  run: PluginRun,
  { deadline }: PluginBounds = { deadline: AbortSignal.timeout(pluginTimeoutMs) },
): Promise<PluginResult> {
  const turn = await turns.take(deadline);
  if (turn === undefined) {
    throw new CredentialError(
      `${run.description} was not run: ${pluginsMax} others took ` +
        `${TIMEOUT_SHOWN} and more; find out why they take so long`,
    );
  }
  using _ = turn;
  return await new Running(run).end(deadline);
}

/** One process, from its start until it and what it started are gone. */
class Running {
  readonly #run: PluginRun;
  readonly #env: NodeJS.ProcessEnv;
  readonly #ended: PromiseWithResolvers<number> = Promise.withResolvers();
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  #stdoutBytes = 0;
  #stderrBytes = 0;

  constructor(run: PluginRun) {
    this.#run = run;
    // biome-ignore lint/style/noProcessEnv: handed on, not read: helpers need HOME, PATH and their vendor's variables
    this.#env = { ...process.env, ...run.env };
  }

  async end(deadline: AbortSignal): Promise<PluginResult> {
    const child = this.#start();
    const kill = (): void => endGroup(child);
    const expire = (): void =>
      this.#fail(`did not end within ${TIMEOUT_SHOWN} and was killed; run it by hand`);
    // A process that is detached does not end with us by itself.
    process.once("exit", kill);
    deadline.addEventListener("abort", expire, { once: true });
    try {
      const exitCode = await this.#ended.promise;
      const stdout = Buffer.concat(this.#stdout).toString("utf8");
      return { exitCode, stdout, stderr: this.#said };
    } finally {
      deadline.removeEventListener("abort", expire);
      process.off("exit", kill);
      kill();
      child.stdout?.destroy();
      child.stderr?.destroy();
    }
  }

  #start(): ChildProcess {
    const child = this.#spawn();
    child.on("error", (error) => this.#ended.reject(this.#notStarted(error)));
    // One that never reads its input is none the worse for it: EPIPE.
    child.stdin?.on("error", () => undefined).end(this.#run.input);
    child.stdout?.on("error", () => undefined).on("data", (chunk: Buffer) => this.#take(chunk));
    child.stderr?.on("error", () => undefined).on("data", (chunk: Buffer) => this.#listen(chunk));
    child.once("exit", (code, signal) => {
      const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      // What is left of its group would hold the pipes open, and what left the group still may.
      killGroup(child.pid);
      const timer = setTimeout(() => this.#ended.resolve(exitCode), pluginDrainMs);
      child.once("close", () => {
        clearTimeout(timer);
        this.#ended.resolve(exitCode);
      });
    });
    return child;
  }

  #spawn(): ChildProcess {
    const { command, args } = this.#run;
    try {
      // A group of its own: what hangs is often what it started.
      return spawn(command, args, { detached: true, env: this.#env, stdio: "pipe" });
    } catch (error) {
      throw this.#notStarted(error);
    }
  }

  #take(chunk: Buffer): void {
    this.#stdoutBytes += chunk.byteLength;
    if (this.#stdoutBytes > pluginOutputBytesMax) {
      this.#fail(
        `wrote more than ${pluginOutputBytesMax} bytes and was killed; ` +
          "a credential is far smaller: look at what is installed under that name",
      );
      return;
    }
    this.#stdout.push(chunk);
  }

  /** The rest is read and dropped, so that it does not block. */
  #listen(chunk: Buffer): void {
    if (this.#stderrBytes < STDERR_BYTES_KEPT) {
      this.#stderrBytes += chunk.byteLength;
      this.#stderr.push(Buffer.from(chunk.subarray(0, STDERR_BYTES_KEPT)));
    }
  }

  get #said(): string {
    return excerptOf(Buffer.concat(this.#stderr).toString("utf8"));
  }

  #fail(what: string): void {
    const said = this.#said;
    const quoted = said === "" ? "" : ` (it said: ${said})`;
    this.#ended.reject(new CredentialError(`${this.#run.description} ${what}${quoted}`));
  }

  #notStarted(cause: unknown): CredentialError {
    const { command, description } = this.#run;
    const code = codeOf(cause);
    const why = whyNotStarted(code, command, this.#env["PATH"] ?? "");
    return new CredentialError(`${description} cannot be run: ${why}`, { cause });
  }
}

function whyNotStarted(code: string, command: string, path: string): string {
  if (code === "ENOENT") {
    return command.includes("/")
      ? `there is no ${command}, or not the interpreter that its first line names; install it there`
      : `there is no ${command} on PATH (${path.slice(0, PATH_SHOWN_MAX)}); install it there, or take it out of the file`;
  }
  if (code === "EACCES") {
    return `${command} may not be executed by user ${process.getuid?.()}; look at its permissions`;
  }
  return `starting ${command} failed (${code}); run it by hand`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown reason";
}

/** Once it is known to be gone, its number may be another's. */
function endGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (exitCode === null && signalCode === null) {
    killGroup(pid);
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) {
    return;
  }
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // ESRCH: all of them are gone.
  }
}

/** Not a host name, path or UUID: some helpers print the token that they got. */
const LOOKS_SECRET = /[\w+=-]{40,}/g;

/** For a message: one line of printable ASCII, bounded, without what looks like a token. */
function excerptOf(text: string): string {
  const clean = text
    .replaceAll(/[^\x21-\x7e]+/g, " ")
    .replaceAll(LOOKS_SECRET, "[...]")
    .trim();
  return clean.length > pluginStderrMax ? `${clean.slice(0, pluginStderrMax - 3)}...` : clean;
}
