import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { LRUCache } from "lru-cache";
import type { BlobIndex } from "./blob-index.ts";
import type { BlobReader, BlobStore, BlobWriter, ByteRange, Expected } from "./blob-store.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { Digest } from "./digest.ts";
import type { DiskBudget } from "./disk-budget.ts";
import { isErrno, toStorageError } from "./disk-errors.ts";
import type { DiskLayout } from "./disk-layout.ts";
import { DiskReader } from "./disk-reader.ts";
import { DiskWriter } from "./disk-writer.ts";
import type { StoreEvents, StoreOperation } from "./store-events.ts";
import { reasonOf } from "./store-events.ts";

/** Of all readers together: 1 MiB each for the first dozen, then smaller ones. */
const READ_BUFFERS_BYTES = 32 * 1024 * 1024;
const VERIFIED_MAX = 200_000;
/** A blob that could not be read counts as absent for this long: what is fetched replaces it. */
const UNREADABLE_MS = 10_000;
const UNREADABLE_MAX = 10_000;

export interface DiskStoreOptions {
  readonly layout: DiskLayout;
  readonly index: BlobIndex;
  readonly budget: DiskBudget;
  readonly events: StoreEvents;
  readonly verifyReads: "first" | "always" | "never";
  readonly now: () => number;
}

/** Blobs as files named by digest. The file is the truth; the index only knows sizes and uses. */
export class DiskStore implements BlobStore {
  readonly #layout: DiskLayout;
  readonly #index: BlobIndex;
  readonly #budget: DiskBudget;
  readonly #events: StoreEvents;
  readonly #verifyReads: "first" | "always" | "never";
  readonly #now: () => number;
  readonly #pool = new BufferPool(READ_BUFFERS_BYTES);
  readonly #verified = new LRUCache<Digest, true>({ max: VERIFIED_MAX });
  readonly #unreadable = new LRUCache<Digest, true>({ max: UNREADABLE_MAX, ttl: UNREADABLE_MS });

  readonly #leftBehind = new Set<string>();

  constructor(options: DiskStoreOptions) {
    this.#layout = options.layout;
    this.#index = options.index;
    this.#budget = options.budget;
    this.#events = options.events;
    this.#verifyReads = options.verifyReads;
    this.#now = options.now;
  }

  async stat(digest: Digest): Promise<Expected | undefined> {
    if (this.#unreadable.has(digest)) {
      return;
    }
    const known = this.#index.sizeOf(digest);
    if (known !== undefined) {
      return { digest, sizeBytes: known };
    }
    try {
      const found = await stat(this.#layout.blobFile(digest));
      this.#index.add(digest, found.size, this.#now());
      return { digest, sizeBytes: found.size };
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) {
        return;
      }
      throw this.#failed("open", `look for ${digest}`, error);
    }
  }

  async open(digest: Digest, range?: ByteRange): Promise<BlobReader | undefined> {
    const expected = await this.stat(digest);
    if (expected === undefined) {
      return;
    }
    const handle = await this.#openFile(digest);
    if (handle === undefined) {
      return;
    }
    const size = await this.#sizeOf(handle, digest);
    if (size !== expected.sizeBytes) {
      await handle.close();
      await this.quarantine(digest);
      return;
    }
    this.#index.used(digest, this.#now());
    const unpin = this.#budget.pin(digest);
    const isWhole = range === undefined || (range.first === 0 && range.last >= size - 1);
    return new DiskReader({
      digest,
      handle,
      sizeBytes: size,
      range,
      pool: this.#pool,
      verify: isWhole && this.#mustVerify(digest),
      onVerified: () => this.#verified.set(digest, true),
      onCorrupt: () => this.quarantine(digest),
      onFailed: (error) => {
        this.#unreadable.set(digest, true);
        this.#events.failed("read", reasonOf(error), error);
      },
      onClosed: unpin,
    });
  }

  async ingest(digest: Digest, sizeBytes: number | undefined): Promise<BlobWriter> {
    const reservation = await this.#budget.reserve(digest, sizeBytes ?? 0);
    try {
      return await DiskWriter.create(this.#layout, digest, {
        committed: (actualBytes) => {
          this.#verified.delete(digest);
          this.#unreadable.delete(digest);
          // A row of an earlier file may say another size.
          this.#index.remove(digest);
          this.#index.add(digest, actualBytes, this.#now());
          // Counted by the index from now on; readers may hold the writer for long.
          reservation[Symbol.dispose]();
        },
        closed: () => reservation[Symbol.dispose](),
        leftBehind: (file) => this.#leftBehind.add(file),
      });
    } catch (error) {
      reservation[Symbol.dispose]();
      throw error;
    }
  }

  async delete(digest: Digest): Promise<boolean> {
    this.#verified.delete(digest);
    try {
      await rm(this.#layout.blobFile(digest));
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ENOTDIR")) {
        throw this.#failed("delete", `delete ${digest}`, error);
      }
      this.#index.remove(digest);
      return false;
    }
    this.#index.remove(digest);
    return true;
  }

  /** Removes the temporary files that could not be removed when they should have been. */
  async tidy(): Promise<void> {
    for (const file of this.#leftBehind) {
      await rm(file, { force: true }).then(
        () => this.#leftBehind.delete(file),
        () => undefined,
      );
    }
  }

  async #openFile(digest: Digest): Promise<FileHandle | undefined> {
    try {
      // O_NOFOLLOW: only what we committed is a blob, never what a link points at.
      return await open(
        this.#layout.blobFile(digest),
        constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0),
      );
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) {
        this.#index.remove(digest);
        return;
      }
      throw this.#failed("open", `open ${digest}`, error);
    }
  }

  async #sizeOf(handle: FileHandle, digest: Digest): Promise<number> {
    try {
      return (await handle.stat()).size;
    } catch (error) {
      await handle.close().catch(() => undefined);
      throw this.#failed("open", `look at ${digest}`, error);
    }
  }

  #mustVerify(digest: Digest): boolean {
    if (this.#verifyReads === "first") {
      return !this.#verified.has(digest);
    }
    return this.#verifyReads === "always";
  }

  /** What differs from its name goes out of the way, so that the next request fetches it anew. */
  async quarantine(digest: Digest): Promise<void> {
    this.#events.corruption();
    this.#verified.delete(digest);
    this.#index.remove(digest);
    const target = this.#layout.quarantineFile(digest);
    try {
      // The newest only: what is kept for a look must not fill the disk.
      await rm(dirname(target), { recursive: true, force: true });
      await mkdir(dirname(target), { recursive: true });
      await rename(this.#layout.blobFile(digest), target);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) {
        this.#events.failed("delete", reasonOf(error), error);
        await rm(this.#layout.blobFile(digest), { force: true }).catch(() => undefined);
      }
    }
  }

  #failed(operation: StoreOperation, doing: string, error: unknown): Error {
    this.#events.failed(operation, reasonOf(error), error);
    return toStorageError(doing, error);
  }
}
