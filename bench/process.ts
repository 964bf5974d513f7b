import type { ChildProcess } from "node:child_process";
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { access, constants, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const STOP_TIMEOUT_MS = 5000;
const READY_TIMEOUT_MS = 20_000;
/** Where Debian keeps servers: not on the PATH of everybody. */
const SERVER_FOLDERS = ["/usr/sbin", "/usr/local/sbin"];

/** Everything that was started and not stopped: what has to be ended when the harness is. */
const running = new Set<Running>();
/** Once this is set nothing is started any more: an end is an end. */
const closing = new AbortController();

/** One process that the harness started, and the file that has what it said. */
export class Running {
  readonly child: ChildProcess;
  readonly #logFile: string;

  constructor(child: ChildProcess, logFile: string) {
    this.child = child;
    this.#logFile = logFile;
    running.add(this);
    child.on("error", () => running.delete(this));
    child.on("exit", () => running.delete(this));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Undefined as long as it runs. */
  get ended(): string | undefined {
    const { exitCode, signalCode } = this.child;
    return exitCode === null && signalCode === null ? undefined : `${signalCode ?? exitCode}`;
  }

  async logTail(): Promise<string> {
    const text = await readFile(this.#logFile, "utf8").catch(() => "");
    return text.trimEnd().split("\n").slice(-5).join("\n");
  }

  /** Asks, asks again (a second signal means now), and then kills; always by the pid. */
  async stop(): Promise<void> {
    const exited = this.ended === undefined ? once(this.child, "exit") : Promise.resolve();
    this.child.kill("SIGTERM");
    await Promise.race([exited, sleep(300)]);
    this.child.kill("SIGTERM");
    await Promise.race([exited, sleep(STOP_TIMEOUT_MS)]);
    this.child.kill("SIGKILL");
    await exited;
  }
}

/** @throws whatever ended the bench, when it was ended. */
export function mustGoOn(): void {
  closing.signal.throwIfAborted();
}

/** For good: whoever wants to start something afterwards fails. */
export async function stopAll(): Promise<void> {
  closing.abort();
  await Promise.all([...running].map((one) => one.stop()));
}

export interface StartOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly logFile: string;
}

export function start(options: StartOptions): Running {
  mustGoOn();
  const log = openSync(options.logFile, "a");
  const child = spawn(options.command, options.args, {
    stdio: ["ignore", log, log],
    env: { ...process.env, ...options.env },
  });
  closeSync(log);
  return new Running(child, options.logFile);
}

/** A part of the bench itself, that talks to the harness by messages. */
export function startPart(file: string): Running {
  mustGoOn();
  return new Running(fork(file, [], { stdio: ["ignore", "inherit", "inherit", "ipc"] }), "");
}

/** Sends a part of the bench one message; resolves with the one that it answers. */
export function askPart({ child }: Running, message: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error("a part of the bench is gone"));
    child.once("exit", onExit);
    child.once("message", (answer) => {
      child.off("exit", onExit);
      resolve(answer);
    });
    child.send(message);
  });
}

/** @throws Error with the end of the log when it does not answer 200 in time, or is gone. */
export async function untilReady(one: Running, url: string): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline && one.ended === undefined) {
    const answer = await fetch(url).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.status === 200) {
      return;
    }
    await sleep(50);
  }
  const what = one.ended === undefined ? "is not ready" : `ended with ${one.ended}`;
  throw new Error(`${what}: ${await one.logTail()}`);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** The full path of a program; undefined when it is not installed. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...SERVER_FOLDERS];
  for (const folder of folders) {
    const file = join(folder, name);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) {
      return file;
    }
  }
  return undefined;
}

/** What a program prints, on either stream: enough for a version. */
export async function outputOf(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
  }
  await once(child, "close");
  return text.trim();
}
