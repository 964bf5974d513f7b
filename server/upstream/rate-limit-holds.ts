import { LRUCache } from "lru-cache";
import { UPSTREAM_LIMITS } from "../limits.ts";

/** Remembers how long a registry asked to be left alone, per host and credential. */
export class RateLimitHolds {
  /** Bounded: with clients' own log-ins their number is up to the clients. */
  readonly #until = new LRUCache<string, number>({ max: UPSTREAM_LIMITS.tokensMax });
  readonly #maxSeconds: number;
  readonly #now: () => number;

  constructor(maxSeconds: number, now: () => number) {
    this.#maxSeconds = maxSeconds;
    this.#now = now;
  }

  /** Returns the seconds that are kept: what was asked for, within the bound. */
  hold(key: string, seconds: number): number {
    const kept = Math.min(seconds, this.#maxSeconds);
    this.#until.set(key, this.#now() + kept * 1000);
    return kept;
  }

  /** Seconds left, rounded up; undefined when there is nothing to wait for. */
  remainingSeconds(key: string): number | undefined {
    const until = this.#until.get(key);
    if (until === undefined) {
      return undefined;
    }
    const leftMs = until - this.#now();
    if (leftMs <= 0) {
      this.#until.delete(key);
      return undefined;
    }
    return Math.ceil(leftMs / 1000);
  }
}
