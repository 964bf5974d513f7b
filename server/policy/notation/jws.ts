import { isObject } from "../../json-object.ts";
import { SignatureProblem } from "../authority.ts";
import type { Envelope } from "./envelope.ts";
import type { Dialect } from "./signed-attributes.ts";
import { checkDisjoint, readSignedAttributes } from "./signed-attributes.ts";
import { parseStrictObject } from "./strict-json.ts";

const ALGORITHMS: readonly unknown[] = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];
const MEMBERS = ["payload", "protected", "header", "signature"] as const;
const COUNTERSIGNATURE = "io.cncf.notary.timestampSignature";

const DIALECT: Dialect = {
  labels: { algorithm: "alg", contentType: "cty", critical: "crit" },
  understood: [],
  toAlgorithm: (value) =>
    typeof value === "string" && ALGORITHMS.includes(value) ? value : undefined,
  toTimeMs: (value) => (typeof value === "string" ? parseTime(value) : undefined),
};

/**
 * Reads a flattened JWS of exactly the four members that the Notary Project allows.
 *
 * @throws SignatureProblem
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-envelope-jws.md
 */
export function parseJws(bytes: Uint8Array): Envelope {
  const members = new Map(Object.entries(parseStrictObject(bytes, "its envelope")));
  if (members.size !== MEMBERS.length || !MEMBERS.every((name) => members.has(name))) {
    throw new SignatureProblem(`is not a flattened JWS of ${MEMBERS.join(", ")}`);
  }
  const header = members.get("header");
  if (!isObject(header)) {
    throw new SignatureProblem("has a header that is no object");
  }
  const protectedBytes = decodeUrl(members.get("protected"), "protected header");
  const signedHeaders = toMap(parseStrictObject(protectedBytes, "its protected header"));
  const unsignedHeaders = toMap(header);
  checkDisjoint(signedHeaders, unsignedHeaders);
  return {
    attributes: readSignedAttributes(signedHeaders, DIALECT),
    payload: decodeUrl(members.get("payload"), "payload"),
    toBeSigned: Buffer.from(`${members.get("protected")}.${members.get("payload")}`),
    signature: decodeUrl(members.get("signature"), "signature"),
    certificates: decodeCertificates(unsignedHeaders.get("x5c")),
    isCountersigned: unsignedHeaders.has(COUNTERSIGNATURE),
  };
}

function toMap(value: Readonly<Record<string, unknown>>): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(value));
}

/** One spelling only (RFC 7515 §2): no padding, no blanks, no stray bits, and never nothing. */
function decodeUrl(value: unknown, what: string): Buffer {
  const bytes = Buffer.from(typeof value === "string" ? value : "", "base64url");
  if (bytes.byteLength === 0 || bytes.toString("base64url") !== value) {
    throw new SignatureProblem(`has a ${what} that is not base64url`);
  }
  return bytes;
}

/** RFC 7515 §4.1.6: base64, not base64url. */
function decodeCertificates(value: unknown): Buffer[] {
  if (!Array.isArray(value)) {
    throw new SignatureProblem("has no certificates");
  }
  return value.map((item: unknown) => {
    const bytes = Buffer.from(typeof item === "string" ? item : "", "base64");
    if (bytes.toString("base64") !== item) {
      throw new SignatureProblem("has a certificate that is not base64");
    }
    return bytes;
  });
}

const TIME_PATTERN =
  /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

/** RFC 3339 §5.6. Date.parse alone would make 2 March of 30 February. */
function parseTime(text: string): number | undefined {
  const [, year, month, day] = TIME_PATTERN.exec(text) ?? [];
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return date.getUTCDate() === Number(day) ? Date.parse(text) : undefined;
}
