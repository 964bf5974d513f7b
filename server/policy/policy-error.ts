import type { Decision } from "../decision.ts";
import { RegistryError } from "../errors.ts";

/** When an image that could not be judged may be asked for again, in seconds. */
const RETRY_AFTER_SECONDS = 5;

/** What was asked for is not handed out: it was refused, or could not be judged. */
export class PolicyError extends RegistryError {
  readonly decision: Decision;

  constructor(decision: Decision) {
    const isOpen = decision.verdict === "indeterminate";
    super(
      isOpen ? "policy-indeterminate" : "policy-denied",
      decision.message,
      isOpen ? { retryAfterSeconds: RETRY_AFTER_SECONDS } : undefined,
    );
    this.decision = decision;
  }
}
