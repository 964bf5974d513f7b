interface Waiting {
  readonly bytes: number;
  readonly enter: () => void;
}

/** Lets in what fits into a number of bytes; the others wait, in the order in which they came. */
export class S3Gate {
  readonly #totalBytes: number;
  readonly #waiting = new Set<Waiting>();
  #freeBytes: number;

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
    this.#freeBytes = totalBytes;
  }

  /** Resolves to what gives the bytes back. Rejects with the signal's reason. */
  async enter(wantedBytes: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const bytes = Math.min(wantedBytes, this.#totalBytes);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { bytes, enter: resolve };
    const leave = (): void => {
      if (this.#waiting.delete(waiting)) {
        reject(signal.reason);
        this.#next();
      }
    };
    this.#waiting.add(waiting);
    signal.addEventListener("abort", leave, { once: true });
    this.#next();
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
    return () => {
      this.#freeBytes += bytes;
      this.#next();
    };
  }

  #next(): void {
    for (const waiting of this.#waiting) {
      if (waiting.bytes > this.#freeBytes) {
        return;
      }
      this.#waiting.delete(waiting);
      this.#freeBytes -= waiting.bytes;
      waiting.enter();
    }
  }
}
