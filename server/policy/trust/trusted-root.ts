import { createPublicKey, X509Certificate } from "node:crypto";
import type { JsonObject } from "../../json-object.ts";
import { isObject } from "../../json-object.ts";
import { POLICY_LIMITS } from "../../limits.ts";
import { listOf, memberOf, parseJsonObject, textOf } from "../bounded-json.ts";

/** What a rule asks of its trusted root. */
export interface TrustedRootNeeds {
  /** Transparency logs; with certificates, those that certificates are logged in, too. */
  readonly log: boolean;
  /** Certificate authorities. */
  readonly certificates: boolean;
  /** Timestamp authorities. */
  readonly timestamps: boolean;
}

const MEDIA_TYPE =
  /^application\/vnd\.dev\.sigstore\.trustedroot(?:\+json;version=0\.\d|\.v0\.\d\+json)$/;

/** How sigstore-js tells RSA keys in PKCS#1 from all others, which are SPKI. */
const PKCS1_DETAILS: readonly unknown[] = [
  "PKCS1_RSA_PKCS1V5",
  "PKIX_RSA_PKCS1V5",
  "PKIX_RSA_PKCS1V15_2048_SHA256",
  "PKIX_RSA_PKCS1V15_3072_SHA256",
  "PKIX_RSA_PKCS1V15_4096_SHA256",
];

const LOGS = ["tlogs", "ctlogs"] as const;
const AUTHORITIES = ["certificateAuthorities", "timestampAuthorities"] as const;

/**
 * What is wrong with a Sigstore TrustedRoot in JSON, in a sentence without its subject, or
 * undefined: `names no transparency log`. Loads nothing of Sigstore's libraries.
 *
 * @see https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_trustroot.proto
 */
export function checkTrustedRoot(json: string, needs: TrustedRootNeeds): string | undefined {
  let root: JsonObject;
  try {
    root = parseJsonObject(Buffer.from(json), "the file");
  } catch (error) {
    return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
  const mediaType = textOf(root, "mediaType");
  if (!MEDIA_TYPE.test(mediaType)) {
    return `is no Sigstore trusted root: its mediaType is '${mediaType.slice(0, 100)}'`;
  }
  for (const name of [...LOGS, ...AUTHORITIES]) {
    const problem = checkList(root, name);
    if (problem !== undefined) {
      return problem;
    }
  }
  return checkNeeds(root, needs);
}

function checkList(root: JsonObject, name: string): string | undefined {
  if (isGiven(root[name]) && !Array.isArray(root[name])) {
    return `has ${name} that are not a list`;
  }
  const entries = listOf(root, name);
  if (entries.length > POLICY_LIMITS.trustAnchorsMax) {
    return `has ${entries.length} ${name}, at most ${POLICY_LIMITS.trustAnchorsMax} are read`;
  }
  const check = LOGS.some((log) => log === name) ? checkLog : checkAuthority;
  for (const [at, entry] of entries.entries()) {
    const problem = isObject(entry) ? check(entry) : "is not an object";
    if (problem !== undefined) {
      return `has a wrong entry: ${name}[${at}] ${problem}`;
    }
  }
  return undefined;
}

function checkLog(log: JsonObject): string | undefined {
  const publicKey = memberOf(log, "publicKey");
  const keyBytes = Buffer.from(textOf(publicKey, "rawBytes"), "base64");
  const type = PKCS1_DETAILS.includes(publicKey["keyDetails"]) ? "pkcs1" : "spki";
  try {
    createPublicKey({ key: keyBytes, format: "der", type });
  } catch {
    return "has no public key that can be read";
  }
  if (textOf(memberOf(log, "logId"), "keyId") === "") {
    return "has no logId";
  }
  const validFor = memberOf(publicKey, "validFor");
  if (!isGiven(validFor["start"])) {
    // Libraries take that for "since 1970": a log that was retired would count for ever.
    return "does not say since when its key is valid (publicKey.validFor.start)";
  }
  return checkPeriod(validFor, "publicKey.validFor");
}

function checkAuthority(authority: JsonObject): string | undefined {
  const certificates = listOf(memberOf(authority, "certChain"), "certificates");
  if (certificates.length === 0 || certificates.length > POLICY_LIMITS.trustChainMax) {
    return `has ${certificates.length} certificates, 1 to ${POLICY_LIMITS.trustChainMax} make a chain`;
  }
  for (const [at, certificate] of certificates.entries()) {
    try {
      new X509Certificate(Buffer.from(textOf(certificate, "rawBytes"), "base64"));
    } catch {
      return `has a certificate that cannot be read: certificates[${at}]`;
    }
  }
  return checkPeriod(memberOf(authority, "validFor"), "validFor");
}

function checkPeriod(period: JsonObject, name: string): string | undefined {
  for (const end of ["start", "end"]) {
    const date = period[end];
    if (isGiven(date) && (typeof date !== "string" || Number.isNaN(Date.parse(date)))) {
      return `has a date that is none: ${name}.${end}`;
    }
  }
  return undefined;
}

/** In protobuf's JSON, null is the same as absent. */
function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function checkNeeds(root: JsonObject, needs: TrustedRootNeeds): string | undefined {
  const missing: readonly (readonly [isNeeded: boolean, list: string, what: string])[] = [
    [needs.certificates, "certificateAuthorities", "certificate authority (Fulcio)"],
    [needs.log, "tlogs", "transparency log (Rekor)"],
    [needs.log && needs.certificates, "ctlogs", "certificate transparency log"],
    [needs.timestamps, "timestampAuthorities", "timestamp authority"],
  ];
  const first = missing.find(([isNeeded, list]) => isNeeded && listOf(root, list).length === 0);
  return first === undefined ? undefined : `names no ${first[2]} (${first[1]})`;
}

const PEM_BEGIN = /-----BEGIN ([A-Z0-9 ]{1,40})-----/g;
const CURVES: readonly unknown[] = ["prime256v1", "secp384r1", "secp521r1"];
const RSA_BITS_MIN = 2048;

/**
 * What is wrong with a public key in PEM (SPKI, RFC 7468 §13), in a sentence without its subject,
 * or undefined. Signatures of EC P-256, P-384 and P-521, RSA of 2048 bits or more, and Ed25519 can
 * be verified.
 */
export function checkPublicKey(pem: string): string | undefined {
  const labels = Array.from(pem.slice(0, POLICY_LIMITS.candidateBytesMax).matchAll(PEM_BEGIN));
  const [label] = labels.map(([, name = ""]) => name);
  if (label === undefined || labels.length > 1) {
    return `has ${labels.length} PEM blocks, expected one public key`;
  }
  if (label.endsWith("PRIVATE KEY")) {
    return "is a private key: only the public one belongs here";
  }
  if (label !== "PUBLIC KEY") {
    return `is a ${label.toLowerCase()}, expected a PEM public key (BEGIN PUBLIC KEY)`;
  }
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey(pem);
    return checkAlgorithm(asymmetricKeyType, asymmetricKeyDetails);
  } catch {
    return "is no public key that can be read";
  }
}

function checkAlgorithm(
  type: string | undefined,
  { namedCurve, modulusLength = 0 }: { namedCurve?: string; modulusLength?: number } = {},
): string | undefined {
  switch (type) {
    case "ec":
      return CURVES.includes(namedCurve)
        ? undefined
        : `is on the curve ${namedCurve}, expected P-256, P-384 or P-521`;
    case "rsa":
    case "rsa-pss":
      return modulusLength >= RSA_BITS_MIN
        ? undefined
        : `is an RSA key of ${modulusLength} bits, expected ${RSA_BITS_MIN} or more`;
    case "ed25519":
      return undefined;
    default:
      return `is a key of type ${type}, expected EC, RSA or Ed25519`;
  }
}
