import { X509Certificate } from "node:crypto";
import { ASN1Obj } from "@sigstore/core";
import { POLICY_LIMITS } from "../../limits.ts";
import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";
import type { DistinguishedName, NameAttribute } from "./distinguished-name.ts";
import { ATTRIBUTE_TYPES, formatDistinguishedName } from "./distinguished-name.ts";
import type { CertificateExtensions } from "./extensions.ts";
import { readExtensions } from "./extensions.ts";

/** An X.509 certificate, as far as the Notary Project looks at one. */
export interface Certificate extends CertificateExtensions {
  /** OpenSSL's view of it, for keys and verification. */
  readonly x509: X509Certificate;
  readonly subject: DistinguishedName;
  /** The same, for people: printable ASCII. */
  readonly subjectText: string;
  readonly subjectDer: Buffer;
  readonly issuerDer: Buffer;
  /** Both inclusive, in milliseconds since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** OIDs of how its issuer signed it: the algorithm's, then those of RSASSA-PSS's two hashes. */
  readonly signatureAlgorithm: readonly string[];
}

/**
 * Reads one certificate. OpenSSL reads keys and dates and verifies; names, criticality and usages
 * are read from the same bytes, as node does not tell them.
 *
 * @throws SignatureProblem when it is not exactly one X.509 version 3 certificate in DER.
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.byteLength > POLICY_LIMITS.certificateBytesMax) {
    throw new SignatureProblem(
      `has a certificate of more than ${POLICY_LIMITS.certificateBytesMax} bytes`,
    );
  }
  try {
    return readCertificate(Buffer.from(der));
  } catch (cause) {
    const detail = cause instanceof Error ? shown(cause.message) : "it is not X.509";
    throw new SignatureProblem(`has a certificate that cannot be read: ${detail}`, { cause });
  }
}

/** RFC 5280 §4.1. */
function readCertificate(der: Buffer<ArrayBuffer>): Certificate {
  const x509 = new X509Certificate(der);
  if (!x509.raw.equals(der)) {
    throw new Error("there is more than a certificate");
  }
  const [body, algorithm] = ASN1Obj.parseBuffer(der).subs;
  const fields = body?.subs ?? [];
  const [version, , , issuer, , subject] = fields;
  if (!version?.tag.isContextSpecific(0) || !algorithm || !issuer || !subject) {
    throw new Error("it is not of version 3");
  }
  const name = readName(subject);
  const nameText = formatDistinguishedName(name);
  if (nameText.length > POLICY_LIMITS.nameCharactersMax) {
    throw new Error(`its subject is longer than ${POLICY_LIMITS.nameCharactersMax} characters`);
  }
  const certificate: Certificate = {
    x509,
    subject: name,
    subjectText: shown(nameText) || "without a subject",
    subjectDer: subject.toDER(),
    issuerDer: issuer.toDER(),
    notBeforeMs: x509.validFromDate.getTime(),
    notAfterMs: x509.validToDate.getTime(),
    signatureAlgorithm: readAlgorithm(algorithm),
    ...readExtensions(fields.find(({ tag }) => tag.isContextSpecific(3))),
  };
  if (Number.isNaN(certificate.notBeforeMs) || Number.isNaN(certificate.notAfterMs)) {
    throw new Error("its dates are not dates");
  }
  return certificate;
}

/** RFC 5280 §4.1.1.2; for RSASSA-PSS also RFC 4055 §3.1, whose defaults are SHA-1. */
function readAlgorithm(identifier: ASN1Obj): string[] {
  const [algorithm, parameters] = identifier.subs;
  const oids = [algorithm?.toOID() ?? ""];
  if (oids[0] === RSASSA_PSS) {
    const [hash, mask] = [0, 1].map(
      (number) => parameters?.subs.find(({ tag }) => tag.isContextSpecific(number))?.subs[0],
    );
    oids.push(hash?.subs[0]?.toOID() ?? SHA_1, mask?.subs[1]?.subs[0]?.toOID() ?? SHA_1);
  }
  return oids;
}

const RSASSA_PSS = "1.2.840.113549.1.1.10";
const SHA_1 = "1.3.14.3.2.26";

/** RFC 5280 §4.1.2.4. */
function readName(sequence: ASN1Obj): DistinguishedName {
  const attributes = sequence.subs.flatMap(({ subs }) => subs.map(readAttribute));
  if (attributes.length > POLICY_LIMITS.nameAttributesMax) {
    throw new Error(`its subject has more than ${POLICY_LIMITS.nameAttributesMax} attributes`);
  }
  return attributes;
}

function readAttribute({ subs: [type, value] }: ASN1Obj): NameAttribute {
  if (!type || !value) {
    throw new Error("its subject is not a name");
  }
  const oid = type.toOID();
  return { type: ATTRIBUTE_TYPES.get(oid) ?? oid, value: readString(value) };
}

/** DirectoryString and IA5String, by the numbers of their tags (X.690 §8.23). */
const ENCODINGS: ReadonlyMap<number, string> = new Map([
  [12, "utf-8"],
  [19, "utf-8"], // PrintableString: ASCII
  [20, "latin1"], // TeletexString, as everybody reads it
  [22, "utf-8"], // IA5String: ASCII
  [30, "utf-16be"],
]);

function readString({ tag, value }: ASN1Obj): string {
  const encoding = tag.isUniversal() ? ENCODINGS.get(tag.number) : undefined;
  if (encoding === undefined || value.byteLength > POLICY_LIMITS.nameCharactersMax) {
    throw new Error("its subject has a value that is no text, or too long");
  }
  return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(value);
}
