import type { BlobReader, BlobStore, BlobWriter, ByteRange, Expected } from "./blob-store.ts";
import type { Digest } from "./digest.ts";

/** The reference implementation of BlobStore, for tests: it keeps the contract and nothing else. */
export class MemoryStore implements BlobStore {
  readonly #blobs = new Map<Digest, Buffer>();

  async stat(digest: Digest): Promise<Expected | undefined> {
    const bytes = this.#blobs.get(digest);
    return bytes === undefined ? undefined : { digest, sizeBytes: bytes.byteLength };
  }

  async open(digest: Digest, range?: ByteRange): Promise<BlobReader | undefined> {
    const bytes = this.#blobs.get(digest);
    return bytes === undefined ? undefined : new MemoryReader(bytes, range);
  }

  async ingest(digest: Digest): Promise<BlobWriter> {
    return new MemoryWriter((bytes) => this.#blobs.set(digest, bytes));
  }

  async delete(digest: Digest): Promise<boolean> {
    return this.#blobs.delete(digest);
  }
}

class MemoryReader implements BlobReader {
  readonly sizeBytes: number;
  readonly #part: Buffer;

  constructor(bytes: Buffer, range: ByteRange | undefined) {
    this.sizeBytes = bytes.byteLength;
    this.#part = range === undefined ? bytes : bytes.subarray(range.first, range.last + 1);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#part.byteLength > 0) {
      yield this.#part;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class MemoryWriter implements BlobWriter {
  readonly #keep: (bytes: Buffer) => void;
  #bytes = Buffer.alloc(0);

  constructor(keep: (bytes: Buffer) => void) {
    this.#keep = keep;
  }

  async write(chunk: Uint8Array, position: number): Promise<void> {
    const end = position + chunk.byteLength;
    if (end > this.#bytes.byteLength) {
      const grown = Buffer.alloc(end);
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    this.#bytes.set(chunk, position);
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const part = this.#bytes.subarray(position, position + into.byteLength);
    into.set(part);
    return part.byteLength;
  }

  async commit(sizeBytes: number): Promise<void> {
    this.#keep(this.#bytes.subarray(0, sizeBytes));
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
