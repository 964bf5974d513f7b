import type { Digest } from "../../storage/digest.ts";
import type { SignatureFormat } from "../decision.ts";

/** The manifest that is judged. */
export interface Subject {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

/** Something that may be a signature of the subject: nothing in it has been believed yet. */
export interface Candidate {
  readonly format: SignatureFormat;
  /** The manifest that carries it. */
  readonly artifact: Digest;
  /** Of the layer: `application/vnd.dev.sigstore.bundle.v0.3+json`, `application/jose+json`, … */
  readonly mediaType: string;
  /** The layer's bytes, which hash to its descriptor's digest. */
  readonly payload: Uint8Array;
  /** Of the layer's descriptor: where cosign's older format keeps signature, certificate and bundle. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** An artefact that could not be a candidate, and why: for people. */
export interface PassedOver {
  readonly artifact: string;
  readonly problem: string;
}

/** Everything that was found about a subject. Plain data: it goes to worker threads and to disk. */
export interface Evidence {
  readonly subject: Subject;
  readonly candidates: readonly Candidate[];
  readonly passedOver: readonly PassedOver[];
  /** Look-ups that failed: with any of them, "nothing counts" is not an answer. */
  readonly failures: readonly string[];
  /** More was found than is looked at: what speaks against the image may be in the rest. */
  readonly isCut?: boolean;
  /** The older attestations' place was asked, too: only some rules want them. */
  readonly withAttestations?: boolean;
  /** It sufficed before everything was asked. */
  readonly isPartial: boolean;
  readonly gatheredAtMs: number;
}
