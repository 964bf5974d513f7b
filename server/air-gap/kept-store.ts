import type {
  BlobReader,
  BlobStore,
  BlobWriter,
  ByteRange,
  Expected,
} from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { StorageError } from "../../storage/errors.ts";

/** A store whose writes can be waited for: a pull ends with its last byte, before the commit. */
export class KeptStore implements BlobStore {
  readonly #store: BlobStore;
  readonly #writes = new Set<Promise<void>>();

  constructor(store: BlobStore) {
    this.#store = store;
  }

  /** Resolves once nothing is being written. */
  async settled(): Promise<void> {
    while (this.#writes.size > 0) {
      await Promise.all(this.#writes);
    }
  }

  stat(digest: Digest): Promise<Expected | undefined> {
    return this.#store.stat(digest);
  }

  open(digest: Digest, range?: ByteRange): Promise<BlobReader | undefined> {
    return this.#store.open(digest, range);
  }

  async ingest(digest: Digest, sizeBytes: number | undefined): Promise<BlobWriter> {
    const writer = await this.#store.ingest(digest, sizeBytes);
    const { promise, resolve } = Promise.withResolvers<void>();
    const written = promise.then(() => {
      this.#writes.delete(written);
    });
    this.#writes.add(written);
    return {
      write: (chunk, position) => writer.write(chunk, position),
      read: (into, position) => writer.read(into, position),
      commit: (bytes) => writer.commit(bytes),
      [Symbol.asyncDispose]: async () => {
        try {
          await writer[Symbol.asyncDispose]();
        } finally {
          resolve();
        }
      },
    };
  }

  delete(digest: Digest): Promise<boolean> {
    return this.#store.delete(digest);
  }
}

/** A store for small things: what is larger passes by, and is not written only to be thrown away. */
export class SmallStore implements BlobStore {
  readonly #store: BlobStore;
  readonly #blobBytesMax: number;

  constructor(store: BlobStore, blobBytesMax: number) {
    this.#store = store;
    this.#blobBytesMax = blobBytesMax;
  }

  stat(digest: Digest): Promise<Expected | undefined> {
    return this.#store.stat(digest);
  }

  open(digest: Digest, range?: ByteRange): Promise<BlobReader | undefined> {
    return this.#store.open(digest, range);
  }

  async ingest(digest: Digest, sizeBytes: number | undefined): Promise<BlobWriter> {
    if (sizeBytes === undefined || sizeBytes > this.#blobBytesMax) {
      throw new StorageError("store-full", `${digest} is larger than what is held for a while`);
    }
    return await this.#store.ingest(digest, sizeBytes);
  }

  delete(digest: Digest): Promise<boolean> {
    return this.#store.delete(digest);
  }
}
