import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { Head, Target } from "./wire.ts";
import { open, parseHead } from "./wire.ts";

/** Times are of one clock for all processes, in milliseconds: see `clockMs`. */
export interface Download {
  readonly startMs: number;
  readonly firstByteMs: number;
  readonly endMs: number;
  readonly bytes: number;
  readonly sha256?: string;
  /** Why it did not end as it should have. */
  readonly error?: string;
}

/** Wall-clock time with the resolution of performance.now, so that processes can be compared. */
export function clockMs(): number {
  return performance.timeOrigin + performance.now();
}

const stalled = new Set<Socket>();

/** One client: it counts what it gets, and hashes it when asked to. */
class Downloader {
  readonly #startMs: number = clockMs();
  readonly #hash: Hash | undefined;
  readonly #finish: (download: Download) => void;
  #pending: Buffer = Buffer.alloc(0);
  #head: Head | undefined;
  #firstByteMs = Number.NaN;
  #bytes = 0;
  #ended = false;
  socket: Socket | undefined;

  constructor(verify: boolean, finish: (download: Download) => void) {
    this.#hash = verify ? createHash("sha256") : undefined;
    this.#finish = finish;
  }

  get hasHead(): boolean {
    return this.#head !== undefined;
  }

  take(chunk: Buffer): void {
    if (this.#head !== undefined) {
      this.#takeBody(chunk);
      return;
    }
    this.#pending = Buffer.concat([this.#pending, chunk]);
    this.#head = parseHead(this.#pending);
    if (this.#head === undefined) {
      return;
    }
    if (this.#head.status !== 200 || Number.isNaN(this.#head.contentBytes)) {
      this.end(`status ${this.#head.status}: ${this.#pending.toString("utf8").slice(0, 400)}`);
      return;
    }
    this.#takeBody(this.#pending.subarray(this.#head.bytes));
  }

  #takeBody(chunk: Buffer): void {
    if (this.#bytes === 0 && chunk.length > 0) {
      this.#firstByteMs = clockMs();
    }
    this.#bytes += chunk.length;
    this.#hash?.update(chunk);
    if (this.#bytes === this.#head?.contentBytes) {
      this.end();
    }
  }

  /** Only the first call counts: to destroy the socket closes it, which ends the client again. */
  end(error?: string): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    this.socket?.destroy();
    this.#finish({
      startMs: this.#startMs,
      firstByteMs: this.#firstByteMs,
      endMs: clockMs(),
      bytes: this.#bytes,
      ...(this.#hash && error === undefined ? { sha256: this.#hash.digest("hex") } : {}),
      ...(error === undefined ? {} : { error }),
    });
  }
}

export function download(target: Target, verify: boolean, deadlineMs: number): Promise<Download> {
  return new Promise((resolve) => {
    const client = new Downloader(verify, (done) => {
      clearTimeout(timer);
      resolve(done);
    });
    const timer = setTimeout(() => client.end("deadline"), deadlineMs);
    const socket = open(target, (chunk) => {
      client.take(chunk);
      return true;
    });
    client.socket = socket;
    socket.on("error", (error) => client.end(String(error)));
    socket.on("close", () => client.end("closed before the last byte"));
  });
}

/** Reads the head and no more. The sockets stay open until `release`. */
export function stall(target: Target): Promise<Download> {
  return new Promise((resolve) => {
    const client = new Downloader(false, resolve);
    const socket = open(target, (chunk) => {
      client.take(chunk);
      if (client.hasHead) {
        const now = clockMs();
        resolve({ startMs: now, firstByteMs: now, endMs: now, bytes: chunk.length });
      }
      return !client.hasHead;
    });
    client.socket = socket;
    stalled.add(socket);
    socket.on("error", (error) => client.end(String(error)));
    socket.on("close", () => client.end("closed"));
  });
}

export function release(): void {
  for (const socket of stalled) {
    socket.destroy();
  }
  stalled.clear();
}
