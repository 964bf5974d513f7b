import { randomUUID } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "./digest.ts";
import { toStorageError } from "./disk-errors.ts";
import { StorageError } from "./errors.ts";
import { S3_LIMITS } from "./s3-limits.ts";

/**
 * A file without a name, for a blob on its way to the bucket: those who follow a fill read from it,
 * and so does the upload, which may be slower than they are. A crash leaves nothing behind.
 */
export class S3Spool {
  readonly #digest: Digest;
  readonly #handle: FileHandle;
  /** Ends by starts of what was written past the prefix. */
  readonly #islands = new Map<number, number>();
  #prefixBytes = 0;
  #sizeBytes: number | undefined;
  #changed = Promise.withResolvers<void>();

  private constructor(digest: Digest, handle: FileHandle) {
    this.#digest = digest;
    this.#handle = handle;
  }

  /** @throws StorageError when the file cannot be made. */
  static async create(folder: string, digest: Digest): Promise<S3Spool> {
    const file = join(folder, randomUUID());
    try {
      await mkdir(folder, { recursive: true });
      const handle = await open(file, "wx+", 0o600);
      try {
        await rm(file);
      } catch (error) {
        await handle.close();
        throw error;
      }
      return new S3Spool(digest, handle);
    } catch (error) {
      throw toStorageError(`start writing ${digest}`, error);
    }
  }

  /** So many bytes are there from the start on, without a gap. */
  get prefixBytes(): number {
    return this.#prefixBytes;
  }

  /** Of the whole blob, once that is known. */
  get sizeBytes(): number | undefined {
    return this.#sizeBytes;
  }

  async write(chunk: Uint8Array, position: number): Promise<void> {
    try {
      let done = 0;
      while (done < chunk.byteLength) {
        const left = chunk.byteLength - done;
        const { bytesWritten } = await this.#handle.write(chunk, done, left, position + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw toStorageError(`write ${this.#digest}`, error);
    }
    if (chunk.byteLength > 0) {
      this.#add(position, position + chunk.byteLength);
    }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    try {
      return (await this.#handle.read(into, 0, into.byteLength, position)).bytesRead;
    } catch (error) {
      throw toStorageError(`read back ${this.#digest}`, error);
    }
  }

  /** No more comes. @throws StorageError when not all of it is there. */
  end(sizeBytes: number): void {
    if (this.#prefixBytes !== sizeBytes || this.#islands.size > 0) {
      const written = `${this.#prefixBytes} of ${sizeBytes} bytes were written without a gap`;
      throw new StorageError("store-unavailable", `could not commit ${this.#digest}: ${written}`);
    }
    this.#sizeBytes = sizeBytes;
    this.#wake();
  }

  /** From the start to the end, as far as it is there and then as it comes. Ends with the blob. */
  async *pieces(signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const wake = (): void => this.#wake();
    signal.addEventListener("abort", wake, { once: true });
    try {
      let position = 0;
      while (this.#sizeBytes === undefined || position < this.#sizeBytes) {
        signal.throwIfAborted();
        const there = Math.min(S3_LIMITS.pieceBytes, this.#prefixBytes - position);
        if (there < S3_LIMITS.pieceBytes && this.#sizeBytes === undefined) {
          await this.#changed.promise;
          continue;
        }
        const piece = await this.#piece(position, there);
        position += piece.byteLength;
        yield piece;
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #piece(position: number, lengthBytes: number): Promise<Uint8Array> {
    const piece = Buffer.allocUnsafeSlow(lengthBytes);
    const bytesRead = await this.read(piece, position);
    if (bytesRead === 0) {
      const message = `could not read back ${this.#digest}: it ends after ${position} bytes`;
      throw new StorageError("store-unavailable", message);
    }
    return piece.subarray(0, bytesRead);
  }

  #add(start: number, end: number): void {
    this.#islands.set(start, end);
    for (;;) {
      const next = this.#islands.get(this.#prefixBytes);
      if (next === undefined) {
        break;
      }
      this.#islands.delete(this.#prefixBytes);
      this.#prefixBytes = next;
    }
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
