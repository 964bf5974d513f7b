import type { BlobWriter, ByteRange } from "../../storage/blob-store.ts";
import { BufferPool } from "../../storage/buffer-pool.ts";
import type { FillBlocks } from "./fill-blocks.ts";

/** Of all readers of all fills that are too far behind for what is in memory. */
const FOLLOW_BUFFERS_BYTES = 16 * 1024 * 1024;
const FOLLOW_POOL = new BufferPool(FOLLOW_BUFFERS_BYTES);

/** What a reader sees of the download that it follows. */
export interface Followed {
  readonly blocks: FillBlocks;
  readonly writer: BlobWriter | undefined;
  /** Readers may go up to here and no further. */
  visibleEnd(): number;
  /** Nothing more will become visible. */
  isVerified(): boolean;
  /** Resolves when more is visible, or rejects when the download failed. */
  progress(reader: FillReader): Promise<void>;
  moved(): void;
  left(reader: FillReader): Promise<void>;
}

/** One client that follows a download, from its own offset and at its own pace. */
export class FillReader implements AsyncIterable<Uint8Array>, AsyncDisposable {
  readonly #followed: Followed;
  #last = Number.POSITIVE_INFINITY;
  #position = 0;
  #cutOff: Error | undefined;
  #isDisposed = false;
  movedAtMs: number = Date.now();

  constructor(followed: Followed) {
    this.#followed = followed;
  }

  /** What to read; call it before the first chunk is asked for. The default is all of it. */
  select(range: ByteRange): void {
    this.#position = range.first;
    this.#last = range.last;
  }

  get position(): number {
    return this.#position;
  }

  /** Ends it at its next step: it holds up everybody else. */
  cutOff(error: Error): void {
    this.#cutOff = error;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    while (this.#position <= this.#last && !this.#isDisposed) {
      if (this.#cutOff !== undefined) {
        throw this.#cutOff;
      }
      const end = Math.min(this.#last + 1, this.#followed.visibleEnd());
      if (this.#position < end) {
        yield* this.#step(end);
      } else if (this.#followed.isVerified()) {
        return;
      } else {
        await this.#followed.progress(this);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isDisposed) {
      this.#isDisposed = true;
      await this.#followed.left(this);
    }
  }

  async *#step(end: number): AsyncGenerator<Uint8Array, void, undefined> {
    const { blocks } = this.#followed;
    const pinned = blocks.pin(this.#position, end);
    if (pinned === undefined) {
      yield* this.#readBack(end);
    } else if (blocks.mustCopy) {
      yield* this.#copy(pinned);
    } else {
      try {
        yield pinned.bytes;
      } finally {
        pinned.release();
      }
      this.#advance(pinned.bytes.byteLength);
    }
  }

  async *#copy(pinned: {
    readonly bytes: Uint8Array;
    readonly release: () => void;
  }): AsyncGenerator<Uint8Array, void, undefined> {
    const buffer = FOLLOW_POOL.rent(pinned.bytes.byteLength);
    try {
      const bytes = pinned.bytes.subarray(0, buffer.byteLength);
      buffer.set(bytes);
      pinned.release();
      yield buffer.subarray(0, bytes.byteLength);
      this.#advance(bytes.byteLength);
    } finally {
      FOLLOW_POOL.release(buffer);
    }
  }

  /** From the file behind the fill. */
  async *#readBack(end: number): AsyncGenerator<Uint8Array, void, undefined> {
    const { blocks, writer } = this.#followed;
    if (writer === undefined || blocks.isLost(this.#position)) {
      throw new Error("the download went on without being stored, and this reader fell behind it");
    }
    const wanted = Math.min(end, blocks.blockEnd(this.#position)) - this.#position;
    const buffer = FOLLOW_POOL.rent(wanted);
    try {
      const into = buffer.subarray(0, Math.min(wanted, buffer.byteLength));
      const bytesRead = await writer.read(into, this.#position);
      if (bytesRead === 0) {
        throw new Error("what was written of the download can no longer be read");
      }
      yield into.subarray(0, bytesRead);
      this.#advance(bytesRead);
    } finally {
      FOLLOW_POOL.release(buffer);
    }
  }

  #advance(bytes: number): void {
    this.#position += bytes;
    this.movedAtMs = Date.now();
    this.#followed.moved();
  }
}
