import type { ExceptionSettings } from "../policy-settings.ts";
import { evidenceDigest } from "./evidence-codec.ts";
import type { Judged } from "./evidence-judge.ts";
import type { Finding } from "./finding.ts";
import type { MatchedRule } from "./policy.ts";

/** It cannot be said for now. */
export function openFinding(problem: string): Finding {
  return { verdict: "indeterminate", reason: "lookup_failed", problem };
}

/**
 * What a judgement comes to. Where something was not looked at, a deny is none; nor is an allow, when
 * what was not looked at may speak against the image.
 */
export function findingOf({ evidence, judgement, spoiled }: Judged, mayBeWorse: boolean): Finding {
  const { isAllowed, reason, signers, checks, missing, validUntilMs } = judgement;
  const shared = {
    signers,
    checks,
    missing,
    passedOver: [...spoiled, ...evidence.passedOver],
    failures: evidence.failures,
    evidence: evidenceDigest(evidence),
    ...(validUntilMs !== undefined && { validUntilMs }),
  };
  const isSure = evidence.failures.length === 0 || !mayBeWorse;
  if (isAllowed && isSure) {
    return { verdict: "allow", reason, ...shared };
  }
  return evidence.failures.length > 0 && reason !== "denied_signer"
    ? { verdict: "indeterminate", reason: "lookup_failed", ...shared }
    : { verdict: "deny", reason, ...shared };
}

/** The rule asks for nothing. */
export function unasked({ settings }: MatchedRule): Finding {
  return { verdict: "allow", reason: settings === undefined ? "unmatched" : "off" };
}

export function excepted(exception: ExceptionSettings): Finding {
  const validUntilMs = exception.untilMs;
  return { verdict: "allow", reason: "exception", exception, validUntilMs };
}
