import type { KeyObject } from "node:crypto";
import { generateKeyPairSync, sign } from "node:crypto";
import type { NameAttribute } from "../../server/policy/notation/distinguished-name.ts";
import {
  ATTRIBUTE_TYPES,
  parseDistinguishedName,
} from "../../server/policy/notation/distinguished-name.ts";

/** The first six are what may sign; the others are there to be refused. */
export type KeyKind =
  | "rsa2048"
  | "rsa3072"
  | "rsa4096"
  | "p256"
  | "p384"
  | "p521"
  | "rsa1024"
  | "rsa2560"
  | "rsa2048-huge-exponent"
  | "secp256k1"
  | "ed25519";

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** In the order of its bits: RFC 5280 §4.2.1.3. */
export const KEY_USAGES: readonly string[] = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
];

/** Everything about a certificate that a test may want otherwise; `null` leaves an extension out. */
export interface CertificateOptions {
  /** `C=US, O=acme`, or attributes one by one, for names that no parser would take. */
  readonly subjectDN?: string | readonly NameAttribute[];
  readonly issuerDN?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly basicConstraints?: {
    readonly isAuthority: boolean;
    readonly pathLength?: number;
    readonly isCritical?: boolean;
  } | null;
  readonly keyUsage?: {
    readonly usages: readonly string[];
    readonly isCritical?: boolean;
  } | null;
  /** OIDs. */
  readonly extendedKeyUsage?: readonly string[] | null;
  /** With which the issuer signs. */
  readonly hash?: "sha1" | "sha256" | "sha384" | "sha512";
  /** RSASSA-PSS instead of PKCS #1 v1.5, of issuers with RSA keys. */
  readonly isPss?: boolean;
  /** OIDs of further extensions, critical and meaningless. */
  readonly extraExtensions?: readonly string[];
}

const slowKeys = new Map<KeyKind, KeyPair>();

/** A new one each time, but for RSA: those take a second, so one of a size serves a whole process. */
export function keyPairOf(kind: KeyKind): KeyPair {
  switch (kind) {
    case "p256":
      return generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    case "p384":
      return generateKeyPairSync("ec", { namedCurve: "secp384r1" });
    case "p521":
      return generateKeyPairSync("ec", { namedCurve: "secp521r1" });
    case "secp256k1":
      return generateKeyPairSync("ec", { namedCurve: "secp256k1" });
    case "ed25519":
      return generateKeyPairSync("ed25519");
    default: {
      const modulusLength = Number.parseInt(kind.slice("rsa".length), 10);
      const publicExponent = kind.endsWith("huge-exponent") ? 0xff_ff_ff_fb : 0x1_00_01;
      const options = { modulusLength, publicExponent };
      const pair = slowKeys.get(kind) ?? generateKeyPairSync("rsa", options);
      slowKeys.set(kind, pair);
      return pair;
    }
  }
}

export interface Issuer {
  readonly subjectDN: string | readonly NameAttribute[];
  readonly keys: KeyPair;
}

/** An X.509 certificate in DER, good or bad: RFC 5280 §4.1, written by hand. */
export function certificateOf(
  publicKey: KeyObject,
  issuer: Issuer,
  options: CertificateOptions = {},
): Buffer {
  const { hash = "sha256", isPss = false } = options;
  const algorithm = algorithmOf(issuer.keys.privateKey, hash, isPss);
  const body = der(
    SEQUENCE,
    der(0xa0, integer(2)),
    integer(serial++),
    algorithm,
    nameOf(options.issuerDN ?? issuer.subjectDN),
    der(
      SEQUENCE,
      timeOf(options.notBefore ?? new Date(Date.now() - DAY_MS)),
      timeOf(options.notAfter ?? new Date(Date.now() + 365 * DAY_MS)),
    ),
    nameOf(options.subjectDN ?? issuer.subjectDN),
    publicKey.export({ type: "spki", format: "der" }),
    ...extensionsOf(options),
  );
  const key = issuer.keys.privateKey;
  const how = isPss ? { key, padding: 6, saltLength: PSS_SALT_BYTES } : { key };
  const signature = sign(key.asymmetricKeyType === "ed25519" ? null : hash, body, how);
  return der(SEQUENCE, body, algorithm, der(0x03, Buffer.from([0]), signature));
}

export function toPem(certificate: Buffer): string {
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

export const DAY_MS = 86_400_000;
const PSS_SALT_BYTES = 32;
const SEQUENCE = 0x30;
let serial = 1;

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const length = content.byteLength;
  const header =
    length < 0x80 ? [tag, length] : [tag, 0x82, Math.floor(length / 0x1_00), length % 0x1_00];
  return Buffer.concat([
    Buffer.from(length >= 0x80 && length < 0x1_00 ? [tag, 0x81, length] : header),
    content,
  ]);
}

function integer(value: number): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  return der(0x02, (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
}

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(arc: number): number[] {
  const bytes = [arc % 0x80];
  for (let left = Math.floor(arc / 0x80); left > 0; left = Math.floor(left / 0x80)) {
    bytes.unshift(0x80 + (left % 0x80));
  }
  return bytes;
}

function nameOf(name: string | readonly NameAttribute[]): Buffer {
  const attributes = typeof name === "string" ? parseDistinguishedName(name) : name;
  const oids = new Map(Array.from(ATTRIBUTE_TYPES, ([number, type]) => [type, number]));
  return der(
    SEQUENCE,
    ...attributes.map(({ type, value }) =>
      der(0x31, der(SEQUENCE, oid(oids.get(type) ?? type), der(0x0c, Buffer.from(value)))),
    ),
  );
}

/** RFC 5280 §4.1.2.5: two digits of the year until 2049. */
function timeOf(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits));
}

const RSA_ENDS = { sha1: 5, sha256: 11, sha384: 12, sha512: 13 } as const;
const EC_ENDS = { sha1: "1", sha256: "3.2", sha384: "3.3", sha512: "3.4" } as const;
const SHA_256 = "2.16.840.1.101.3.4.2.1";

function algorithmOf(key: KeyObject, hash: keyof typeof RSA_ENDS, isPss: boolean): Buffer {
  if (key.asymmetricKeyType === "ed25519") {
    return der(SEQUENCE, oid("1.3.101.112"));
  }
  if (key.asymmetricKeyType === "ec") {
    return der(SEQUENCE, oid(`1.2.840.10045.4.${EC_ENDS[hash]}`));
  }
  if (!isPss) {
    return der(SEQUENCE, oid(`1.2.840.113549.1.1.${RSA_ENDS[hash]}`), der(0x05));
  }
  const sha256 = der(SEQUENCE, oid(SHA_256), der(0x05));
  return der(
    SEQUENCE,
    oid("1.2.840.113549.1.1.10"),
    der(
      SEQUENCE,
      der(0xa0, sha256),
      der(0xa1, der(SEQUENCE, oid("1.2.840.113549.1.1.8"), sha256)),
      der(0xa2, integer(PSS_SALT_BYTES)),
    ),
  );
}

function extensionsOf(options: CertificateOptions): Buffer[] {
  const { basicConstraints, keyUsage, extendedKeyUsage, extraExtensions = [] } = options;
  const extensions: Buffer[] = [];
  if (basicConstraints) {
    const { isAuthority, pathLength, isCritical = true } = basicConstraints;
    const fields = isAuthority ? [der(0x01, Buffer.from([0xff]))] : [];
    fields.push(...(pathLength === undefined ? [] : [integer(pathLength)]));
    extensions.push(extension("2.5.29.19", isCritical, der(SEQUENCE, ...fields)));
  }
  if (keyUsage) {
    extensions.push(
      extension("2.5.29.15", keyUsage.isCritical ?? true, usageBits(keyUsage.usages)),
    );
  }
  if (extendedKeyUsage) {
    extensions.push(extension("2.5.29.37", false, der(SEQUENCE, ...extendedKeyUsage.map(oid))));
  }
  extensions.push(...extraExtensions.map((type) => extension(type, true, der(0x05))));
  return extensions.length === 0 ? [] : [der(0xa3, der(SEQUENCE, ...extensions))];
}

function extension(type: string, isCritical: boolean, value: Buffer): Buffer {
  const critical = isCritical ? [der(0x01, Buffer.from([0xff]))] : [];
  return der(SEQUENCE, oid(type), ...critical, der(0x04, value));
}

function usageBits(usages: readonly string[]): Buffer {
  const bits = usages.map((usage) => 0x80_00 >> KEY_USAGES.indexOf(usage));
  const value = bits.reduce((all, bit) => all | bit, 0);
  return der(0x03, Buffer.from([7, value >> 8, value & 0xff]));
}
