import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { BlobIndex, IndexedBlob } from "./blob-index.ts";
import type { Digest } from "./digest.ts";
import { algorithmOf, digestFrom, hasher } from "./digest.ts";
import { isErrno } from "./disk-errors.ts";
import type { DiskLayout } from "./disk-layout.ts";
import type { StoreEvents } from "./store-events.ts";
import { reasonOf } from "./store-events.ts";

const PAGE = 256;
/** A fifth of a millisecond of hashing: what a pull may have to wait for. */
const CHUNK_BYTES = 262_144;
/** What opening and closing a file counts as: small blobs cost more than their bytes. */
const FILE_COST_BYTES = 65_536;
/** Damaged blobs that a report names; all of them are counted. */
const NAMED_MAX = 100;

export interface ScrubRun {
  readonly bytesPerSecond: number;
  readonly isDryRun?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (report: ScrubReport) => void;
}

export interface ScrubReport {
  /** Looked at so far, and in all. */
  readonly blobs: number;
  readonly bytes: number;
  readonly totalBlobs: number;
  readonly totalBytes: number;
  /** Blobs that differ from their name, or that the disk cannot read. */
  readonly damaged: number;
  /** The first hundred of them. */
  readonly damagedDigests: readonly Digest[];
  /** Known to the index only. */
  readonly missing: number;
  /** Not looked at: the log says why. */
  readonly failed: number;
  readonly freedBytes: number;
}

export interface ScrubberOptions {
  readonly index: BlobIndex;
  readonly layout: DiskLayout;
  readonly events: StoreEvents;
  readonly quarantine: (digest: Digest) => Promise<void>;
}

type Finding = "whole" | "damaged" | "missing" | "failed";

interface Parts {
  readonly buffer: Buffer;
  readonly pace: Pace;
  readonly isDryRun: boolean;
}

/** Hashes all that is held again, slowly, and takes away what differs. */
export class Scrubber {
  readonly #options: ScrubberOptions;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  /** Resolves with the report; with that of a part when it was aborted. */
  async run(run: ScrubRun): Promise<ScrubReport> {
    const { index } = this.#options;
    const parts: Parts = {
      buffer: Buffer.allocUnsafeSlow(CHUNK_BYTES),
      pace: new Pace(run.bytesPerSecond, run.signal),
      isDryRun: run.isDryRun === true,
    };
    const tally = new Tally(index);
    for (const blob of eachOf(index)) {
      if (run.signal?.aborted) {
        break;
      }
      tally.add(blob, await this.#look(blob, parts));
      run.onProgress?.(tally.report);
    }
    return tally.report;
  }

  async #look(blob: IndexedBlob, { buffer, pace, isDryRun }: Parts): Promise<Finding> {
    const { digest } = blob;
    const { index, layout, events } = this.#options;
    try {
      const file = layout.blobFile(digest);
      await using handle = await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
      if (await isWhole(handle, blob, { buffer, pace })) {
        return "whole";
      }
      const [read, now] = await Promise.all([handle.stat(), stat(file)]);
      if (read.ino !== now.ino) {
        return "whole"; // replaced while it was read: what is there now was proved on its way in
      }
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) {
        if (!isDryRun) {
          index.remove(digest);
        }
        return "missing";
      }
      if (pace.isAborted) {
        return "failed";
      }
      if (!isErrno(error, "EIO")) {
        // Too many open files, or none of ours: that says nothing about the bytes.
        events.failed("read", reasonOf(error), error);
        return "failed";
      }
    }
    if (!isDryRun) {
      await this.#options.quarantine(digest);
    }
    return "damaged";
  }
}

/** In the order of their digests, so that what is used meanwhile does not move. */
function* eachOf(index: BlobIndex): Generator<IndexedBlob, void, undefined> {
  for (let page = index.after("", PAGE); page.length > 0; ) {
    yield* page;
    page = index.after(page.at(-1)?.digest ?? "", PAGE);
  }
}

class Tally {
  readonly #found: Record<Finding, number> = { whole: 0, damaged: 0, missing: 0, failed: 0 };
  readonly #damagedDigests: Digest[] = [];
  readonly #totalBlobs: number;
  readonly #totalBytes: number;
  #blobs = 0;
  #bytes = 0;
  #freedBytes = 0;

  constructor({ count, bytes }: { readonly count: number; readonly bytes: number }) {
    this.#totalBlobs = count;
    this.#totalBytes = bytes;
  }

  add({ digest, sizeBytes }: IndexedBlob, finding: Finding): void {
    this.#blobs += 1;
    this.#bytes += sizeBytes;
    this.#found[finding] += 1;
    if (finding === "damaged") {
      this.#freedBytes += sizeBytes;
      if (this.#damagedDigests.length < NAMED_MAX) {
        this.#damagedDigests.push(digest);
      }
    }
  }

  get report(): ScrubReport {
    const { damaged, missing, failed } = this.#found;
    return {
      blobs: this.#blobs,
      bytes: this.#bytes,
      totalBlobs: this.#totalBlobs,
      totalBytes: this.#totalBytes,
      damaged,
      damagedDigests: this.#damagedDigests,
      missing,
      failed,
      freedBytes: this.#freedBytes,
    };
  }
}

async function isWhole(
  handle: FileHandle,
  { digest, sizeBytes }: IndexedBlob,
  { buffer, pace }: { readonly buffer: Buffer; readonly pace: Pace },
): Promise<boolean> {
  await pace.take(FILE_COST_BYTES);
  if ((await handle.stat()).size !== sizeBytes) {
    return false;
  }
  const hash = hasher(algorithmOf(digest));
  for (let at = 0; at < sizeBytes; ) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, at);
    if (bytesRead === 0) {
      return false;
    }
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
    await pace.take(bytesRead);
  }
  return digestFrom(hash, algorithmOf(digest)) === digest;
}

/** So many bytes a second, and no burst after a wait. */
class Pace {
  readonly #bytesPerMs: number;
  readonly #signal: AbortSignal | undefined;
  #freeAtMs = 0;

  constructor(bytesPerSecond: number, signal: AbortSignal | undefined) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#signal = signal;
  }

  get isAborted(): boolean {
    return this.#signal?.aborted === true;
  }

  /** @throws AbortError when the run ends meanwhile. */
  async take(bytes: number): Promise<void> {
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + bytes / this.#bytesPerMs;
    const waitMs = this.#freeAtMs - nowMs;
    // Timers are exact to a millisecond: short waits are saved up.
    if (waitMs >= 2) {
      await sleep(waitMs, undefined, this.#signal === undefined ? {} : { signal: this.#signal });
    }
  }
}
