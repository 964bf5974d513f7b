import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** What must end with this process. */
const alive = new Set<ChildProcess>();

const LINES_KEPT = 4000;
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 35_000;
const RUN_TIMEOUT_MS = 120_000;

/** What a command that has ended left behind. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  /** Both streams, in the order in which they came. */
  readonly output: string;
}

export interface SpawnOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
}

/** Runs a command to its end, and never throws for a non-zero code: tests look at it themselves. */
export async function run(
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: options.timeoutMs ?? RUN_TIMEOUT_MS,
    killSignal: "SIGKILL",
    ...place(options),
  });
  const forget = killOnExit(child);
  let stdout = "";
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  forget();
  return { code: code ?? -1, stdout, output: signal ? `${output}\n(ended by ${signal})` : output };
}

/** A server started by a test. It is ended by its own id, and with the test at the latest. */
export class Daemon implements AsyncDisposable {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #closed: Promise<unknown>;

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.name = command;
    this.#child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...place(options) });
    const forget = killOnExit(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream) {
        createInterface({ input: stream }).on("line", (line) => this.#add(line));
      }
    }
    // A command that cannot be spawned says so on "error", and then closes.
    this.#child.on("error", (error) => this.#add(String(error)));
    this.#closed = new Promise((resolve) => this.#child.once("close", resolve)).then(() => {
      forget();
      this.#wake();
    });
  }

  /** The last lines of both streams. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get exitCode(): number | undefined {
    return this.#child.exitCode ?? undefined;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The first line that matches, past or to come. @throws when the process ends first. */
  async line(pattern: RegExp, timeoutMs: number = START_TIMEOUT_MS): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      for (const line of this.#lines) {
        const match = pattern.exec(line);
        if (match) {
          return match;
        }
      }
      if (!this.isRunning || deadline.aborted) {
        const why = this.isRunning ? `no line like ${pattern}` : "it ended";
        throw new Error(`${this.name}: ${why}; its last lines:\n${this.tail()}`);
      }
      await this.#change(deadline);
    }
  }

  tail(count = 30): string {
    return this.#lines.slice(-count).join("\n");
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Asks it to end, and ends it when it does not listen. Resolves once it is gone. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | undefined> {
    if (this.isRunning && this.#child.pid !== undefined) {
      this.#child.kill(signal);
      const hammer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await this.#closed;
      clearTimeout(hammer);
    }
    return this.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #add(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > LINES_KEPT) {
      this.#lines.shift();
    }
    this.#wake();
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) {
      listener();
    }
  }

  #change(deadline: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#listeners.delete(done);
        deadline.removeEventListener("abort", done);
        resolve();
      };
      this.#listeners.add(done);
      deadline.addEventListener("abort", done);
    });
  }
}

function place(options: SpawnOptions): { cwd?: string; env: NodeJS.ProcessEnv } {
  const env = { ...process.env, ...options.env };
  return options.cwd === undefined ? { env } : { env, cwd: options.cwd };
}

/** A test that dies must not leave its servers behind. */
function killOnExit(child: ChildProcess): () => void {
  if (alive.size === 0) {
    process.on("exit", killAlive);
    // Without listeners of ours these would end the process at once, with no "exit" before.
    process.on("SIGTERM", exitOnSignal);
    process.on("SIGINT", exitOnSignal);
  }
  alive.add(child);
  return () => {
    alive.delete(child);
    if (alive.size === 0) {
      process.off("exit", killAlive);
      process.off("SIGTERM", exitOnSignal);
      process.off("SIGINT", exitOnSignal);
    }
  };
}

function killAlive(): void {
  for (const child of alive) {
    child.kill("SIGKILL");
  }
}

function exitOnSignal(): void {
  process.exit(1);
}
