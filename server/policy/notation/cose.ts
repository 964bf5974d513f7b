import type { DecodeOptions, Token } from "cborg";
import { decode, encode, Tokenizer, Type } from "cborg";
import { POLICY_LIMITS } from "../../limits.ts";
import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";
import type { Envelope } from "./envelope.ts";
import type { Dialect, Headers } from "./signed-attributes.ts";
import { checkDisjoint, readSignedAttributes } from "./signed-attributes.ts";

/** RFC 9052 §2: COSE_Sign1 in its tagged form. */
const TAG_18 = 0xd2;
const COUNTERSIGNATURE = "io.cncf.notary.timestampSignature";
/** x5chain: RFC 9360 §2. */
const CERTIFICATES = 33;

/** IANA's COSE algorithms that the Notary Project accepts, by their JWS names. */
const ALGORITHMS: ReadonlyMap<unknown, string> = new Map([
  [-37, "PS256"],
  [-38, "PS384"],
  [-39, "PS512"],
  [-7, "ES256"],
  [-35, "ES384"],
  [-36, "ES512"],
]);

const DIALECT: Dialect = {
  labels: { algorithm: 1, critical: 2, contentType: 3 }, // RFC 9052 §3.1
  understood: [CERTIFICATES],
  toAlgorithm: (value) => ALGORITHMS.get(value),
  toTimeMs: (value) => (value instanceof EpochTime ? value.ms : undefined),
};

/**
 * Reads a COSE_Sign1 envelope.
 *
 * @throws SignatureProblem
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-envelope-cose.md
 */
export function parseCose(bytes: Uint8Array): Envelope {
  const parts: unknown = bytes[0] === TAG_18 ? decodeStrict(bytes.subarray(1)) : undefined;
  if (!Array.isArray(parts) || parts.length !== 4) {
    throw new SignatureProblem("is not a tagged COSE_Sign1");
  }
  const [signedHeaderBytes, unsignedHeaders, payload, signature]: unknown[] = parts;
  if (!isFilled(signedHeaderBytes) || !isFilled(payload) || !isFilled(signature)) {
    throw new SignatureProblem("is a COSE_Sign1 without headers, payload or signature");
  }
  const signedHeaders = toHeaders(decodeStrict(signedHeaderBytes));
  const headers = toHeaders(unsignedHeaders);
  checkDisjoint(signedHeaders, headers);
  return {
    attributes: readSignedAttributes(signedHeaders, DIALECT),
    payload,
    toBeSigned: encode(["Signature1", signedHeaderBytes, new Uint8Array(0), payload]),
    signature,
    certificates: toCertificates(signedHeaders.get(CERTIFICATES) ?? headers.get(CERTIFICATES)),
    isCountersigned: headers.has(COUNTERSIGNATURE),
  };
}

function isFilled(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.byteLength > 0;
}

function toHeaders(value: unknown): Headers {
  if (!(value instanceof Map)) {
    throw new SignatureProblem("has COSE headers that are no map");
  }
  for (const label of value.keys()) {
    if (typeof label !== "string" && typeof label !== "number") {
      throw new SignatureProblem("has a COSE header whose label is no text and no number");
    }
  }
  return value;
}

function toCertificates(value: unknown): readonly Uint8Array[] {
  if (!Array.isArray(value) || !value.every(isFilled)) {
    throw new SignatureProblem("has no certificates");
  }
  return value;
}

/** RFC 8949 §3.4.2: a number of seconds, tagged with 1. */
class EpochTime {
  readonly ms: number | undefined;

  constructor(seconds: unknown) {
    this.ms = typeof seconds === "number" ? Math.floor(seconds * 1000) : undefined;
  }
}

/**
 * CBOR in one spelling: no key twice, nothing indefinite, no tag but 1, no undefined, NaN, infinity
 * or integer that JavaScript would round.
 */
const OPTIONS: DecodeOptions = {
  useMaps: true,
  strict: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  tags: { 1: (content) => new EpochTime(content()) },
};

function decodeStrict(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, { ...OPTIONS, tokenizer: new BoundedTokenizer(bytes, OPTIONS) });
  } catch (cause) {
    const detail = cause instanceof Error ? shown(cause.message) : "";
    throw new SignatureProblem(`is not the CBOR that it should be: ${detail}`, { cause });
  }
}

/** The decoder recurses, but never deeper than there are arrays, maps and tags. */
class BoundedTokenizer extends Tokenizer {
  #items = 0;
  #containers = 0;

  override next(): Token {
    const token = super.next();
    const isContainer = CONTAINERS.some((type) => Type.equals(token.type, type));
    this.#items += 1;
    this.#containers += isContainer ? 1 : 0;
    if (
      this.#items > POLICY_LIMITS.envelopeItemsMax ||
      this.#containers > POLICY_LIMITS.cborContainersMax
    ) {
      throw new Error("it has too many items");
    }
    return token;
  }
}

const CONTAINERS: readonly Type[] = [Type.array, Type.map, Type.tag];
