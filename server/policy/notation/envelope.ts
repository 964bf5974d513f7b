import { POLICY_LIMITS } from "../../limits.ts";
import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";
import { parseCose } from "./cose.ts";
import { parseJws } from "./jws.ts";
import type { SignedAttributes } from "./signed-attributes.ts";

/**
 * What a Notary Project envelope says, in the same shape for JWS and COSE. Only its form has been
 * checked: the signature, the chain, the times and the payload have not.
 */
export interface Envelope {
  readonly attributes: SignedAttributes;
  readonly payload: Uint8Array;
  /** The bytes that were signed: RFC 7515 §5.1, RFC 9052 §4.4. */
  readonly toBeSigned: Uint8Array;
  readonly signature: Uint8Array;
  /** DER, from the leaf to the root. Not signed. */
  readonly certificates: readonly Uint8Array[];
  /** Whether it carries a timestamp of RFC 3161, which is not verified here. */
  readonly isCountersigned: boolean;
}

/**
 * @param mediaType of the layer that the envelope is
 * @throws SignatureProblem
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md
 */
export function parseEnvelope(mediaType: string, bytes: Uint8Array): Envelope {
  if (bytes.byteLength > POLICY_LIMITS.candidateBytesMax) {
    throw new SignatureProblem(`is larger than ${POLICY_LIMITS.candidateBytesMax} bytes`);
  }
  switch (mediaType) {
    case "application/jose+json":
      return parseJws(bytes);
    case "application/cose":
      return parseCose(bytes);
    default:
      throw new SignatureProblem(`is neither JWS nor COSE, but ${shown(mediaType)}`);
  }
}
