import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import { StorageError } from "./errors.ts";

declare const parsed: unique symbol;

/** A canonical OCI digest. Only parseDigest makes one, so to hold the type is proof of the shape. */
export type Digest = string & { readonly [parsed]: "Digest" };

export type DigestAlgorithm = "sha256" | "sha512";

const DIGEST_PATTERN = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/**
 * Accepts exactly one spelling per digest, because the digest is also a file name and an S3 key.
 *
 * @throws StorageError `digest-invalid` for any other algorithm, case or length.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
 */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) {
    const shown = `'${text.slice(0, 80).replace(/[^\x20-\x7e]/g, "?")}'`;
    throw new StorageError(
      "digest-invalid",
      `not a digest: ${shown}; expected sha256: and 64 or sha512: and 128 lower-case hex digits`,
    );
  }
  return text;
}

export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && DIGEST_PATTERN.test(text);
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith("sha512:") ? "sha512" : "sha256";
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

export function hasher(algorithm: DigestAlgorithm): Hash {
  return createHash(algorithm);
}

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = "sha256"): Digest {
  return digestFrom(createHash(algorithm).update(bytes), algorithm);
}

/** Ends the hash: it cannot be updated afterwards. */
export function digestFrom(hash: Hash, algorithm: DigestAlgorithm): Digest {
  return parseDigest(`${algorithm}:${hash.digest("hex")}`);
}
