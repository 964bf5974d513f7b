import type { Check, DecisionReason, SignatureFormat } from "../decision.ts";

/** What verification came to: made in a worker thread, plain data. */
export interface Judgement {
  readonly isAllowed: boolean;
  readonly reason: Extract<
    DecisionReason,
    "signed" | "permitted" | "unsigned" | "untrusted" | "attestation" | "denied_signer"
  >;
  /** Who signed, for what counts. */
  readonly signers: readonly string[];
  /** What the rule asks for and nothing gave, one sentence each. */
  readonly missing: readonly string[];
  readonly checks: readonly Check[];
  /** When an allow stops to hold by itself (a scan grows old), in milliseconds since the epoch. */
  readonly validUntilMs?: number;
  /** What each format took, in seconds. */
  readonly durations: readonly { readonly format: SignatureFormat; readonly seconds: number }[];
}
