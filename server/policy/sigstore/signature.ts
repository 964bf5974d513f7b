import type { KeyObject } from "node:crypto";
import { constants, createHash, timingSafeEqual, verify } from "node:crypto";
import type { SignedEntity } from "@sigstore/verify";

/** What was signed, by which signature; given to the library in place of its own. */
export interface SignedContent {
  /** What the signature is over: a DSSE pre-authentication encoding, or a file's bytes. */
  readonly bytes: Buffer;
  readonly signature: Buffer;
  /** What a log of DSSE envelopes has the digest of: the payload. The bytes, for a file. */
  readonly payload: Buffer;
  /** What an RFC 3161 timestamp is over: the signature, but for cosign's older attestations. */
  readonly stamped: Buffer;
}

/** DSSE's pre-authentication encoding (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md). */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const typeBytes = Buffer.byteLength(payloadType);
  const header = `DSSEv1 ${typeBytes} ${payloadType} ${payload.byteLength} `;
  return Buffer.concat([Buffer.from(header), payload]);
}

/**
 * The library's view of what was signed. It asks `signature` only for what a timestamp is over.
 *
 * Its own classes hash with whatever is the key type's default; this one names every hash.
 */
export function toLibrarySignature(content: SignedContent): SignedEntity["signature"] {
  return {
    signature: content.stamped,
    compareSignature: (other) => isEqual(other, content.signature),
    compareDigest: (digest) => isDigestOf(digest, content.payload),
    compareSignedDigest: (digest) => isDigestOf(digest, content.bytes),
    verifySignature: (key) => isSignedBy(key, content.bytes, content.signature),
  };
}

/** By length: SHA-256, SHA-384 or SHA-512, as logs write them. */
export function isDigestOf(digest: Uint8Array, bytes: Uint8Array): boolean {
  const algorithm = { 32: "sha256", 48: "sha384", 64: "sha512" }[digest.byteLength];
  return algorithm !== undefined && isEqual(digest, createHash(algorithm).update(bytes).digest());
}

/** The curve's own hash is what Sigstore's registry of algorithms asks for; cosign takes SHA-256. */
const EC_HASHES: Readonly<Record<string, readonly string[]>> = {
  prime256v1: ["sha256"],
  secp384r1: ["sha384", "sha256"],
  secp521r1: ["sha512", "sha256"],
};
const RSA_HASHES = ["sha256", "sha384", "sha512"] as const;

/**
 * Whether `key` signed `bytes`: ECDSA on P-256, P-384 and P-521 (DER), RSA with PKCS#1 v1.5 or PSS,
 * pure Ed25519. Ed25519ph, which cosign 3 writes for files, is nothing that node:crypto can check.
 */
export function isSignedBy(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  switch (key.asymmetricKeyType) {
    case "ec": {
      const hashes = EC_HASHES[key.asymmetricKeyDetails?.namedCurve ?? ""] ?? [];
      return hashes.some((hash) => isValid(hash, bytes, key, signature));
    }
    case "rsa":
      return RSA_HASHES.some(
        (hash) =>
          isValid(hash, bytes, { key, padding: constants.RSA_PKCS1_PADDING }, signature) ||
          isValid(hash, bytes, pssKey(key), signature),
      );
    case "rsa-pss":
      return RSA_HASHES.some((hash) => isValid(hash, bytes, pssKey(key), signature));
    case "ed25519":
      return isValid(null, bytes, key, signature);
    default:
      return false;
  }
}

type VerifyKey = Parameters<typeof verify>[2];

function pssKey(key: KeyObject): VerifyKey {
  return {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_AUTO,
  };
}

function isValid(
  hash: string | null,
  bytes: Uint8Array,
  key: VerifyKey,
  signature: Uint8Array,
): boolean {
  try {
    return verify(hash, bytes, key, signature);
  } catch {
    return false; // a PSS key that is bound to another hash, for one
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}
