import type { BlobReader, BlobStore, BlobWriter, ByteRange, Expected } from "./blob-store.ts";
import type { Digest } from "./digest.ts";
import type { StorageError } from "./errors.ts";
import type { S3Breaker } from "./s3-breaker.ts";
import { s3ReasonOf, toS3Error } from "./s3-errors.ts";
import type { S3Body, S3Objects } from "./s3-objects.ts";
import { S3Reader } from "./s3-reader.ts";
import { S3Spool } from "./s3-spool.ts";
import type { S3Uploads } from "./s3-uploads.ts";
import { S3Writer } from "./s3-writer.ts";
import type { StoreEvents, StoreOperation } from "./store-events.ts";

export interface S3StoreOptions {
  readonly objects: S3Objects;
  readonly uploads: S3Uploads;
  readonly breaker: S3Breaker;
  readonly events: StoreEvents;
  readonly spoolFolder: string;
}

/** Blobs as objects named by digest. The bucket is the truth; nothing is remembered here. */
export class S3Store implements BlobStore {
  readonly #objects: S3Objects;
  readonly #uploads: S3Uploads;
  readonly #breaker: S3Breaker;
  readonly #events: StoreEvents;
  readonly #spoolFolder: string;

  constructor(options: S3StoreOptions) {
    this.#objects = options.objects;
    this.#uploads = options.uploads;
    this.#breaker = options.breaker;
    this.#events = options.events;
    this.#spoolFolder = options.spoolFolder;
  }

  async stat(digest: Digest): Promise<Expected | undefined> {
    try {
      const sizeBytes = await this.#objects.size(digest);
      return sizeBytes === undefined ? undefined : { digest, sizeBytes };
    } catch (error) {
      throw this.failed("open", `look for ${digest}`, error);
    }
  }

  async open(digest: Digest, range?: ByteRange): Promise<BlobReader | undefined> {
    const first = range?.first ?? 0;
    const body = await this.#get(digest, range);
    if (body === undefined) {
      return;
    }
    return new S3Reader({
      digest,
      objects: this.#objects,
      body,
      first,
      onBroken: () => this.#breaker.failed(),
      onFailed: (error) => this.#report("read", error),
      onCorrupt: () => this.remove(digest),
    });
  }

  async ingest(digest: Digest, sizeBytes: number | undefined): Promise<BlobWriter> {
    return new S3Writer({
      digest,
      announcedBytes: sizeBytes,
      spool: await S3Spool.create(this.#spoolFolder, digest),
      uploads: this.#uploads,
      onFailed: (error) => this.#report("commit", error),
    });
  }

  async delete(digest: Digest): Promise<boolean> {
    try {
      if ((await this.#objects.size(digest)) === undefined) {
        return false;
      }
      await this.#objects.delete(digest);
      return true;
    } catch (error) {
      throw this.failed("delete", `delete ${digest}`, error);
    }
  }

  /** What differs from its name goes away: as long as it is there nobody could put the right one. */
  async remove(digest: Digest): Promise<void> {
    this.#events.corruption();
    try {
      await this.#objects.delete(digest);
    } catch (error) {
      this.#report("delete", error);
    }
  }

  /** Tells whoever counts, and makes it an error of the store. */
  failed(operation: StoreOperation, doing: string, error: unknown): StorageError {
    this.#report(operation, error);
    return toS3Error(doing, error);
  }

  #report(operation: StoreOperation, error: unknown): void {
    this.#events.failed(operation, s3ReasonOf(error), toS3Error(operation, error));
  }

  async #get(digest: Digest, range: ByteRange | undefined): Promise<S3Body | undefined> {
    try {
      return await this.#objects.get(digest, { first: range?.first ?? 0, last: range?.last });
    } catch (error) {
      throw this.failed("open", `open ${digest}`, error);
    }
  }
}
