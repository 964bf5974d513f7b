import type { ASN1Obj } from "@sigstore/core";

/** RFC 5280 §4.2.1.3, in the order of its bits. */
const KEY_USAGES = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

export type KeyUsage = (typeof KEY_USAGES)[number];

/** The three extensions that the Notary Project honours; it wants all others left alone. */
export interface CertificateExtensions {
  readonly basicConstraints: BasicConstraints | undefined;
  readonly keyUsage:
    | { readonly isCritical: boolean; readonly usages: readonly KeyUsage[] }
    | undefined;
  /** OIDs. */
  readonly extendedKeyUsages: readonly string[];
}

interface BasicConstraints {
  readonly isCritical: boolean;
  readonly isAuthority: boolean;
  /** Of the certificates between it and the leaf. */
  readonly pathLengthMax: number | undefined;
}

interface Extension {
  readonly isCritical: boolean;
  readonly value: ASN1Obj;
}

/**
 * Reads the extensions field of a certificate (RFC 5280 §4.1.2.9).
 *
 * @throws Error when it is malformed, or has one twice.
 */
export function readExtensions(field: ASN1Obj | undefined): CertificateExtensions {
  const seen = new Set<string>();
  const extensions = new Map<string, Extension>();
  for (const { subs } of field?.subs[0]?.subs ?? []) {
    const oid = subs[0]?.toOID() ?? "";
    if (seen.has(oid)) {
      throw new Error("it has an extension twice"); // RFC 5280 §4.2
    }
    seen.add(oid);
    if (HONOURED.has(oid)) {
      extensions.set(oid, readExtension(subs));
    }
  }
  const basicConstraints = extensions.get(BASIC_CONSTRAINTS);
  const keyUsage = extensions.get(KEY_USAGE);
  const purposes = extensions.get(EXTENDED_KEY_USAGE);
  return {
    basicConstraints: basicConstraints && readBasicConstraints(basicConstraints),
    keyUsage: keyUsage && readKeyUsage(keyUsage),
    extendedKeyUsages: purposes ? readPurposes(purposes) : [],
  };
}

const BASIC_CONSTRAINTS = "2.5.29.19";
const KEY_USAGE = "2.5.29.15";
const EXTENDED_KEY_USAGE = "2.5.29.37";
const HONOURED: ReadonlySet<string> = new Set([BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE]);

function readExtension(fields: readonly ASN1Obj[]): Extension {
  const wrapped = fields.at(-1)?.subs ?? [];
  const [value] = wrapped;
  if (fields.length < 2 || fields.length > 3 || wrapped.length !== 1 || !value) {
    throw new Error("it has an extension that cannot be read");
  }
  return { isCritical: fields.length === 3 && fields[1]?.toBoolean() === true, value };
}

function readBasicConstraints({ isCritical, value }: Extension): BasicConstraints {
  const [isAuthority, pathLength] = membersOf(value);
  const pathLengthMax = pathLength === undefined ? undefined : Number(pathLength.toInteger());
  if (pathLengthMax !== undefined && pathLengthMax < 0) {
    throw new Error("its path length is negative");
  }
  return { isCritical, isAuthority: isAuthority?.toBoolean() ?? false, pathLengthMax };
}

function readKeyUsage({ isCritical, value }: Extension): CertificateExtensions["keyUsage"] {
  const bits = value.toBitString();
  return { isCritical, usages: KEY_USAGES.filter((_, index) => bits[index] === 1) };
}

function readPurposes({ value }: Extension): string[] {
  const purposes = membersOf(value).map((purpose) => purpose.toOID());
  if (purposes.length === 0) {
    throw new Error("its extended key usage names none");
  }
  return purposes;
}

function membersOf({ tag, subs }: ASN1Obj): readonly ASN1Obj[] {
  if (tag.toDER() !== SEQUENCE) {
    throw new Error("it has an extension that cannot be read");
  }
  return subs;
}

const SEQUENCE = 0x30;
