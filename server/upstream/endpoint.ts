import { Breaker } from "./breaker.ts";
import type { AttemptFailure, FailureReason } from "./failure.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

/** No answer came. Anything else that went wrong is an answer, as far as the breaker goes. */
const SILENCES: ReadonlySet<FailureReason> = new Set(["connect", "dns", "tls", "timeout", "reset"]);

/** One configured url of an upstream, and how it is doing. */
export class Endpoint {
  /** As configured. */
  readonly url: string;
  readonly breaker: Breaker;
  readonly #base: URL;
  readonly #now: () => number;
  readonly #recentMs: number;
  #failedAt = Number.NEGATIVE_INFINITY;
  #lastFailure: string | undefined;

  constructor(url: string, limits: UpstreamLimits, now: () => number) {
    this.url = url;
    this.#base = new URL(url);
    this.#now = now;
    this.#recentMs = limits.breakerWindowMs;
    this.breaker = new Breaker(limits, now);
  }

  /** `path` starts with `/v2/`; the url's own path prefix goes before it. */
  resolve(path: string): URL {
    const prefix = this.#base.pathname.replace(/\/+$/, "");
    return new URL(`${this.#base.origin}${prefix}${path}`);
  }

  get base(): URL {
    return this.#base;
  }

  /** Why the last request failed; undefined when it did not. */
  get lastFailure(): string | undefined {
    return this.#lastFailure;
  }

  get hasFailedRecently(): boolean {
    return this.#now() - this.#failedAt < this.#recentMs;
  }

  succeeded(): void {
    this.breaker.succeeded();
    this.#failedAt = Number.NEGATIVE_INFINITY;
    this.#lastFailure = undefined;
  }

  failed(failure: AttemptFailure): void {
    this.#failedAt = this.#now();
    this.#lastFailure = failure.message;
    if (SILENCES.has(failure.reason)) {
      this.breaker.failed(failure.reason === "connect" || failure.reason === "dns");
    } else {
      this.breaker.succeeded();
    }
  }

  abandoned(): void {
    this.breaker.abandoned();
  }
}
