import type { FileHandle } from "node:fs/promises";
import type { BlobReader, ByteRange } from "./blob-store.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { Digest } from "./digest.ts";
import { algorithmOf, digestFrom, hasher } from "./digest.ts";
import { toStorageError } from "./disk-errors.ts";
import { StorageError } from "./errors.ts";

export interface DiskReaderOptions {
  readonly digest: Digest;
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  readonly range: ByteRange | undefined;
  readonly pool: BufferPool;
  /** Hash what is read, and throw before the last chunk when it is not the digest's. */
  readonly verify: boolean;
  readonly onVerified: () => void;
  readonly onCorrupt: () => Promise<void>;
  readonly onFailed: (error: unknown) => void;
  readonly onClosed: () => void;
}

/** A committed file, read in two buffers that take turns: one is filled while the other is sent. */
export class DiskReader implements BlobReader {
  readonly sizeBytes: number;
  readonly #options: DiskReaderOptions;
  #isClosed = false;

  constructor(options: DiskReaderOptions) {
    this.#options = options;
    this.sizeBytes = options.sizeBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const { range, pool, sizeBytes, digest, verify } = this.#options;
    const end = (range?.last ?? sizeBytes - 1) + 1;
    let position = range?.first ?? 0;
    const hash = verify ? hasher(algorithmOf(digest)) : undefined;
    if (position >= end) {
      // A file without bytes is only one blob's: under any other name it has lost its own.
      await (hash && this.#compare(digestFrom(hash, algorithmOf(digest))));
      return;
    }
    let filling = pool.rent(end - position);
    let sending = end - position > filling.byteLength ? pool.rent(end - position) : undefined;
    let pending = this.#read(filling, position, end);
    try {
      while (position < end) {
        const chunk = await pending;
        position += chunk.byteLength;
        if (position < end && sending !== undefined) {
          [filling, sending] = [sending, filling];
          pending = this.#read(filling, position, end);
        }
        hash?.update(chunk);
        if (position >= end && hash !== undefined) {
          await this.#compare(digestFrom(hash, algorithmOf(digest)));
        }
        yield chunk;
      }
    } finally {
      // A reader may leave while the next chunk is being read: the buffer is not free before that.
      await pending.catch(() => undefined);
      pool.release(filling);
      if (sending !== undefined) {
        pool.release(sending);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#options.onClosed();
      await this.#options.handle.close();
    }
  }

  #read(into: Buffer, position: number, end: number): Promise<Buffer> {
    const wanted = Math.min(into.byteLength, end - position);
    const reading = this.#fill(into, wanted, position);
    // Rejections are seen where the chunk is awaited, which may be after the reader has left.
    reading.catch(() => undefined);
    return reading;
  }

  async #fill(into: Buffer, wanted: number, position: number): Promise<Buffer> {
    const { handle, digest } = this.#options;
    let done = 0;
    while (done < wanted) {
      let bytesRead: number;
      try {
        ({ bytesRead } = await handle.read(into, done, wanted - done, position + done));
      } catch (error) {
        // To leave in the middle of a read is no failure of the disk.
        if (!this.#isClosed) {
          this.#options.onFailed(error);
        }
        throw toStorageError(`read ${digest}`, error);
      }
      if (bytesRead === 0) {
        await this.#options.onCorrupt();
        const where = position + done;
        throw new StorageError("content-mismatch", `${digest} ends after ${where} bytes on disk`);
      }
      done += bytesRead;
    }
    return into.subarray(0, wanted);
  }

  async #compare(actual: Digest): Promise<void> {
    const { digest } = this.#options;
    if (actual !== digest) {
      await this.#options.onCorrupt();
      throw new StorageError("content-mismatch", `${digest} has the bytes of ${actual} on disk`);
    }
    this.#options.onVerified();
  }
}
