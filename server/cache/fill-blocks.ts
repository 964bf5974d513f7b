import type { BlobWriter } from "../../storage/blob-store.ts";
import { FILL_LIMITS } from "../limits.ts";

interface Block {
  readonly index: number;
  readonly start: number;
  readonly buffer: Buffer;
  filled: number;
  /** Readers that are sending from the buffer now. */
  pins: number;
  isWritten: boolean;
  isDropped: boolean;
}

/** Bytes in memory that stay as they are until `release` is called, once. */
export interface PinnedBytes {
  readonly bytes: Uint8Array;
  readonly release: () => void;
}

export interface FillBlocksOptions {
  readonly blockBytes: number;
  /** Undefined when there is nowhere to store to: then blocks stay until every reader has passed. */
  readonly writer: BlobWriter | undefined;
  /** Where the slowest reader is; bytes before it are of no more use without a store. */
  readonly slowestReader: () => number;
  readonly onRoom: () => void;
  readonly onStoreFailed: (error: unknown) => void;
}

/** Dropped blocks that slow readers still send from; past that they get copies of their own. */
const ORPHANS_MAX = 4;
const FREE_BLOCKS_MAX = 16;
const FREE_BLOCKS: Buffer[] = [];

/**
 * The last few MiB of a download: written to the store behind it in whole blocks, and readable
 * from memory by those who are close to the head.
 */
export class FillBlocks {
  readonly #options: FillBlocksOptions;
  readonly #blocks = new Map<number, Block>();
  readonly #lost = new Set<number>();
  readonly #writes = new Set<Promise<void>>();
  #writer: BlobWriter | undefined;
  #received = 0;
  #orphans = 0;

  constructor(options: FillBlocksOptions) {
    this.#options = options;
    this.#writer = options.writer;
  }

  get received(): number {
    return this.#received;
  }

  get isStored(): boolean {
    return this.#writer !== undefined;
  }

  /** Nothing can be dropped: whoever sends more must wait for `onRoom`. */
  get isFull(): boolean {
    this.#dropPassed();
    return this.#blocks.size > FILL_LIMITS.blocksMax;
  }

  append(chunk: Uint8Array): void {
    let done = 0;
    while (done < chunk.byteLength) {
      const block = this.#head();
      const part = chunk.subarray(done, done + block.buffer.byteLength - block.filled);
      block.buffer.set(part, block.filled);
      block.filled += part.byteLength;
      done += part.byteLength;
      this.#received += part.byteLength;
      if (block.filled === block.buffer.byteLength) {
        this.#write(block);
      }
    }
  }

  /** Writes what is left and waits until all is in the store; false when some of it is not. */
  async finish(): Promise<boolean> {
    const head = this.#blocks.get(this.#indexOf(this.#received));
    if (head !== undefined && head.filled > 0) {
      this.#write(head);
    }
    while (this.#writes.size > 0) {
      await Promise.all(this.#writes);
    }
    return this.#writer !== undefined;
  }

  /** The bytes from `position` to at most `end`, when they are in memory. */
  pin(position: number, end: number): PinnedBytes | undefined {
    const block = this.#blocks.get(this.#indexOf(position));
    if (block === undefined) {
      return;
    }
    const from = position - block.start;
    const bytes = block.buffer.subarray(from, Math.min(block.filled, end - block.start));
    block.pins += 1;
    return { bytes, release: () => this.#unpin(block) };
  }

  /** A reader that keeps a block for long would keep memory: past a few of them, readers copy. */
  get mustCopy(): boolean {
    return this.#orphans >= ORPHANS_MAX;
  }

  /** True when some bytes are neither in memory nor in the store any more. */
  get hasLost(): boolean {
    return this.#lost.size > 0;
  }

  /** True when the bytes were given up before they could be stored. */
  isLost(position: number): boolean {
    return this.#lost.has(this.#indexOf(position));
  }

  /** The end of the block that `position` is in: no read from the store may go past it. */
  blockEnd(position: number): number {
    return (this.#indexOf(position) + 1) * this.#options.blockBytes;
  }

  /** A reader went on or left; without a store that may be what makes room. */
  readerMoved(): void {
    if (this.#writer === undefined && !this.isFull) {
      this.#options.onRoom();
    }
  }

  dispose(): void {
    for (const block of this.#blocks.values()) {
      this.#drop(block);
    }
  }

  #indexOf(position: number): number {
    return Math.floor(position / this.#options.blockBytes);
  }

  #head(): Block {
    const index = this.#indexOf(this.#received);
    const head = this.#blocks.get(index);
    if (head !== undefined) {
      return head;
    }
    this.#dropPassed();
    const { blockBytes } = this.#options;
    const block: Block = {
      index,
      start: index * blockBytes,
      buffer: takeBuffer(blockBytes),
      filled: 0,
      pins: 0,
      isWritten: false,
      isDropped: false,
    };
    this.#blocks.set(index, block);
    return block;
  }

  #write(block: Block): void {
    const writer = this.#writer;
    if (writer === undefined) {
      return;
    }
    const writing = writer
      .write(block.buffer.subarray(0, block.filled), block.start)
      .then(
        () => {
          block.isWritten = true;
        },
        (error: unknown) => this.#storeFailed(error),
      )
      .finally(() => {
        this.#writes.delete(writing);
        if (!this.isFull) {
          this.#options.onRoom();
        }
      });
    this.#writes.add(writing);
  }

  #storeFailed(error: unknown): void {
    if (this.#writer !== undefined) {
      this.#writer = undefined;
      this.#options.onStoreFailed(error);
    }
  }

  /** Oldest first, down to what is kept for readers close behind. */
  #dropPassed(): void {
    if (this.#blocks.size < FILL_LIMITS.blocksMax) {
      return;
    }
    const passed = this.#writer === undefined ? this.#options.slowestReader() : 0;
    for (const block of this.#blocks.values()) {
      if (this.#blocks.size < FILL_LIMITS.blocksMax) {
        return;
      }
      const isWhole = block.filled === block.buffer.byteLength;
      if (block.isWritten) {
        this.#drop(block);
      } else if (isWhole && block.start + block.filled <= passed) {
        this.#lost.add(block.index);
        this.#drop(block);
      }
    }
  }

  #drop(block: Block): void {
    this.#blocks.delete(block.index);
    block.isDropped = true;
    if (block.pins > 0) {
      this.#orphans += 1;
    } else if (this.#isAtRest(block)) {
      giveBuffer(block.buffer);
    }
  }

  #unpin(block: Block): void {
    block.pins -= 1;
    if (block.isDropped && block.pins === 0) {
      this.#orphans -= 1;
      if (this.#isAtRest(block)) {
        giveBuffer(block.buffer);
      }
    }
  }

  /** A buffer that a write may still be reading from is left to the garbage collector. */
  #isAtRest(block: Block): boolean {
    return block.isWritten || this.#writes.size === 0;
  }
}

function takeBuffer(sizeBytes: number): Buffer {
  if (sizeBytes === FILL_LIMITS.blockBytes) {
    return FREE_BLOCKS.pop() ?? Buffer.allocUnsafeSlow(sizeBytes);
  }
  return Buffer.allocUnsafeSlow(sizeBytes);
}

function giveBuffer(buffer: Buffer): void {
  if (buffer.byteLength === FILL_LIMITS.blockBytes && FREE_BLOCKS.length < FREE_BLOCKS_MAX) {
    FREE_BLOCKS.push(buffer);
  }
}
