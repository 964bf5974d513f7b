import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Digest } from "./digest.ts";
import { StorageError } from "./errors.ts";
import { isTaken } from "./s3-errors.ts";
import { S3Gate } from "./s3-gate.ts";
import { S3_LIMITS } from "./s3-limits.ts";
import type { S3Objects } from "./s3-objects.ts";
import { S3Sender } from "./s3-send.ts";

const MIB = 1_048_576;

/** What is to be uploaded. */
export interface S3Source {
  readonly digest: Digest;
  /** As announced; undefined when nobody said. */
  readonly announcedBytes: number | undefined;
  /** Of all that `pieces` gave, once they have ended. */
  readonly sizeBytes: number | undefined;
  /** False when `pieces` can be asked for once only. */
  readonly canRepeat: boolean;
  /** Whoever gets a piece owns it. */
  pieces(signal: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface S3UploadsOptions {
  readonly objects: S3Objects;
  /** Something else was found under the name, and goes away. */
  readonly onCorrupt: () => void;
}

/**
 * Brings blobs to the bucket, as many at once as their parts fit in memory. It is done when the
 * bucket, asked for it, says that it is there with the size it must have: not when it says it took it.
 */
export class S3Uploads {
  readonly #objects: S3Objects;
  readonly #onCorrupt: () => void;
  readonly #sender: S3Sender;
  readonly #gate = new S3Gate(S3_LIMITS.uploadBytesMax);

  constructor(options: S3UploadsOptions) {
    this.#objects = options.objects;
    this.#onCorrupt = options.onCorrupt;
    this.#sender = new S3Sender(options.objects);
  }

  /** @throws the SDK's errors, or the source's. */
  async upload(source: S3Source, signal: AbortSignal): Promise<void> {
    const attemptsMax = source.canRepeat ? S3_LIMITS.attemptsMax : 1;
    for (let attempt = 1; ; attempt++) {
      const failure = await this.#send(source, signal);
      const outcome = await this.#look(source, failure, signal);
      if (outcome === "there") {
        return;
      }
      // 409 and 412: another writer, who was not done or has failed since.
      const mayRepeat = outcome === "replaced" || isTaken(failure);
      if (!mayRepeat || attempt >= attemptsMax) {
        const nothing = `the bucket took ${source.digest}, and has not got it`;
        throw failure ?? new StorageError("store-unavailable", nothing);
      }
      await sleep(S3_LIMITS.backoffMs * attempt * (0.5 + Math.random() / 2), undefined, { signal });
    }
  }

  async #send(source: S3Source, signal: AbortSignal): Promise<unknown> {
    try {
      const partBytes = partBytesFor(source);
      const isOne = (source.announcedBytes ?? Number.POSITIVE_INFINITY) <= partBytes;
      await (isOne
        ? this.#sendWhole(source, partBytes, signal)
        : this.#sendParts(source, partBytes, signal));
      return;
    } catch (error) {
      return error;
    }
  }

  /** What is there now, and whether that is what is meant. */
  async #look(
    source: S3Source,
    failure: unknown,
    signal: AbortSignal,
  ): Promise<"there" | "absent" | "replaced"> {
    if (signal.aborted || source.sizeBytes === undefined) {
      throw failure;
    }
    let found: number | undefined;
    try {
      found = await this.#objects.size(source.digest, signal);
    } catch (error) {
      throw failure ?? error;
    }
    if (found === undefined) {
      return "absent";
    }
    if (found === source.sizeBytes) {
      return "there";
    }
    this.#onCorrupt();
    await this.#objects.delete(source.digest);
    return "replaced";
  }

  async #sendWhole(source: S3Source, bytesMax: number, signal: AbortSignal): Promise<void> {
    const leave = await this.#gate.enter(source.announcedBytes ?? bytesMax, signal);
    try {
      const pieces: Uint8Array[] = [];
      for await (const piece of source.pieces(signal)) {
        pieces.push(piece);
      }
      const [first = Buffer.alloc(0), ...others] = pieces;
      const bytes = others.length === 0 ? first : Buffer.concat(pieces);
      await this.#sender.whole(source.digest, bytes, signal);
    } finally {
      leave();
    }
  }

  async #sendParts(source: S3Source, partBytes: number, signal: AbortSignal): Promise<void> {
    const { digest, announcedBytes: sizeBytes } = source;
    const leave = await this.#gate.enter(heldBytes(partBytes), signal);
    const over = new AbortController();
    try {
      const pieces = source.pieces(AbortSignal.any([signal, over.signal]));
      // Of its own a stream would read 16 pieces ahead.
      const readable = Readable.from(pieces, { objectMode: true, highWaterMark: 1 });
      readable.on("error", () => undefined); // the upload hears of it, if it still listens
      readable.on("close", () => over.abort(new Error("the upload is over")));
      const abort = (): void => void readable.destroy(new Error("aborted"));
      signal.addEventListener("abort", abort, { once: true });
      try {
        await this.#sender.parts({ digest, partBytes, sizeBytes, source: readable, signal });
      } finally {
        signal.removeEventListener("abort", abort);
      }
    } finally {
      over.abort(new Error("the upload is over"));
      leave();
    }
  }
}

/** Whole MiB, and so large that S3's number of parts suffices. */
function partBytesFor(source: S3Source): number {
  const { digest, announcedBytes = 0 } = source;
  const partBytes = Math.ceil(announcedBytes / S3_LIMITS.partsMax / MIB) * MIB;
  if (heldBytes(partBytes) > S3_LIMITS.uploadBytesMax) {
    const message = `${digest} has ${announcedBytes} bytes: more than can be uploaded in parts`;
    throw new StorageError("store-full", message);
  }
  return Math.max(S3_LIMITS.partBytesMin, partBytes);
}

/** Parts on their way, one being put together out of pieces, and two pieces between. */
function heldBytes(partBytes: number): number {
  const { partsAtOnce, pieceBytes } = S3_LIMITS;
  return (partsAtOnce + 1) * (partBytes + pieceBytes) + 2 * pieceBytes;
}
