import { S3_LIMITS } from "./s3-limits.ts";

const SLOTS = 10;
const SLOT_MS = S3_LIMITS.breakerWindowMs / SLOTS;

interface Slot {
  tick: number;
  requests: number;
  failures: number;
}

/** Stops asking a bucket that fails, so that nobody waits for it; one request at a time finds out. */
export class S3Breaker {
  readonly #now: () => number;
  readonly #slots: Slot[] = [];
  #failuresInARow = 0;
  #openUntil: number | undefined;
  #isProbing = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether a request may be sent now. */
  get mayAsk(): boolean {
    return this.#openUntil === undefined || (!this.#isProbing && this.#now() >= this.#openUntil);
  }

  /** To be called when `mayAsk`; one of the three below follows. */
  started(): void {
    this.#isProbing = this.#openUntil !== undefined;
  }

  succeeded(): void {
    if (this.#openUntil !== undefined) {
      this.#slots.length = 0;
    }
    this.#openUntil = undefined;
    this.#isProbing = false;
    this.#failuresInARow = 0;
    this.#slot().requests += 1;
  }

  failed(): void {
    const slot = this.#slot();
    slot.requests += 1;
    slot.failures += 1;
    this.#failuresInARow += 1;
    if (this.#isProbing || this.#isTooMuch()) {
      this.#openUntil = this.#now() + S3_LIMITS.breakerOpenMs;
    }
    this.#isProbing = false;
  }

  /** It ended without telling anything about the bucket. */
  abandoned(): void {
    this.#isProbing = false;
  }

  #isTooMuch(): boolean {
    if (this.#failuresInARow >= S3_LIMITS.breakerFailuresInARow) {
      return true;
    }
    let requests = 0;
    let failures = 0;
    for (const slot of this.#slots) {
      requests += slot.requests;
      failures += slot.failures;
    }
    return (
      requests >= S3_LIMITS.breakerSamplesMin &&
      failures >= requests * S3_LIMITS.breakerFailureRatio
    );
  }

  #slot(): Slot {
    const tick = Math.floor(this.#now() / SLOT_MS);
    while (this.#slots[0] !== undefined && this.#slots[0].tick <= tick - SLOTS) {
      this.#slots.shift();
    }
    const last = this.#slots.at(-1);
    if (last !== undefined && last.tick >= tick) {
      return last;
    }
    const slot = { tick, requests: 0, failures: 0 };
    this.#slots.push(slot);
    return slot;
  }
}
