import type { Digest } from "../../storage/digest.ts";
import type { Check, Decision, DecisionReason, Verdict } from "../decision.ts";
import type { ExceptionSettings } from "../policy-settings.ts";
import { messageOf } from "./denial.ts";
import type { PassedOver } from "./evidence.ts";
import { evidenceDigest } from "./evidence-codec.ts";
import type { Judged } from "./evidence-judge.ts";
import type { MatchedRule } from "./policy.ts";

/** What is judged, by what, and when. */
export interface Case {
  /** The canonical `upstream/repository`. */
  readonly name: string;
  readonly digest: Digest;
  /** When it was asked for by one. */
  readonly tag?: string;
  readonly rule: MatchedRule;
  readonly policyRevision: string;
  readonly trustRevision: string;
  readonly nowMs: number;
}

/** What was found about it. */
export interface Finding {
  readonly verdict: Verdict;
  readonly reason: DecisionReason;
  /** In words, where the reason alone does not say it. */
  readonly problem?: string;
  readonly exception?: ExceptionSettings;
  /** The index that vouches for it. */
  readonly parent?: Digest;
  readonly signers?: readonly string[];
  readonly checks?: readonly Check[];
  readonly missing?: readonly string[];
  readonly passedOver?: readonly PassedOver[];
  readonly failures?: readonly string[];
  /** Names what was looked at. */
  readonly evidence?: string;
  /** When an allow stops to hold by itself, in milliseconds since the epoch. */
  readonly validUntilMs?: number | undefined;
}

export function decisionOf(about: Case, finding: Finding): Decision {
  const { rule, digest, policyRevision, trustRevision, nowMs } = about;
  return {
    verdict: finding.verdict,
    rule: rule.name,
    mode: rule.mode,
    reason: finding.reason,
    message: messageOf(about, finding),
    digest,
    signers: finding.signers ?? [],
    checks: finding.checks ?? [],
    evidence: finding.evidence,
    exception: finding.exception?.name,
    policyRevision,
    trustRevision,
    decidedAtMs: nowMs,
  };
}

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
