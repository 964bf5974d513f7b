import type { PolicyMode } from "./policy-settings.ts";

export type Verdict = "allow" | "deny" | "indeterminate";

/** Why, from a fixed set: a label of `sluice_verdicts_total`. */
export type DecisionReason =
  | "signed"
  | "inherited" // from an index that is allowed now
  | "exception"
  | "artefact" // a signature or attestation itself
  | "permitted" // a rule that asks for no signature
  | "off"
  | "unmatched"
  | "unsigned" // nothing was found at all
  | "untrusted" // something was found, and none of it counts
  | "attestation" // signed, but an attestation is missing or does not say what it must
  | "tag"
  | "denied_digest"
  | "denied_signer"
  | "foreign_layers"
  | "malformed"
  | "lookup_failed"
  | "timeout"
  | "failed"; // our own fault: never an allow

/** One look at one signature with the eyes of one authority. */
export interface Check {
  readonly format: SignatureFormat;
  /** Digest of the manifest that carries the signature. */
  readonly artifact: string;
  /** Who must have signed, in words: `keyless subject (issuer)`. */
  readonly authority: string;
  readonly counts: boolean;
  /** Who did sign, once that is proved. */
  readonly signer?: string;
  /** Why it does not count. */
  readonly problem?: string;
}

/** A label of `sluice_verification_duration_seconds`. */
export type SignatureFormat = "bundle" | "cosign-signature" | "cosign-attestation" | "notation";

/** What a policy said of one manifest, and why. */
export interface Decision {
  readonly verdict: Verdict;
  /** The rule's name; `unmatched` when no rule names the repository, `none` without a policy. */
  readonly rule: string;
  readonly mode: PolicyMode;
  readonly reason: DecisionReason;
  /** For people: what was found or missing, and what to do. */
  readonly message: string;
  readonly digest: string | undefined;
  readonly signers: readonly string[];
  readonly checks: readonly Check[];
  /** SHA-256 over what was looked at: `sha256:…`. */
  readonly evidence: string | undefined;
  /** The name of the exception that let it pass. */
  readonly exception: string | undefined;
  readonly policyRevision: string;
  readonly trustRevision: string;
  /** When it was reached, in milliseconds since the epoch. */
  readonly decidedAtMs: number;
}

/** Whether what was judged is handed out: always by `warn` and `off`, but for the deny list. */
export function isServed({ verdict, mode, reason }: Decision): boolean {
  const isDenyListed = reason === "denied_digest" || reason === "denied_signer";
  return verdict === "allow" || (mode !== "enforce" && !isDenyListed);
}
