import type { Socket } from "node:net";
import { clockMs } from "./download.ts";
import type { Target } from "./wire.ts";
import { open, parseHead, toRequest } from "./wire.ts";

export interface PaceOptions {
  readonly intervalMs: number;
  readonly durationMs: number;
  /** Opened before, and used again; 0 opens one for each request. */
  readonly connections: number;
}

/** One answer: `dueMs` is when its request should have left, on the clock of all processes. */
export interface Paced {
  readonly dueMs: number;
  readonly latencyMs: number;
}

type OnAnswer = (paced: Paced) => void;
type OnError = (error: Error) => void;

/** One request at a time on each connection: none is pipelined. */
class Pool {
  readonly #target: Target;
  readonly #isKept: boolean;
  readonly #request: string;
  readonly #onAnswer: OnAnswer;
  readonly #onError: OnError;
  readonly #idle: ((dueMs: number) => void)[] = [];
  readonly #sockets: Socket[] = [];

  constructor(target: Target, isKept: boolean, onAnswer: OnAnswer, onError: OnError) {
    this.#target = target;
    this.#isKept = isKept;
    this.#request = toRequest(target);
    this.#onAnswer = onAnswer;
    this.#onError = onError;
  }

  ask(dueMs: number): void {
    const again = this.#idle.pop();
    if (again === undefined) {
      this.#connect(dueMs);
    } else {
      again(dueMs);
    }
  }

  /** It asks as soon as it is open. */
  #connect(firstDueMs: number): void {
    let dueMs = firstDueMs;
    let pending: Buffer = Buffer.alloc(0);
    const again = (nextDueMs: number): void => {
      dueMs = nextDueMs;
      socket.write(this.#request);
    };
    const socket = open(this.#target, (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      const head = parseHead(pending);
      if (head !== undefined && head.status !== 200) {
        this.#onError(new Error(`status ${head.status}`));
      } else if (head !== undefined && pending.length >= head.bytes + head.contentBytes) {
        pending = Buffer.alloc(0);
        if (this.#isKept) {
          this.#idle.push(again);
        } else {
          socket.destroy();
        }
        this.#onAnswer({ dueMs, latencyMs: clockMs() - dueMs });
      }
      return true;
    });
    socket.on("error", this.#onError);
    this.#sockets.push(socket);
  }

  close(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }
}

/**
 * Asks every so often, whatever the answers take. A latency counts from when its request was due: a
 * server that stands still is late for all that it kept waiting.
 */
export async function pace(target: Target, options: PaceOptions): Promise<readonly Paced[]> {
  const { intervalMs, durationMs, connections } = options;
  const { promise: over, resolve, reject } = Promise.withResolvers<void>();
  const paced: Paced[] = [];
  const pool = new Pool(target, connections > 0, (one) => paced.push(one), reject);
  let nextMs = clockMs();
  const endMs = nextMs + durationMs;
  let asked = connections;
  for (let at = 0; at < connections; at += 1) {
    pool.ask(nextMs);
  }
  const timer = setInterval(() => {
    for (; nextMs <= clockMs() && nextMs < endMs; nextMs += intervalMs) {
      asked += 1;
      pool.ask(nextMs);
    }
    if (nextMs >= endMs && paced.length === asked) {
      resolve();
    }
  }, intervalMs);
  try {
    await over;
  } finally {
    clearInterval(timer);
    pool.close();
  }
  return paced;
}
