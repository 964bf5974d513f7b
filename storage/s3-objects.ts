import { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import type { Digest } from "./digest.ts";
import { algorithmOf, hexOf } from "./digest.ts";
import { StorageError } from "./errors.ts";
import { isAbsent } from "./s3-errors.ts";
import { S3_LIMITS } from "./s3-limits.ts";

/** Bytes as they come from the bucket, with what the answer said of them. */
export interface S3Body {
  readonly stream: Readable;
  /** Of the whole object. */
  readonly sizeBytes: number;
  /** How many will come. */
  readonly lengthBytes: number;
  readonly etag: string | undefined;
}

export interface GetOptions {
  readonly first: number;
  /** Inclusive; to the end without it. */
  readonly last?: number | undefined;
  /** Only while it is still the same object. */
  readonly etag?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The bucket's objects by digest, one key each: `<prefix>v1/blobs/sha256/<hex>`. The version in it
 * is that of the layout, so that another one can live in the same bucket.
 */
export class S3Objects {
  readonly client: S3Client;
  readonly bucket: string;
  /** What all of our keys begin with. */
  readonly keyPrefix: string;

  constructor(client: S3Client, bucket: string, prefix: string) {
    this.client = client;
    this.bucket = bucket;
    this.keyPrefix = `${prefix}v1/blobs/`;
  }

  at(digest: Digest): { readonly Bucket: string; readonly Key: string } {
    const key = `${this.keyPrefix}${algorithmOf(digest)}/${hexOf(digest)}`;
    return { Bucket: this.bucket, Key: key };
  }

  /** Its size; undefined when it is not there. Throws the SDK's errors, as all of these do. */
  async size(digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
    try {
      const head = await this.client.send(new HeadObjectCommand(this.at(digest)), bound(signal));
      return wholeNumber(head.ContentLength, digest);
    } catch (error) {
      if (isAbsent(error)) {
        return;
      }
      throw error;
    }
  }

  /** Undefined when it is not there. */
  async get(digest: Digest, options: GetOptions): Promise<S3Body | undefined> {
    const { first, last, etag, signal } = options;
    const isRange = first > 0 || last !== undefined;
    const command = new GetObjectCommand({
      ...this.at(digest),
      ...(isRange ? { Range: `bytes=${first}-${last ?? ""}` } : {}),
      ...(etag === undefined ? {} : { IfMatch: etag }),
    });
    try {
      const { Body, ContentLength, ContentRange, ETag } = await this.client.send(
        command,
        bound(signal),
      );
      if (!(Body instanceof Readable)) {
        throw unusable(digest, "no body");
      }
      // Whoever takes it hears of its errors; until then nobody does.
      Body.on("error", () => undefined);
      try {
        const lengthBytes = wholeNumber(ContentLength, digest);
        const sizeBytes = isRange ? totalOf(ContentRange, first, digest) : lengthBytes;
        return { stream: Body, sizeBytes, lengthBytes, etag: ETag };
      } catch (error) {
        Body.destroy();
        throw error;
      }
    } catch (error) {
      if (isAbsent(error)) {
        return;
      }
      throw error;
    }
  }

  /** S3 answers the same whether it was there or not. */
  async delete(digest: Digest): Promise<void> {
    await this.client.send(new DeleteObjectCommand(this.at(digest)));
  }

  async presign(digest: Digest, seconds: number): Promise<string> {
    const expiresIn = Math.max(1, Math.min(Math.floor(seconds), S3_LIMITS.presignSecondsMax));
    return await getSignedUrl(this.client, new GetObjectCommand(this.at(digest)), { expiresIn });
  }
}

function bound(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

function wholeNumber(value: number | undefined, digest: Digest): number {
  if (value === undefined || !Number.isSafeInteger(value) || value < 0) {
    throw unusable(digest, "no usable Content-Length");
  }
  return value;
}

/** Of `bytes 7-11/12` the 12, when it begins where it was asked to (RFC 9110 §14.4). */
function totalOf(contentRange: string | undefined, first: number, digest: Digest): number {
  const match = /^bytes (\d{1,16})-\d{1,16}\/(\d{1,16})$/.exec(contentRange ?? "");
  if (match === null || Number(match[1]) !== first) {
    throw unusable(digest, `not the range that was asked for, from byte ${first} on`);
  }
  return wholeNumber(Number(match[2]), digest);
}

function unusable(digest: Digest, what: string): StorageError {
  return new StorageError("store-unavailable", `the bucket answered with ${what} for ${digest}`);
}
