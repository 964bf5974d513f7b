import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";

/** The protected headers, once it is clear that all of the critical ones are understood. */
export interface SignedAttributes {
  /** By its name in JWS: `PS256`, `ES384`, … */
  readonly algorithm: string;
  readonly scheme: SigningScheme;
  /** What the signer says, in milliseconds since the epoch. */
  readonly signingTimeMs: number;
  /** From then on it does not count, in milliseconds since the epoch. */
  readonly expiryMs: number | undefined;
}

export type SigningScheme = "notary.x509" | "notary.x509.signingAuthority";

/** A header's name: COSE has numbers, too. */
export type Label = string | number;

export type Headers = ReadonlyMap<unknown, unknown>;

/** What JWS and COSE say in different ways. */
export interface Dialect {
  readonly labels: {
    readonly algorithm: Label;
    readonly contentType: Label;
    readonly critical: Label;
  };
  /** Unprotected headers that may also be protected, and critical. */
  readonly understood: readonly Label[];
  /** The name that JWS has for it, or undefined. */
  toAlgorithm(value: unknown): string | undefined;
  /** Milliseconds since the epoch, or undefined. */
  toTimeMs(value: unknown): number | undefined;
}

const PREFIX = "io.cncf.notary.";
const SCHEME = `${PREFIX}signingScheme`;
const SIGNING_TIME = `${PREFIX}signingTime`;
const AUTHENTIC_SIGNING_TIME = `${PREFIX}authenticSigningTime`;
const EXPIRY = `${PREFIX}expiry`;
const PLUGIN_PREFIX = `${PREFIX}verificationPlugin`;
const PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json";

/** Which time belongs to which scheme: "Standard attributes" of the signature specification. */
const TIMES: Readonly<Record<SigningScheme, { readonly is: string; readonly isNot: string }>> = {
  "notary.x509": { is: SIGNING_TIME, isNot: AUTHENTIC_SIGNING_TIME },
  "notary.x509.signingAuthority": { is: AUTHENTIC_SIGNING_TIME, isNot: SIGNING_TIME },
};

/**
 * Reads the protected headers. Refuses a critical one that is not known, so also the plugins that
 * Notation could run, and one that must be critical and is not.
 *
 * @throws SignatureProblem
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#signed-attributes
 */
export function readSignedAttributes(headers: Headers, dialect: Dialect): SignedAttributes {
  const { labels } = dialect;
  if (headers.get(labels.contentType) !== PAYLOAD_TYPE) {
    throw new SignatureProblem(`is not over a ${PAYLOAD_TYPE}`);
  }
  checkPlugin(headers);
  const critical = readCritical(headers, dialect);
  const algorithm = dialect.toAlgorithm(headers.get(labels.algorithm));
  if (algorithm === undefined) {
    throw new SignatureProblem("was made with an algorithm that is not accepted");
  }
  const scheme = readScheme(headers);
  const times = TIMES[scheme];
  if (headers.has(times.isNot)) {
    throw new SignatureProblem(`has ${times.isNot}, which is not for the signing scheme ${scheme}`);
  }
  const signingTimeMs = readTime(headers, times.is, dialect);
  const expiryMs = headers.has(EXPIRY) ? readTime(headers, EXPIRY, dialect) : undefined;
  const mustBeCritical = [SCHEME, AUTHENTIC_SIGNING_TIME, EXPIRY].filter((name) =>
    headers.has(name),
  );
  const notCritical = mustBeCritical.find((name) => !critical.includes(name));
  if (notCritical !== undefined) {
    throw new SignatureProblem(`does not mark ${notCritical} as critical`);
  }
  if (expiryMs !== undefined && expiryMs <= signingTimeMs) {
    throw new SignatureProblem("expired before it was made");
  }
  return { algorithm, scheme, signingTimeMs, expiryMs };
}

/** "Extended attributes for Notation Plugins": critical or not, nobody else can tell what they check. */
function checkPlugin(headers: Headers): void {
  for (const name of headers.keys()) {
    if (typeof name === "string" && name.startsWith(PLUGIN_PREFIX)) {
      throw new SignatureProblem(
        `asks for a verification plugin (${shown(name)}), and none is run here`,
      );
    }
  }
}

/** RFC 7515 §4.1.11, RFC 9052 §3.1. */
function readCritical(headers: Headers, { labels, understood }: Dialect): readonly unknown[] {
  const critical = headers.get(labels.critical);
  if (!Array.isArray(critical) || critical.length === 0) {
    throw new SignatureProblem("does not say which of its headers are critical");
  }
  const known: readonly unknown[] = [SCHEME, AUTHENTIC_SIGNING_TIME, EXPIRY, ...understood];
  const entries: readonly unknown[] = critical;
  entries.forEach((name, index) => {
    const text = shown(String(name));
    if (!known.includes(name)) {
      throw new SignatureProblem(`has a critical header that is not known: ${text}`);
    }
    if (!headers.has(name) || entries.indexOf(name) !== index) {
      throw new SignatureProblem(`names ${text} as critical, and has it twice or not at all`);
    }
  });
  return entries;
}

function readScheme(headers: Headers): SigningScheme {
  const scheme = headers.get(SCHEME);
  if (scheme === "notary.x509" || scheme === "notary.x509.signingAuthority") {
    return scheme;
  }
  throw new SignatureProblem(
    typeof scheme === "string"
      ? `has a signing scheme that is not known: ${shown(scheme)}`
      : "has no signing scheme",
  );
}

function readTime(headers: Headers, name: string, dialect: Dialect): number {
  if (!headers.has(name)) {
    throw new SignatureProblem(`has no ${name}`);
  }
  const timeMs = dialect.toTimeMs(headers.get(name));
  if (timeMs === undefined || Number.isNaN(new Date(timeMs).getTime())) {
    throw new SignatureProblem(`has a ${name} that is no time`);
  }
  return timeMs;
}

/**
 * A header may be protected or not, but not both: RFC 7515 §4, RFC 9052 §3.
 *
 * @throws SignatureProblem
 */
export function checkDisjoint(signed: Headers, unsigned: Headers): void {
  for (const name of unsigned.keys()) {
    if (signed.has(name)) {
      throw new SignatureProblem(`has the header ${shown(String(name))} signed and unsigned`);
    }
  }
}
