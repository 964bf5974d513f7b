import { isIPv6 } from "node:net";
import { ASN1Obj } from "@sigstore/core";

/** One attribute of a subject; text is undefined for what is none. */
export interface SubjectAttribute {
  readonly oid: string;
  readonly text: string | undefined;
  /** As RFC 4514 writes it: `CN=alice`. */
  readonly written: string;
}

export interface CertificateNames {
  /** RDN by RDN as the certificate has them, attribute by attribute. */
  readonly subject: readonly (readonly SubjectAttribute[])[];
  /** URIs first, then DNS names, e-mail and IP addresses. */
  readonly alternatives: readonly string[];
}

/** 1 to 2 KiB in practice. */
const BYTES_MAX = 65_536;
/** Attributes of a subject, or alternative names. */
const NAMES_MAX = 64;

/** RFC 4514 §3, and what OpenSSL writes by name as well. */
const SHORT_NAMES: ReadonlyMap<string, string> = new Map([
  ["2.5.4.3", "CN"],
  ["2.5.4.7", "L"],
  ["2.5.4.8", "ST"],
  ["2.5.4.10", "O"],
  ["2.5.4.11", "OU"],
  ["2.5.4.6", "C"],
  ["2.5.4.9", "street"],
  ["0.9.2342.19200300.100.1.25", "DC"],
  ["0.9.2342.19200300.100.1.1", "UID"],
  ["2.5.4.5", "serialNumber"],
  ["1.2.840.113549.1.9.1", "emailAddress"],
]);

/** DirectoryString and IA5String, by the numbers of their tags (X.690 §8.23). */
const ENCODINGS: ReadonlyMap<number, string> = new Map([
  [12, "utf-8"],
  [19, "utf-8"], // PrintableString: ASCII
  [20, "latin1"], // TeletexString, as everybody reads it
  [22, "utf-8"], // IA5String: ASCII
  [30, "utf-16be"],
]);

const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";
/** RFC 5280 §4.2.1.6, GeneralName, in the order in which they name a client. */
const KINDS = { uri: 6, dns: 2, email: 1, address: 7 } as const;

/**
 * The names in a certificate, straight from its DER: what node prints of a subject lets a value look
 * like two attributes (CVE-2021-44533).
 *
 * @throws Error when they cannot be read.
 */
export function readCertificateNames(der: Buffer): CertificateNames {
  if (der.byteLength > BYTES_MAX) {
    throw new Error("it is too large");
  }
  const fields = ASN1Obj.parseBuffer(Buffer.from(der)).subs[0]?.subs ?? [];
  const [version, , , , , subject] = fields;
  if (version?.tag.isContextSpecific(0) !== true || subject === undefined) {
    throw new Error("it is not of version 3"); // RFC 5280 §4.1
  }
  const rdns = subject.subs.map(({ subs }) => subs.map(readAttribute));
  requireFew(rdns.flat());
  const extensions = fields.find(({ tag }) => tag.isContextSpecific(3))?.subs[0]?.subs ?? [];
  return { subject: rdns, alternatives: readAlternatives(extensions) };
}

function requireFew(names: readonly unknown[]): void {
  if (names.length > NAMES_MAX) {
    throw new Error("it has too many names");
  }
}

function readAttribute({ subs: [type, value] }: ASN1Obj): SubjectAttribute {
  if (type === undefined || value === undefined) {
    throw new Error("its subject is no name");
  }
  const oid = type.toOID();
  const text = readText(value);
  const name = SHORT_NAMES.get(oid);
  const written =
    name === undefined || text === undefined
      ? `${name ?? oid}=#${value.toDER().toString("hex")}`
      : `${name}=${escapeValue(text)}`;
  return { oid, text, written };
}

function readText({ tag, value }: ASN1Obj): string | undefined {
  const encoding = tag.isUniversal() ? ENCODINGS.get(tag.number) : undefined;
  if (encoding === undefined) {
    return;
  }
  return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(value);
}

/** RFC 4514 §2.4; control characters in hexadecimal as well. */
function escapeValue(text: string): string {
  return text
    .replace(/["+,;<>\\]|^[ #]| $/g, "\\$&")
    .replace(/\p{C}/gu, (character) =>
      Buffer.from(character).toString("hex").replace(/../g, "\\$&"),
    );
}

/** The subject as one text, the last RDN first (RFC 4514 §2.1): `CN=alice,OU=build,O=acme`. */
export function writeSubject({ subject }: CertificateNames): string {
  return subject
    .toReversed()
    .map((rdn) => rdn.map(({ written }) => written).join("+"))
    .join(",");
}

function readAlternatives(extensions: readonly ASN1Obj[]): readonly string[] {
  const found = extensions.filter(({ subs }) => subs[0]?.toOID() === SUBJECT_ALTERNATIVE_NAME);
  if (found.length > 1) {
    throw new Error("it has an extension twice"); // RFC 5280 §4.2
  }
  const names = found[0]?.subs.at(-1)?.subs[0]?.subs ?? [];
  requireFew(names);
  return Object.values(KINDS).flatMap((kind) =>
    names
      .filter(({ tag }) => tag.isContextSpecific(kind))
      .map(({ value }) => (kind === KINDS.address ? readAddress(value) : readAscii(value))),
  );
}

/** IA5String, and narrower: none of these names has a space, and a NUL has cut names short before. */
function readAscii(value: Buffer): string {
  const text = value.toString("latin1");
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new Error("it has an alternative name with characters that no such name has");
  }
  return text;
}

function readAddress(value: Buffer): string {
  if (value.byteLength === 4) {
    return value.join(".");
  }
  const groups = value.toString("hex").match(/.{4}/g) ?? [];
  const text = groups.join(":");
  if (value.byteLength !== 16 || !isIPv6(text)) {
    throw new Error("it has an IP address that is none");
  }
  return new URL(`http://[${text}]`).hostname.slice(1, -1); // the short spelling: RFC 5952
}
