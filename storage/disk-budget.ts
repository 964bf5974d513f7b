import { rm } from "node:fs/promises";
import type { BlobIndex, IndexedBlob } from "./blob-index.ts";
import type { Digest } from "./digest.ts";
import type { DiskLayout } from "./disk-layout.ts";
import { StorageError } from "./errors.ts";
import type { StoreEvents } from "./store-events.ts";
import { reasonOf } from "./store-events.ts";

/** Eviction starts above the first part of maxBytes and ends below the second. */
const HIGH_WATERMARK = 0.9;
const LOW_WATERMARK = 0.8;
const BATCH = 64;

/**
 * The byte limit of a disk. Room is reserved before a fill, so that many fills at once cannot
 * overrun it together; what is least recently used makes way, never what is being read.
 */
export class DiskBudget {
  #maxBytes: number;
  readonly #layout: DiskLayout;
  readonly #index: BlobIndex;
  readonly #events: StoreEvents;
  readonly #pins = new Map<Digest, number>();
  #reservedBytes = 0;
  #evicting: Promise<void> | undefined;

  constructor(
    maxBytes: number,
    parts: {
      readonly layout: DiskLayout;
      readonly index: BlobIndex;
      readonly events: StoreEvents;
    },
  ) {
    this.#maxBytes = maxBytes;
    this.#layout = parts.layout;
    this.#index = parts.index;
    this.#events = parts.events;
  }

  /** From now on; what is too much is evicted soon. */
  set maxBytes(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Keeps a blob from eviction until the returned function is called, once. */
  pin(digest: Digest): () => void {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    return () => {
      const left = (this.#pins.get(digest) ?? 1) - 1;
      if (left > 0) {
        this.#pins.set(digest, left);
      } else {
        this.#pins.delete(digest);
      }
    };
  }

  /** Whether somebody is reading it. */
  isPinned(digest: Digest): boolean {
    return this.#pins.has(digest);
  }

  /**
   * Room for a blob that is about to be written, until it is disposed of.
   *
   * @throws StorageError `store-full` when it could not fit without emptying the cache, or when
   *   all that could make way is being read.
   */
  async reserve(digest: Digest, sizeBytes: number): Promise<Disposable> {
    if (sizeBytes > this.#maxBytes * LOW_WATERMARK) {
      throw new StorageError(
        "store-full",
        `${digest} of ${sizeBytes} bytes is too large for a store of ${this.#maxBytes} bytes`,
      );
    }
    this.#reservedBytes += sizeBytes;
    if (this.#usedBytes() > this.#maxBytes * HIGH_WATERMARK) {
      const evicted = this.#evict();
      if (this.#usedBytes() > this.#maxBytes) {
        await evicted;
      }
      if (this.#usedBytes() > this.#maxBytes) {
        this.#reservedBytes -= sizeBytes;
        throw new StorageError("store-full", `no room for ${digest}: what is held is being read`);
      }
    }
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) {
          isHeld = false;
          this.#reservedBytes -= sizeBytes;
        }
      },
    };
  }

  /** Evicts when the limit was lowered, or when sizes were not known beforehand. */
  async enforce(): Promise<void> {
    if (this.#usedBytes() > this.#maxBytes * HIGH_WATERMARK) {
      await this.#evict();
    }
  }

  #usedBytes(): number {
    return this.#index.bytes + this.#reservedBytes;
  }

  #evict(): Promise<void> {
    this.#evicting ??= this.#evictDown().finally(() => {
      this.#evicting = undefined;
    });
    return this.#evicting;
  }

  async #evictDown(): Promise<void> {
    let pinned = 0;
    while (this.#usedBytes() > this.#maxBytes * LOW_WATERMARK) {
      const batch = this.#index.oldest(BATCH, pinned);
      for (const blob of batch) {
        if (this.#usedBytes() <= this.#maxBytes * LOW_WATERMARK) {
          return;
        }
        if (this.#pins.has(blob.digest) || !(await this.#evictOne(blob))) {
          pinned += 1;
        }
      }
      if (batch.length < BATCH) {
        return;
      }
    }
  }

  async #evictOne({ digest }: IndexedBlob): Promise<boolean> {
    try {
      await rm(this.#layout.blobFile(digest), { force: true });
    } catch (error) {
      this.#events.failed("evict", reasonOf(error), error);
      return false;
    }
    this.#index.remove(digest);
    this.#events.evicted();
    return true;
  }
}
