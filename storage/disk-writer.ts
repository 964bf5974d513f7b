import { randomUUID } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { BlobWriter } from "./blob-store.ts";
import type { Digest } from "./digest.ts";
import { isErrno, toStorageError } from "./disk-errors.ts";
import type { DiskLayout } from "./disk-layout.ts";

export interface DiskWriterHooks {
  /** The blob is visible and durable. */
  committed(sizeBytes: number): void;
  /** The writer is gone, committed or not. Called once. */
  closed(): void;
  /** A temporary file that could not be removed: the disk may be read-only for a while. */
  leftBehind(file: string): void;
}

/** A temporary file that becomes a blob, or goes away. */
export class DiskWriter implements BlobWriter {
  readonly #layout: DiskLayout;
  readonly #digest: Digest;
  readonly #file: string;
  readonly #handle: FileHandle;
  readonly #hooks: DiskWriterHooks;
  #isCommitted = false;
  #isDisposed = false;

  private constructor(
    layout: DiskLayout,
    digest: Digest,
    opened: { readonly file: string; readonly handle: FileHandle },
    hooks: DiskWriterHooks,
  ) {
    this.#layout = layout;
    this.#digest = digest;
    this.#file = opened.file;
    this.#handle = opened.handle;
    this.#hooks = hooks;
  }

  /** @throws StorageError when the file cannot be made. */
  static async create(
    layout: DiskLayout,
    digest: Digest,
    hooks: DiskWriterHooks,
  ): Promise<DiskWriter> {
    const file = join(layout.ingestFolder, randomUUID());
    try {
      const handle = await openNew(file);
      return new DiskWriter(layout, digest, { file, handle }, hooks);
    } catch (error) {
      throw toStorageError(`start writing ${digest}`, error);
    }
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
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    try {
      const { bytesRead } = await this.#handle.read(into, 0, into.byteLength, position);
      return bytesRead;
    } catch (error) {
      throw toStorageError(`read back ${this.#digest}`, error);
    }
  }

  async commit(sizeBytes: number): Promise<void> {
    try {
      await this.#handle.datasync();
      await moveDurably(this.#file, this.#layout.blobFile(this.#digest));
    } catch (error) {
      throw toStorageError(`commit ${this.#digest}`, error);
    }
    this.#isCommitted = true;
    this.#hooks.committed(sizeBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) {
      return;
    }
    this.#isDisposed = true;
    this.#hooks.closed();
    await this.#handle.close();
    if (!this.#isCommitted) {
      await rm(this.#file, { force: true }).catch(() => this.#hooks.leftBehind(this.#file));
    }
  }
}

/** Makes the folder when it is not there, or was deleted. */
async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, "wx+");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) {
      throw error;
    }
    await mkdir(dirname(file), { recursive: true });
    return await open(file, "wx+");
  }
}

/**
 * Without the fsync of the folder a power cut may lose the name, and without that of its parent
 * the folder: measured on ext4.
 */
async function moveDurably(from: string, to: string): Promise<void> {
  const folder = dirname(to);
  try {
    await rename(from, to);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) {
      throw error;
    }
    await mkdir(folder, { recursive: true });
    await rename(from, to);
    await syncFolder(dirname(folder));
  }
  await syncFolder(folder);
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
