const CHUNK_BYTES_MAX = 1_048_576;
/** Smaller reads cost more in calls than they save in memory. */
const CHUNK_BYTES_MIN = 65_536;
/** A rental takes at most this part of what is left, so late readers still find large buffers. */
const SHARE_OF_REST = 8;

/**
 * Read buffers that are used again: allocating 1 MiB a chunk costs as much as copying it.
 *
 * The budget is soft. While it lasts, readers get 1 MiB; the more of them there are, the smaller
 * the buffers, down to 64 KiB, so that hundreds of stalled readers do not hold hundreds of MiB.
 */
export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  readonly #budgetBytes: number;
  #rentedBytes = 0;
  #freeBytes = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  /** A buffer for reading up to `wantedBytes`: a power of two, perhaps smaller than wanted. */
  rent(wantedBytes: number): Buffer {
    const share = (this.#budgetBytes - this.#rentedBytes) / SHARE_OF_REST;
    const affordable = Math.max(CHUNK_BYTES_MIN, Math.min(CHUNK_BYTES_MAX, share));
    const sizeBytes =
      wantedBytes <= affordable
        ? Math.max(CHUNK_BYTES_MIN, 2 ** Math.ceil(Math.log2(Math.max(1, wantedBytes))))
        : 2 ** Math.floor(Math.log2(affordable));
    this.#rentedBytes += sizeBytes;
    const kept = this.#free.get(sizeBytes)?.pop();
    if (kept !== undefined) {
      this.#freeBytes -= sizeBytes;
      return kept;
    }
    // Not from node's own pool: a slice of a shared slab could not be handed out again.
    return Buffer.allocUnsafeSlow(sizeBytes);
  }

  /** The buffer must come from `rent`, and nobody may use it any more. */
  release(buffer: Buffer): void {
    const sizeBytes = buffer.byteLength;
    this.#rentedBytes -= sizeBytes;
    if (this.#freeBytes + sizeBytes > this.#budgetBytes / 4) {
      return;
    }
    this.#freeBytes += sizeBytes;
    const kept = this.#free.get(sizeBytes);
    if (kept === undefined) {
      this.#free.set(sizeBytes, [buffer]);
    } else {
      kept.push(buffer);
    }
  }
}
