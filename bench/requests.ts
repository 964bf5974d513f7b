import type { Socket } from "node:net";
import { clockMs } from "./download.ts";
import type { Target } from "./wire.ts";
import { open, parseHead, toRequest } from "./wire.ts";

export interface Requests {
  readonly requests: number;
  readonly failures: number;
  readonly elapsedMs: number;
}

/** One keep-alive connection that asks again as soon as it has its answer. */
class Asker {
  readonly #target: Target;
  readonly #count: (good: boolean) => void;
  readonly #request: Buffer;
  #socket: Socket | undefined;
  #missing = 0;
  #pending: Buffer = Buffer.alloc(0);
  #done = false;

  constructor(target: Target, count: (good: boolean) => void) {
    this.#target = target;
    this.#count = count;
    this.#request = Buffer.from(toRequest(target));
    this.#connect();
  }

  #connect(): void {
    this.#missing = 0;
    this.#pending = Buffer.alloc(0);
    this.#socket = open(this.#target, (chunk) => {
      this.#take(chunk);
      return true;
    });
    this.#socket.on("error", () => this.#count(false));
    this.#socket.on("close", () => {
      if (!this.#done) {
        this.#connect();
      }
    });
  }

  #take(chunk: Buffer): void {
    if (this.#missing > 0) {
      this.#missing -= chunk.length;
    } else {
      const received = this.#pending.length > 0 ? Buffer.concat([this.#pending, chunk]) : chunk;
      const head = parseHead(received);
      if (head === undefined) {
        this.#pending = Buffer.from(received);
        return;
      }
      this.#pending = Buffer.alloc(0);
      this.#count(head.status === 200 && !Number.isNaN(head.contentBytes));
      this.#missing = head.bytes + head.contentBytes - received.length;
    }
    if (this.#missing === 0 && !this.#done) {
      this.#socket?.write(this.#request);
    }
  }

  stop(): void {
    this.#done = true;
    this.#socket?.destroy();
  }
}

export async function ask(
  target: Target,
  connections: number,
  durationMs: number,
): Promise<Requests> {
  let requests = 0;
  let failures = 0;
  const count = (good: boolean): void => {
    requests += good ? 1 : 0;
    failures += good ? 0 : 1;
  };
  const startMs = clockMs();
  const askers = Array.from({ length: connections }, () => new Asker(target, count));
  await new Promise((resolve) => setTimeout(resolve, durationMs));
  const outcome = { requests, failures, elapsedMs: clockMs() - startMs };
  for (const asker of askers) {
    asker.stop();
  }
  return outcome;
}
