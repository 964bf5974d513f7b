import type { Digest } from "../../storage/digest.ts";
import type { Check, Decision, DecisionReason, Verdict } from "../decision.ts";
import type { ExceptionSettings } from "../policy-settings.ts";
import { messageOf } from "./denial.ts";
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
  readonly passedOver?: readonly { readonly artifact: string; readonly problem: string }[];
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
