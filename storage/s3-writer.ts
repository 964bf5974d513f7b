import type { BlobWriter } from "./blob-store.ts";
import type { Digest } from "./digest.ts";
import { toS3Error } from "./s3-errors.ts";
import { S3_LIMITS } from "./s3-limits.ts";
import type { S3Spool } from "./s3-spool.ts";
import type { S3Source, S3Uploads } from "./s3-uploads.ts";

export interface S3WriterOptions {
  readonly digest: Digest;
  readonly announcedBytes: number | undefined;
  readonly spool: S3Spool;
  readonly uploads: S3Uploads;
  readonly onFailed: (error: unknown) => void;
}

/**
 * Writes go to a file and no further: the upload follows behind at the bucket's own pace, from when
 * there is more than one request takes. Committing waits for it.
 */
export class S3Writer implements BlobWriter {
  readonly #options: S3WriterOptions;
  readonly #abort = new AbortController();
  /** Resolves to what went wrong. */
  #early: Promise<unknown> | undefined;
  #late: Promise<void> | undefined;
  #isDisposed = false;

  constructor(options: S3WriterOptions) {
    this.#options = options;
  }

  async write(chunk: Uint8Array, position: number): Promise<void> {
    const { spool } = this.#options;
    await spool.write(chunk, position);
    if (this.#early === undefined && spool.prefixBytes > S3_LIMITS.partBytesMin) {
      const { announcedBytes = 0 } = this.#options;
      // What was announced may turn out to be wrong.
      const isWrong = announcedBytes < spool.prefixBytes;
      this.#early = this.#upload(isWrong ? undefined : announcedBytes).then(
        () => undefined,
        (error: unknown) => error ?? new Error("unknown"),
      );
    }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    return await this.#options.spool.read(into, position);
  }

  async commit(sizeBytes: number): Promise<void> {
    const { digest, spool, onFailed } = this.#options;
    spool.end(sizeBytes);
    try {
      const failure = this.#early === undefined ? true : await this.#early;
      if (failure !== undefined) {
        // All of it is here: what failed on the way may succeed now.
        this.#late = this.#upload(sizeBytes);
        await this.#late;
      }
    } catch (error) {
      onFailed(error);
      throw toS3Error(`commit ${digest}`, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) {
      return;
    }
    this.#isDisposed = true;
    this.#abort.abort(new Error("it was left without a commit"));
    await this.#early;
    await this.#late?.catch(() => undefined);
    await this.#options.spool.close();
  }

  async #upload(announcedBytes: number | undefined): Promise<void> {
    const { digest, spool, uploads } = this.#options;
    const source: S3Source = {
      digest,
      announcedBytes,
      get sizeBytes() {
        return spool.sizeBytes;
      },
      canRepeat: true,
      pieces: (signal) => spool.pieces(signal),
    };
    await uploads.upload(source, this.#abort.signal);
  }
}
