import type { BlobStore } from "./blob-store.ts";
import type { Digest } from "./digest.ts";
import { StorageError } from "./errors.ts";
import { chunksOf } from "./s3-body.ts";
import { S3Breaker } from "./s3-breaker.ts";
import type { S3Endpoint } from "./s3-client.ts";
import { createS3Client } from "./s3-client.ts";
import { toS3Error } from "./s3-errors.ts";
import type { S3Body } from "./s3-objects.ts";
import { S3Objects } from "./s3-objects.ts";
import { S3Store } from "./s3-store.ts";
import { sweepUploads } from "./s3-sweep.ts";
import { S3Transport } from "./s3-transport.ts";
import type { S3Source } from "./s3-uploads.ts";
import { S3Uploads } from "./s3-uploads.ts";
import type { StoreEvents } from "./store-events.ts";

export interface S3Options extends S3Endpoint {
  readonly bucket: string;
  /** Ends with "/", or is empty. */
  readonly prefix: string;
  /** For blobs on their way to the bucket; made when it is not there. */
  readonly spoolFolder: string;
  readonly events: StoreEvents;
  readonly now?: () => number;
}

/** Bytes on their way from the bucket. */
export interface S3Stream {
  /** Of the whole blob. */
  readonly sizeBytes: number;
  /** Throws a StorageError when the body breaks off. */
  readonly chunks: AsyncIterable<Uint8Array>;
  abort(): void;
}

/** A bucket, or a part of one. What fails in it is a StorageError. */
export interface S3 extends AsyncDisposable {
  readonly blobs: BlobStore;
  /** The bytes from `offset` on, as they come, not verified; undefined when it is not there. */
  openFrom(digest: Digest, offset: number, signal?: AbortSignal): Promise<S3Stream | undefined>;
  /**
   * Uploads what a local reader yields, unless it is there already; resolves when it is there.
   * A chunk that fails ends the upload without a trace.
   */
  put(
    digest: Digest,
    sizeBytes: number,
    chunks: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void>;
  /** A url that whoever has it may GET for `seconds`, a week at most. */
  presign(digest: Digest, seconds: number): Promise<string>;
  /** False while it failed too often: nobody should wait for it then. */
  readonly isUp: boolean;
  /** Aborts uploads of ours that were left more than a day ago: how many. Lists the bucket. */
  sweep(signal?: AbortSignal): Promise<number>;
}

/** Asks nothing of the network. */
export function openS3(options: S3Options): S3 {
  return new OpenS3(options);
}

class OpenS3 implements S3 {
  readonly blobs: S3Store;
  readonly #breaker: S3Breaker;
  readonly #objects: S3Objects;
  readonly #uploads: S3Uploads;
  readonly #now: () => number;
  readonly #closed = new AbortController();

  constructor(options: S3Options) {
    const { bucket, prefix, events, spoolFolder, now = Date.now } = options;
    this.#now = now;
    this.#breaker = new S3Breaker(now);
    const client = createS3Client(options, new S3Transport(this.#breaker));
    this.#objects = new S3Objects(client, bucket, prefix);
    const objects = this.#objects;
    this.#uploads = new S3Uploads({ objects, onCorrupt: () => events.corruption() });
    const breaker = this.#breaker;
    this.blobs = new S3Store({ objects, uploads: this.#uploads, breaker, events, spoolFolder });
  }

  get isUp(): boolean {
    return this.#breaker.mayAsk;
  }

  async openFrom(
    digest: Digest,
    offset: number,
    signal?: AbortSignal,
  ): Promise<S3Stream | undefined> {
    const body = await this.#get(digest, offset, signal);
    if (body === undefined) {
      return;
    }
    const left = new AbortController();
    left.signal.addEventListener("abort", () => body.stream.destroy(), { once: true });
    const abort = (): void => left.abort();
    signal?.addEventListener("abort", abort, { once: true });
    body.stream.once("close", () => signal?.removeEventListener("abort", abort));
    return { sizeBytes: body.sizeBytes, chunks: this.#watched(digest, body, left.signal), abort };
  }

  async put(
    digest: Digest,
    sizeBytes: number,
    chunks: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void> {
    const closed = this.#closed.signal;
    const bound = signal === undefined ? closed : AbortSignal.any([signal, closed]);
    try {
      if ((await this.#objects.size(digest, bound)) !== sizeBytes) {
        await this.#uploads.upload(sourceOf(digest, sizeBytes, chunks), bound);
      }
    } catch (error) {
      const doing = `upload ${digest}`;
      throw bound.aborted ? toS3Error(doing, error) : this.blobs.failed("write", doing, error);
    }
  }

  async presign(digest: Digest, seconds: number): Promise<string> {
    try {
      return await this.#objects.presign(digest, seconds);
    } catch (error) {
      throw this.blobs.failed("open", `sign a url of ${digest}`, error);
    }
  }

  async sweep(signal?: AbortSignal): Promise<number> {
    try {
      return await sweepUploads(this.#objects, this.#now(), signal);
    } catch (error) {
      throw this.blobs.failed("scan", "sweep uploads that were left", error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new Error("the store was closed"));
    this.#objects.client.destroy();
  }

  async #get(digest: Digest, offset: number, signal?: AbortSignal): Promise<S3Body | undefined> {
    try {
      return await this.#objects.get(digest, { first: offset, signal });
    } catch (error) {
      if (signal?.aborted === true) {
        throw toS3Error(`open ${digest}`, error);
      }
      throw this.blobs.failed("open", `open ${digest}`, error);
    }
  }

  async *#watched(
    digest: Digest,
    body: S3Body,
    left: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* chunksOf(body);
    } catch (error) {
      // To leave in the middle of a body is no failure of the bucket.
      if (!left.aborted) {
        this.#breaker.failed();
      }
      throw toS3Error(`read ${digest}`, error);
    }
  }
}

/** Pieces of their own: a chunk is the reader's again when the next one is asked for. */
function sourceOf(digest: Digest, sizeBytes: number, chunks: AsyncIterable<Uint8Array>): S3Source {
  return {
    digest,
    announcedBytes: sizeBytes,
    sizeBytes,
    canRepeat: false,
    async *pieces(signal) {
      let sentBytes = 0;
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        sentBytes += chunk.byteLength;
        if (sentBytes > sizeBytes) {
          break;
        }
        yield Buffer.from(chunk);
      }
      if (sentBytes !== sizeBytes) {
        const message = `${digest} is not the ${sizeBytes} bytes long that it was said to be`;
        throw new StorageError("content-mismatch", message);
      }
    },
  };
}
