import type { Bundle } from "@sigstore/bundle";
import type { Digest } from "../../../storage/digest.ts";
import type { Authority, SignatureContent } from "../authority.ts";
import { SignatureProblem } from "../authority.ts";
import { parseJsonObject } from "../bounded-json.ts";
import type { Candidate } from "../evidence.ts";
import { toBundle } from "./bundle.ts";
import { legacyToBundle } from "./cosign-legacy.ts";
import { toProblem } from "./problem.ts";
import type { SignedContent } from "./signature.ts";
import { isDigestOf, preAuthEncoding } from "./signature.ts";
import { checkSimpleSigning, readStatement, STATEMENT_MEDIA_TYPE } from "./statement.ts";

/** A bundle, and what its signature has to be over: not verified. */
export interface SignedBundle {
  readonly bundle: Bundle;
  readonly content: SignedContent;
}

/** One way to trust a bundle: by certificate, or by key. */
export interface SignerCheck {
  readonly name: string;
  /**
   * Verifies signature, signer, time and log. What the content is about is not its to know.
   *
   * @returns who signed.
   * @throws whatever the library and its parsers throw, and SignatureProblem.
   */
  check(signed: SignedBundle): string;
}

/** An authority for what cosign writes, old and new: what a candidate is about, and then who signed. */
export function sigstoreAuthority(signerCheck: SignerCheck): Authority {
  return {
    name: signerCheck.name,
    verify: (candidate, { digest }) => {
      try {
        const { signed, says } = open(candidate, digest);
        return { signer: signerCheck.check(signed), says };
      } catch (error) {
        throw toProblem(error);
      }
    },
  };
}

interface Opened {
  readonly signed: SignedBundle;
  readonly says: SignatureContent;
}

/** What it is about comes first: it costs little, and no signature could mend it. */
function open(candidate: Candidate, digest: Digest): Opened {
  switch (candidate.format) {
    case "bundle": {
      const bundle = toBundle(parseJsonObject(candidate.payload, "its bundle"));
      return openEnvelope(bundle, digest);
    }
    case "cosign-attestation":
      return openEnvelope(toBundle(legacyToBundle(candidate)), digest, candidate.payload);
    case "cosign-signature": {
      checkSimpleSigning(candidate.payload, digest);
      const bundle = toBundle(legacyToBundle(candidate));
      return { signed: openMessage(bundle, candidate.payload), says: { kind: "signature" } };
    }
    case "notation":
      throw new SignatureProblem("is a Notation signature, this rule asks for cosign's");
  }
}

/**
 * @param stamped What a timestamp is over, when that is not the signature: cosign's older
 *   attestations have the whole envelope stamped.
 * @throws SignatureProblem when it is not about `digest`.
 */
export function openEnvelope(bundle: Bundle, digest: Digest, stamped?: Uint8Array): Opened {
  if (bundle.content.$case !== "dsseEnvelope") {
    throw new SignatureProblem("signs a file's bytes: an image's signature is over a statement");
  }
  const { payload, payloadType, signatures } = bundle.content.dsseEnvelope;
  const signature = signatures[0]?.sig;
  if (signature === undefined) {
    throw new SignatureProblem("carries no signature");
  }
  if (payloadType !== STATEMENT_MEDIA_TYPE) {
    throw new SignatureProblem("signs something else than an in-toto statement");
  }
  const content = {
    bytes: preAuthEncoding(payloadType, payload),
    signature,
    payload,
    stamped: stamped === undefined ? signature : Buffer.from(stamped),
  };
  return { signed: { bundle, content }, says: readStatement(payload, digest) };
}

/** @throws SignatureProblem when the bundle says itself that it is about other bytes. */
export function openMessage(bundle: Bundle, message: Uint8Array): SignedBundle {
  if (bundle.content.$case !== "messageSignature") {
    throw new SignatureProblem("signs a statement, not a file's bytes");
  }
  const { messageDigest, signature } = bundle.content.messageSignature;
  if (!isDigestOf(messageDigest.digest, message)) {
    throw new SignatureProblem("is about other bytes: its digest is not theirs");
  }
  const bytes = Buffer.from(message);
  return { bundle, content: { bytes, signature, payload: bytes, stamped: signature } };
}
