import { SlidingWindow } from "./sliding-window.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

type BudgetLimits = Pick<
  UpstreamLimits,
  "retryBudgetWindowMs" | "retryBudgetMin" | "retryBudgetRatio"
>;

/** Keeps retries a small share of all requests: a registry in trouble is not helped by more. */
export class RetryBudget {
  readonly #limits: BudgetLimits;
  readonly #requests: SlidingWindow;
  readonly #retries: SlidingWindow;

  constructor(limits: BudgetLimits, now: () => number) {
    this.#limits = limits;
    this.#requests = new SlidingWindow(limits.retryBudgetWindowMs, now);
    this.#retries = new SlidingWindow(limits.retryBudgetWindowMs, now);
  }

  requested(): void {
    this.#requests.add();
  }

  /** Whether there is a retry left; if so it has been spent. */
  spend(): boolean {
    const { retryBudgetMin, retryBudgetRatio } = this.#limits;
    const allowed = Math.max(retryBudgetMin, this.#requests.total() * retryBudgetRatio);
    if (this.#retries.total() + 1 > allowed) {
      return false;
    }
    this.#retries.add();
    return true;
  }
}
