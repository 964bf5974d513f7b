import assert from "node:assert";
import type { AsymmetricKeyDetails, KeyObject } from "node:crypto";
import { POLICY_LIMITS } from "../../limits.ts";
import { SignatureProblem } from "../authority.ts";
import type { Certificate } from "./certificate.ts";
import { parseCertificate } from "./certificate.ts";

/** From the leaf to the root; never empty. */
export type Chain = readonly [leaf: Certificate, ...authorities: Certificate[]];

/**
 * Reads a chain, and checks nothing but its length.
 *
 * @throws SignatureProblem
 */
export function parseChain(certificates: readonly Uint8Array[]): Chain {
  if (certificates.length > POLICY_LIMITS.chainCertificatesMax) {
    throw new SignatureProblem(
      `has ${certificates.length} certificates, at most ${POLICY_LIMITS.chainCertificatesMax} are read`,
    );
  }
  const [leaf, ...authorities] = certificates.map(parseCertificate);
  if (leaf === undefined) {
    throw new SignatureProblem("has no certificates");
  }
  return [leaf, ...authorities];
}

/**
 * Checks that each certificate was issued by the next, that the last is self-signed, and that each
 * may be used for what it is used for. Dates are another question: see checkDates. Whoever calls
 * this has already found a certificate of the trust store in the chain.
 *
 * Revocation (OCSP, CRL) is not checked: there is no network here.
 *
 * @throws SignatureProblem
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#certificate-requirements
 */
export function checkChain(chain: Chain): void {
  // From the root on: no key is used before somebody above it has vouched for it.
  for (let index = chain.length - 1; index >= 0; index--) {
    checkLink(chain, index);
  }
  const [leaf, ...authorities] = chain;
  authorities.forEach(checkAuthority);
  checkLeaf(leaf);
}

function checkLink(chain: Chain, index: number): void {
  const certificate = chain[index];
  const issuer = chain[index + 1];
  assert(certificate);
  checkStrength(certificate);
  if (issuer === undefined && !isIssuedBy(certificate, certificate)) {
    refuse(certificate, "is the last of its chain, and not self-signed");
  }
  if (issuer !== undefined && !isIssuedBy(certificate, issuer)) {
    refuse(certificate, `was not issued by ${issuer.subjectText}`);
  }
  if (issuer !== undefined && isIssuedBy(certificate, certificate)) {
    refuse(certificate, "is self-signed, and not the last of its chain");
  }
}

/**
 * Each certificate must be valid at `atMs`, the root too: the signature specification, "Other
 * requirements" 3 and 4.
 *
 * @throws SignatureProblem that ends with `hint`.
 */
export function checkDates(chain: Chain, atMs: number, hint: string): void {
  for (const certificate of chain) {
    if (atMs < certificate.notBeforeMs) {
      refuse(certificate, `is valid from ${toDate(certificate.notBeforeMs)} on only${hint}`);
    }
    if (atMs > certificate.notAfterMs) {
      refuse(certificate, `expired on ${toDate(certificate.notAfterMs)}${hint}`);
    }
  }
}

function refuse({ subjectText }: Certificate, why: string): never {
  throw new SignatureProblem(`its certificate ${subjectText} ${why}`);
}

function toDate(ms: number): string {
  return new Date(ms).toISOString();
}

/**
 * By name and key. X509Certificate.checkIssued would also look at key identifiers, which are none
 * of the honoured extensions, and wants keyCertSign of a self-signed leaf.
 */
function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  return (
    certificate.issuerDer.equals(issuer.subjectDer) &&
    certificate.x509.verify(issuer.x509.publicKey)
  );
}

const SHA_2 = ["2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3"];

/** Signatures with SHA-2, or Ed25519: not with SHA-1, nor with what is older. */
const SIGNATURE_ALGORITHMS: ReadonlySet<string> = new Set([
  ...["11", "12", "13"].map((last) => `1.2.840.113549.1.1.${last}`), // RSA PKCS #1 v1.5
  ...SHA_2.map((hash) => `1.2.840.113549.1.1.10 ${hash} ${hash}`), // RSASSA-PSS
  ...["2", "3", "4"].map((last) => `1.2.840.10045.4.3.${last}`), // ECDSA
  "1.3.101.112", // Ed25519
]);

function checkStrength(certificate: Certificate): void {
  if (!SIGNATURE_ALGORITHMS.has(certificate.signatureAlgorithm.join(" "))) {
    refuse(certificate, "was signed with SHA-1 or another algorithm that is not accepted");
  }
  if (!isStrong(certificate.x509.publicKey)) {
    refuse(certificate, "has a key that is too weak, or of a kind that is not accepted");
  }
}

const CURVES: readonly (string | undefined)[] = ["prime256v1", "secp384r1", "secp521r1"];

/** What a leaf's key may be is narrower still: see signature-algorithm.ts. */
function isStrong({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  switch (asymmetricKeyType) {
    case "rsa":
    case "rsa-pss":
      return isReasonable(asymmetricKeyDetails);
    case "ec":
      return CURVES.includes(asymmetricKeyDetails?.namedCurve);
    default:
      return asymmetricKeyType === "ed25519";
  }
}

/** Neither weak, nor so large that verifying takes long: whoever may push chose it. */
function isReasonable(rsa: AsymmetricKeyDetails = {}): boolean {
  const { modulusLength = 0, publicExponent = 0n } = rsa;
  const { rsaBitsMin, rsaBitsMax, rsaExponentMax } = POLICY_LIMITS;
  const isSized = modulusLength >= rsaBitsMin && modulusLength <= rsaBitsMax;
  return isSized && publicExponent > 1n && publicExponent <= BigInt(rsaExponentMax);
}

/** "Leaf Certificates". */
function checkLeaf(leaf: Certificate): void {
  if (leaf.basicConstraints?.isAuthority) {
    refuse(leaf, "is an authority's, and none to sign with");
  }
  if (!leaf.keyUsage?.isCritical) {
    refuse(leaf, "has no critical key usage");
  }
  if (!leaf.keyUsage.usages.includes("digitalSignature")) {
    refuse(leaf, "is not for digital signatures");
  }
  const other = leaf.keyUsage.usages.find((usage) => !LEAF_USAGES.includes(usage));
  if (other !== undefined) {
    refuse(leaf, `is also for ${other}`);
  }
  const purpose = leaf.extendedKeyUsages.map((oid) => FOREIGN_PURPOSES.get(oid)).find(Boolean);
  if (purpose !== undefined) {
    refuse(leaf, `is for ${purpose}, not for code signing only`);
  }
}

const LEAF_USAGES: readonly string[] = ["digitalSignature", "nonRepudiation"];

/** RFC 5280 §4.2.1.12. The specification leaves OCSP signing out; Notation refuses it too. */
const FOREIGN_PURPOSES: ReadonlyMap<string, string> = new Map([
  ["2.5.29.37.0", "any purpose"],
  ["1.3.6.1.5.5.7.3.1", "TLS servers"],
  ["1.3.6.1.5.5.7.3.2", "TLS clients"],
  ["1.3.6.1.5.5.7.3.4", "e-mail"],
  ["1.3.6.1.5.5.7.3.8", "timestamping"],
  ["1.3.6.1.5.5.7.3.9", "OCSP signing"],
]);

/** "Root and Intermediate CA Certificates"; `below` counts the authorities between it and the leaf. */
function checkAuthority(authority: Certificate, below: number): void {
  const { basicConstraints, keyUsage } = authority;
  if (!basicConstraints?.isCritical || !basicConstraints.isAuthority) {
    refuse(authority, "is not an authority's: its basic constraints do not say so, critically");
  }
  if (!keyUsage?.isCritical || !keyUsage.usages.includes("keyCertSign")) {
    refuse(authority, "is not for signing certificates: its key usage does not say so, critically");
  }
  if (basicConstraints.pathLengthMax !== undefined && basicConstraints.pathLengthMax < below) {
    refuse(
      authority,
      `allows ${basicConstraints.pathLengthMax} authorities below it, not ${below}`,
    );
  }
}
