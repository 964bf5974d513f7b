import { SlidingWindow } from "./sliding-window.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

type BreakerLimits = Pick<
  UpstreamLimits,
  | "breakerConnectFailures"
  | "breakerSamplesMin"
  | "breakerFailureRatio"
  | "breakerWindowMs"
  | "breakerOpenMs"
>;

/**
 * Stops asking a url that does not answer. An answer of any status counts as a success here: a
 * registry that fails one request in two is still worth asking.
 */
export class Breaker {
  readonly #limits: BreakerLimits;
  readonly #now: () => number;
  readonly #requests: SlidingWindow;
  readonly #failures: SlidingWindow;
  #connectFailures = 0;
  #openUntil: number | undefined;
  #isProbing = false;

  constructor(limits: BreakerLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
    this.#requests = new SlidingWindow(limits.breakerWindowMs, now);
    this.#failures = new SlidingWindow(limits.breakerWindowMs, now);
  }

  get isClosed(): boolean {
    return this.#openUntil === undefined;
  }

  /** Until a request may be let through. 0 when one may now. */
  get waitMs(): number {
    if (this.#openUntil === undefined) {
      return 0;
    }
    if (this.#isProbing) {
      return this.#limits.breakerOpenMs;
    }
    return Math.max(0, this.#openUntil - this.#now());
  }

  /** To be called before a request for which `waitMs` is 0; then one of the three below, once. */
  started(): void {
    this.#isProbing = this.#openUntil !== undefined;
  }

  succeeded(): void {
    if (this.#openUntil !== undefined) {
      this.#requests.clear();
      this.#failures.clear();
    }
    this.#openUntil = undefined;
    this.#isProbing = false;
    this.#connectFailures = 0;
    this.#requests.add();
  }

  failed(isConnectFailure: boolean): void {
    this.#requests.add();
    this.#failures.add();
    this.#connectFailures = isConnectFailure ? this.#connectFailures + 1 : 0;
    if (this.#isProbing || this.#isTooMuch()) {
      this.#openUntil = this.#now() + this.#limits.breakerOpenMs;
    }
    this.#isProbing = false;
  }

  /** The request ended without telling anything about the url. */
  abandoned(): void {
    this.#isProbing = false;
  }

  #isTooMuch(): boolean {
    const { breakerConnectFailures, breakerSamplesMin, breakerFailureRatio } = this.#limits;
    if (this.#connectFailures >= breakerConnectFailures) {
      return true;
    }
    const requests = this.#requests.total();
    return (
      requests >= breakerSamplesMin && this.#failures.total() >= requests * breakerFailureRatio
    );
  }
}
