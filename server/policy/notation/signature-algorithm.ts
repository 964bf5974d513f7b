import type { KeyObject } from "node:crypto";
import { constants, verify } from "node:crypto";

/** The one way in which a key signs: it is never the envelope that chooses. */
export interface SignatureAlgorithm {
  /** As JWS calls it. */
  readonly name: string;
  readonly hash: "sha256" | "sha384" | "sha512";
}

const RSA: ReadonlyMap<unknown, SignatureAlgorithm> = new Map([
  [2048, { name: "PS256", hash: "sha256" }],
  [3072, { name: "PS384", hash: "sha384" }],
  [4096, { name: "PS512", hash: "sha512" }],
]);

const EC: ReadonlyMap<unknown, SignatureAlgorithm> = new Map([
  ["prime256v1", { name: "ES256", hash: "sha256" }],
  ["secp384r1", { name: "ES384", hash: "sha384" }],
  ["secp521r1", { name: "ES512", hash: "sha512" }],
]);

/**
 * What a leaf's key dictates, or undefined for a key that none may sign with.
 *
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#algorithm-selection
 */
export function algorithmOf(key: KeyObject): SignatureAlgorithm | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case "rsa":
      return RSA.get(details?.modulusLength);
    case "ec":
      return EC.get(details?.namedCurve);
    default:
      return undefined;
  }
}

/** A signature over `data`, in the encoding that JWS and COSE share: RFC 7518 §3.4 and §3.5. */
export interface SignedData {
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
}

/** Never throws for a signature of the wrong length or form: that one is false. */
export function isSignedWith(
  key: KeyObject,
  { hash }: SignatureAlgorithm,
  { data, signature }: SignedData,
): boolean {
  const how =
    key.asymmetricKeyType === "ec"
      ? { key, dsaEncoding: "ieee-p1363" as const }
      : {
          key,
          padding: constants.RSA_PKCS1_PSS_PADDING,
          saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
        };
  return verify(hash, data, how, signature);
}
