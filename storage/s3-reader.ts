import type { BlobReader } from "./blob-store.ts";
import type { Digest } from "./digest.ts";
import { algorithmOf, digestFrom, hasher } from "./digest.ts";
import { StorageError } from "./errors.ts";
import { chunksOf } from "./s3-body.ts";
import { toS3Error } from "./s3-errors.ts";
import { S3_LIMITS } from "./s3-limits.ts";
import type { S3Body, S3Objects } from "./s3-objects.ts";

export interface S3ReaderOptions {
  readonly digest: Digest;
  readonly objects: S3Objects;
  /** The first answer; it was asked for when the blob was opened. */
  readonly body: S3Body;
  readonly first: number;
  /** A body broke off: the bucket does not do well. */
  readonly onBroken: (error: unknown) => void;
  readonly onFailed: (error: unknown) => void;
  readonly onCorrupt: () => Promise<void>;
}

/**
 * One object, or a part of it. A whole one is hashed while it streams, and its last chunk is handed
 * out when the hash is right: the SDK's own checksums are compared after the last byte has gone.
 */
export class S3Reader implements BlobReader {
  readonly sizeBytes: number;
  readonly #options: S3ReaderOptions;
  readonly #abort = new AbortController();
  #body: S3Body;

  constructor(options: S3ReaderOptions) {
    this.#options = options;
    this.#body = options.body;
    this.sizeBytes = options.body.sizeBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const { digest, body, first } = this.#options;
    const isWhole = first === 0 && body.lengthBytes === this.sizeBytes;
    const hash = isWhole ? hasher(algorithmOf(digest)) : undefined;
    let held: Uint8Array | undefined;
    for await (const chunk of this.#resumed()) {
      hash?.update(chunk);
      if (held !== undefined) {
        yield held;
      }
      held = chunk;
    }
    if (hash !== undefined) {
      await this.#compare(digestFrom(hash, algorithmOf(digest)));
    }
    if (held !== undefined) {
      yield held;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    this.#body.stream.destroy();
  }

  /** A body that breaks off is taken up where it stopped, as long as it is the same object. */
  async *#resumed(): AsyncGenerator<Uint8Array, void, undefined> {
    const { first, body } = this.#options;
    const end = first + body.lengthBytes;
    let position = first;
    for (let attempt = 1; ; attempt++) {
      try {
        for await (const chunk of chunksOf(this.#body)) {
          position += chunk.byteLength;
          yield chunk;
        }
        return;
      } catch (error) {
        this.#brokeOff(error, attempt);
      }
      if (position >= end) {
        return; // all of it is here; only the end of the connection was not clean
      }
      await this.#reopen(position, end - 1);
    }
  }

  #brokeOff(error: unknown, attempt: number): void {
    const { digest, onBroken, onFailed } = this.#options;
    // To leave in the middle of a read is no failure of the bucket.
    if (!this.#abort.signal.aborted) {
      onBroken(error);
      if (attempt < S3_LIMITS.attemptsMax) {
        return;
      }
      onFailed(error);
    }
    throw toS3Error(`read ${digest}`, error);
  }

  async #reopen(first: number, last: number): Promise<void> {
    const { digest, objects, body, onFailed } = this.#options;
    const { signal } = this.#abort;
    let again: S3Body | undefined;
    try {
      again = await objects.get(digest, { first, last, etag: body.etag, signal });
    } catch (error) {
      onFailed(error);
      throw toS3Error(`read on in ${digest} at byte ${first}`, error);
    }
    if (again === undefined) {
      throw new StorageError("store-unavailable", `${digest} was deleted while it was being read`);
    }
    if (again.sizeBytes !== this.sizeBytes || again.lengthBytes !== last - first + 1) {
      again.stream.destroy();
      throw new StorageError("store-unavailable", `${digest} was replaced while it was being read`);
    }
    this.#body = again;
  }

  async #compare(actual: Digest): Promise<void> {
    const { digest } = this.#options;
    if (actual !== digest) {
      await this.#options.onCorrupt();
      const message = `${digest} has the bytes of ${actual} in the bucket`;
      throw new StorageError("content-mismatch", message);
    }
  }
}
