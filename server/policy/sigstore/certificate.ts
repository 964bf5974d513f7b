import { X509Certificate as NodeCertificate } from "node:crypto";
import type { ASN1Obj } from "@sigstore/core";
import { X509Certificate } from "@sigstore/core";
import { POLICY_LIMITS } from "../../limits.ts";
import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";
import type { Identity } from "./identity.ts";

// https://github.com/sigstore/fulcio/blob/v1.8.0/docs/oid-info.md
const OID_ISSUER_V1 = "1.3.6.1.4.1.57264.1.1";
const OID_ISSUER_V2 = "1.3.6.1.4.1.57264.1.8";
const OID_USERNAME = "1.3.6.1.4.1.57264.1.7";

// RFC 5280 §4.2.1
const OID_SUBJECT_ALT_NAME = "2.5.29.17";
const OID_EXTENDED_KEY_USAGE = "2.5.29.37";
const OID_CODE_SIGNING = "1.3.6.1.5.5.7.3.3";

// GeneralName (RFC 5280 §4.2.1.6)
const OTHER_NAME = 0;
const EMAIL = 1;
const URI = 6;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws SignatureProblem when it is larger than any that Fulcio issues; Error on garbage. */
export function parseCertificate(der: Uint8Array): X509Certificate {
  if (der.byteLength > POLICY_LIMITS.signerCertificateBytesMax) {
    throw new SignatureProblem("its certificate is too large");
  }
  return X509Certificate.parse(Buffer.from(der));
}

/**
 * Who a Fulcio certificate is for. The library would read the first name of several, and drop the
 * high bit of every byte, which makes other names of names.
 *
 * @throws SignatureProblem when it does not name exactly one subject and one issuer.
 */
export function identityOf(certificate: X509Certificate): Identity {
  return { subject: subjectOf(certificate), issuer: issuerOf(certificate) };
}

function subjectOf(certificate: X509Certificate): string {
  const names = certificate.extension(OID_SUBJECT_ALT_NAME)?.valueObj.subs[0]?.subs ?? [];
  const [name] = names;
  if (name === undefined || names.length > 1) {
    throw new SignatureProblem(
      `its certificate has ${names.length} names, where one says who signed`,
    );
  }
  const value = nameValue(name);
  if (value === undefined) {
    throw new SignatureProblem("its certificate is for neither an e-mail address nor a URI");
  }
  return decode(value, "name");
}

function nameValue(name: ASN1Obj): Buffer | undefined {
  if (name.tag.isContextSpecific(EMAIL) || name.tag.isContextSpecific(URI)) {
    return name.value;
  }
  const [type, wrapped] = name.subs;
  return name.tag.isContextSpecific(OTHER_NAME) && type?.toOID() === OID_USERNAME
    ? wrapped?.subs[0]?.value
    : undefined;
}

function issuerOf(certificate: X509Certificate): string {
  const v2 = certificate.extension(OID_ISSUER_V2)?.valueObj.subs[0]?.value;
  const v1 = certificate.extension(OID_ISSUER_V1)?.value;
  const issuer = v2 ?? v1;
  if (issuer === undefined) {
    throw new SignatureProblem("its certificate names no OIDC issuer: it is not one of Fulcio's");
  }
  if (v1 !== undefined && v2 !== undefined && !v1.equals(v2)) {
    throw new SignatureProblem("its certificate names two OIDC issuers");
  }
  return decode(issuer, "issuer");
}

function decode(bytes: Buffer, what: string): string {
  try {
    return UTF8.decode(bytes);
  } catch (cause) {
    throw new SignatureProblem(`its certificate's ${what} is not text`, { cause });
  }
}

/**
 * Checks that a certificate may sign code: the same authority may issue others, for servers.
 *
 * @throws SignatureProblem without digitalSignature, or without codeSigning.
 */
export function checkUsage(certificate: X509Certificate): void {
  if (certificate.extKeyUsage?.digitalSignature !== true) {
    throw new SignatureProblem("its certificate may not sign: no key usage digitalSignature");
  }
  const usages = certificate.extension(OID_EXTENDED_KEY_USAGE)?.valueObj.subs[0]?.subs ?? [];
  if (!usages.some((usage) => usage.toOID() === OID_CODE_SIGNING)) {
    throw new SignatureProblem("its certificate may not sign code: no extended usage codeSigning");
  }
}

/** Who issued it, on one line, as it says itself. */
export function issuerName(der: Uint8Array): string {
  return shown(new NodeCertificate(der).issuer.split("\n").reverse().join(", "));
}
