import type { Candidate, Subject } from "./evidence.ts";

/** Who may sign, compiled once: what a signature is measured with. */
export interface Authority {
  /** For people, in few words: `keyless https://… (issuer https://…)`, `key cosign.pub`. */
  readonly name: string;
  /**
   * Verifies everything about a candidate: cryptography, identity, time, and that it is about the
   * subject. Synchronous and without network. Whatever is thrown means: this one does not count.
   *
   * @throws SignatureProblem with a reason for people; anything else on hostile input.
   */
  verify(candidate: Candidate, subject: Subject, nowMs: number): VerifiedSignature;
}

export interface VerifiedSignature {
  /** Who signed: a certificate's identity and issuer, a key's fingerprint, a distinguished name. */
  readonly signer: string;
  readonly says: SignatureContent;
  /** When it stops to count by itself, in milliseconds since the epoch. */
  readonly validUntilMs?: number;
}

/** A signature vouches for the image; an attestation vouches for its predicate only. */
export type SignatureContent =
  | { readonly kind: "signature" }
  | {
      readonly kind: "attestation";
      readonly predicateType: string;
      readonly predicate: unknown;
    };

/** Why a signature does not count, in a sentence without its subject: `is about another image`. */
export class SignatureProblem extends Error {
  override readonly name = "SignatureProblem";
}
