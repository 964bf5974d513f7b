/** What is new for this many bytes is told at once; less waits for the timer. */
const NOTIFY_BYTES = 262_144;
const DELAY_MIN_MS = 2;
/** More readers, longer delay: each wake-up writes to every socket. */
const READERS_PER_MS = 4;
const DELAY_MAX_MS = 40;

/** Wakes everybody who waits for more, not more often than is of use to them. */
export class ProgressSignal {
  readonly #waiting = new Map<object, PromiseWithResolvers<void>>();
  #toldEnd = 0;
  #timer: NodeJS.Timeout | undefined;
  #outcome: { readonly error: unknown } | "finished" | undefined;

  /** Resolves at the next progress, at once when it is finished; rejects when it failed. */
  next(waiter: object): Promise<void> {
    if (this.#outcome === "finished") {
      return Promise.resolve();
    }
    if (this.#outcome !== undefined) {
      return Promise.reject(this.#outcome.error);
    }
    const waiting = Promise.withResolvers<void>();
    this.#waiting.set(waiter, waiting);
    return waiting.promise;
  }

  /** Whoever leaves is not kept waiting: its `next` resolves. */
  leave(waiter: object): void {
    this.#waiting.get(waiter)?.resolve();
    this.#waiting.delete(waiter);
  }

  /** `end` is how far readers may go now. */
  notify(end: number): void {
    const readers = this.#waiting.size;
    if (readers === 0 || end <= this.#toldEnd) {
      return;
    }
    const isWorthIt = end - this.#toldEnd >= NOTIFY_BYTES * Math.max(1, readers / 16);
    if (this.#toldEnd === 0 || isWorthIt) {
      this.#wake(end);
      return;
    }
    const delayMs = Math.min(DELAY_MAX_MS, DELAY_MIN_MS + readers / READERS_PER_MS);
    this.#timer ??= setTimeout(() => this.#wake(end), delayMs);
  }

  finish(): void {
    this.#outcome = "finished";
    this.#wake(Number.POSITIVE_INFINITY);
  }

  fail(error: unknown): void {
    this.#outcome ??= { error };
    clearTimeout(this.#timer);
    for (const { reject } of this.#takeAll()) {
      reject(error);
    }
  }

  #wake(end: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#toldEnd = end;
    for (const { resolve } of this.#takeAll()) {
      resolve();
    }
  }

  #takeAll(): PromiseWithResolvers<void>[] {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    return all;
  }
}
