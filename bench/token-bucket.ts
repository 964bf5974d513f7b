/** A piece of this size keeps the timer's millisecond well below the time that it pays for. */
const PIECE_BYTES = 65_536;
/** What a bucket may save up: a timer that comes late on a busy machine must not cost bandwidth. */
const BURST_SECONDS = 0.05;

interface Waiter {
  readonly wantBytes: number;
  readonly grant: (bytes: number) => void;
}

/** Hands out bytes at a rate, in turn to all who wait. */
export class TokenBucket {
  readonly #bytesPerSecond: number;
  readonly #waiters: Waiter[] = [];
  #tokens = PIECE_BYTES;
  #filledMs: number = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves to how many of the wanted bytes may be sent now: at least one. */
  take(wantBytes: number): Promise<number> {
    return new Promise((grant) => {
      this.#waiters.push({ wantBytes: Math.min(wantBytes, PIECE_BYTES), grant });
      this.#serve();
    });
  }

  #serve(): void {
    const nowMs = performance.now();
    const earned = ((nowMs - this.#filledMs) / 1000) * this.#bytesPerSecond;
    const cap = Math.max(PIECE_BYTES, this.#bytesPerSecond * BURST_SECONDS);
    this.#tokens = Math.min(cap, this.#tokens + earned);
    this.#filledMs = nowMs;
    for (let next = this.#waiters[0]; next !== undefined; next = this.#waiters[0]) {
      if (this.#tokens < next.wantBytes) {
        this.#timer ??= setTimeout(() => this.#wake(), 1);
        return;
      }
      this.#tokens -= next.wantBytes;
      this.#waiters.shift();
      next.grant(next.wantBytes);
    }
  }

  #wake(): void {
    this.#timer = undefined;
    this.#serve();
  }
}
