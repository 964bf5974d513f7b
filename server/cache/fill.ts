import type { Buffer } from "node:buffer";
import type { Hash } from "node:crypto";
import type { BlobStore, BlobWriter } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestFrom, hasher } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import { FILL_LIMITS } from "../limits.ts";
import type { BlobOrigin } from "./download.ts";
import { Download } from "./download.ts";
import { FillBlocks } from "./fill-blocks.ts";
import type { FillGate } from "./fill-gate.ts";
import type { Followed } from "./fill-reader.ts";
import { FillReader } from "./fill-reader.ts";
import { ProgressSignal } from "./progress-signal.ts";
import type { Source } from "./source.ts";
import { nameOf } from "./source.ts";

export interface FillOptions {
  readonly digest: Digest;
  readonly source: Source;
  readonly origin: BlobOrigin;
  /** What the descriptor said, when there is one. */
  readonly expectedBytes: number | undefined;
  readonly store: BlobStore;
  readonly gate: FillGate;
  /** The store failed; the download goes on without it. */
  readonly onStoreFailed: (error: unknown) => void;
  readonly onMismatch: () => void;
  /** The registry announces another size than a manifest has: one of them is wrong. */
  readonly onSizeDisputed: () => void;
  /** Everything that was to be known is proved, before the commit. */
  readonly onVerified: (sizeBytes: number) => Promise<void>;
  /** It is in the store, for good. */
  readonly onCommitted: (sizeBytes: number) => void;
}

/**
 * One download being stored, with any number of readers. It belongs to nobody: a reader's pace or
 * death changes nothing, but when all have left, it goes on only if more than half is in.
 */
export class Fill implements Followed {
  readonly digest: Digest;
  readonly source: Source;
  /** Resolves with the size (undefined when the upstream does not say) once headers are there. */
  readonly opened: Promise<number | undefined>;
  /** Resolves when it is over, whichever way: it never rejects. */
  readonly done: Promise<void>;
  readonly #options: FillOptions;
  readonly #hash: Hash;
  readonly #readers = new Set<FillReader>();
  readonly #download: Download;
  readonly #progress = new ProgressSignal();
  #blocks: FillBlocks | undefined;
  #writer: BlobWriter | undefined;
  #sizeBytes: number | undefined;
  #isInLine = true;
  #isPaused = false;
  /** Small enough to wait for the proof, so that wrong bytes are a clean error. */
  #isSoonProved = false;
  #isVerified = false;
  #isOver = false;
  #abandoned: NodeJS.Timeout | undefined;
  #laggards: NodeJS.Timeout | undefined;

  constructor(options: FillOptions) {
    this.#options = options;
    this.digest = options.digest;
    this.source = options.source;
    this.#download = new Download(options.source, options.digest, options.origin);
    this.#hash = hasher(algorithmOf(options.digest));
    const opened = Promise.withResolvers<number | undefined>();
    this.opened = opened.promise;
    // Whoever asked for it may have left before it opened.
    this.opened.catch(() => undefined);
    this.done = this.#run(opened.resolve)
      .catch((error: unknown) => {
        opened.reject(error);
        this.#progress.fail(error);
      })
      .then(() => this.#close());
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** No registry is asked for it, so far. Known once it `opened`. */
  get isOwn(): boolean {
    return this.#options.origin.isOwn === true;
  }

  /** Whether all of it can still be had by somebody who comes now. */
  get isJoinable(): boolean {
    const isCancelled = this.#download.signal.aborted;
    return !this.#isOver && !isCancelled && !(this.#blocks?.hasLost ?? false);
  }

  get blocks(): FillBlocks {
    if (this.#blocks === undefined) {
      throw new Error("a fill is read after it opened");
    }
    return this.#blocks;
  }

  get writer(): BlobWriter | undefined {
    return this.#writer;
  }

  /**
   * Takes part in the download, from before its headers are there: it is kept going, and readable,
   * until the reader is disposed of. Choose what to read once it `opened`.
   */
  join(): FillReader {
    const reader = new FillReader(this);
    this.#readers.add(reader);
    clearTimeout(this.#abandoned);
    return reader;
  }

  /** Nobody came for it, or the program ends. */
  cancel(reason: Error): void {
    this.#download.abort(reason);
  }

  visibleEnd(): number {
    const received = this.#blocks?.received ?? 0;
    if (this.#isVerified) {
      return received;
    }
    if (this.#isSoonProved) {
      return 0;
    }
    const end = this.#sizeBytes ?? received;
    return Math.max(0, Math.min(received, end - holdBackBytes(this.#sizeBytes)));
  }

  isVerified(): boolean {
    return this.#isVerified;
  }

  progress(reader: FillReader): Promise<void> {
    return this.#progress.next(reader);
  }

  moved(): void {
    this.#blocks?.readerMoved();
  }

  async left(reader: FillReader): Promise<void> {
    this.#readers.delete(reader);
    this.#progress.leave(reader);
    this.moved();
    if (this.#readers.size === 0) {
      await this.#lastReaderLeft();
    }
  }

  async #run(opened: (sizeBytes: number | undefined) => void): Promise<void> {
    const { upstream } = this.source;
    const leave = await this.#options.gate.enter(upstream.name, this.#download.signal);
    this.#isInLine = false;
    try {
      this.#sizeBytes = this.#agreeOnSize(await this.#download.open());
      await this.#prepare();
      this.#waitForProof();
      opened(this.#sizeBytes);
      await this.#download.run({
        received: () => this.blocks.received,
        sizeBytes: () => this.#sizeBytes,
        take: (chunk) => this.#take(chunk),
      });
      await this.#verify();
    } finally {
      leave();
    }
    await this.#commit();
  }

  #agreeOnSize(announced: number | undefined): number | undefined {
    const { expectedBytes } = this.#options;
    if (announced !== undefined && expectedBytes !== undefined && announced !== expectedBytes) {
      this.#options.onSizeDisputed();
      const sizes = `announced ${announced} bytes, its manifest says ${expectedBytes}`;
      const error = new RegistryError("upstream-invalid", `${this}: ${sizes}`);
      this.#download.abort(error);
      throw error;
    }
    return announced ?? expectedBytes;
  }

  async #prepare(): Promise<void> {
    try {
      this.#writer = await this.#options.store.ingest(this.digest, this.#sizeBytes);
    } catch (error) {
      this.#options.onStoreFailed(error);
    }
    this.#blocks = new FillBlocks({
      blockBytes: blockBytesFor(this.#sizeBytes),
      writer: this.#writer,
      slowestReader: () => this.#slowestReader(),
      onRoom: () => this.#goOn(),
      onStoreFailed: (error) => {
        this.#options.onStoreFailed(error);
        this.#watchLaggards();
      },
    });
    if (this.#writer === undefined) {
      this.#watchLaggards();
    }
  }

  #waitForProof(): void {
    this.#isSoonProved = (this.#sizeBytes ?? Infinity) <= FILL_LIMITS.holdBackBytesMax;
    if (this.#isSoonProved) {
      const timer = setTimeout(() => {
        this.#isSoonProved = false;
        this.#progress.notify(this.visibleEnd());
      }, FILL_LIMITS.proofWaitMs);
      timer.unref();
    }
  }

  #take(chunk: Buffer): boolean {
    const { blocks } = this;
    const limit = this.#sizeBytes ?? Number.POSITIVE_INFINITY;
    if (blocks.received + chunk.byteLength > limit) {
      throw tooLong(this);
    }
    this.#hash.update(chunk);
    blocks.append(chunk);
    this.#progress.notify(this.visibleEnd());
    this.#isPaused = blocks.isFull;
    return !this.#isPaused;
  }

  #goOn(): void {
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#download.resume();
    }
  }

  async #verify(): Promise<void> {
    const received = this.blocks.received;
    const actual = digestFrom(this.#hash, algorithmOf(this.digest));
    if (actual !== this.digest) {
      this.#options.onMismatch();
      throw new RegistryError(
        "upstream-invalid",
        `${this.#sender} sent other bytes for ${this.digest}: they hash to ${actual}`,
      );
    }
    this.#sizeBytes = received;
    await this.#options.onVerified(received);
    this.#isVerified = true;
    this.#progress.finish();
  }

  get #sender(): string {
    return this.isOwn ? "the bucket" : this.source.upstream.name;
  }

  async #commit(): Promise<void> {
    if (this.#writer === undefined || !(await this.blocks.finish())) {
      return;
    }
    try {
      await this.#writer.commit(this.blocks.received);
      this.#options.onCommitted(this.blocks.received);
    } catch (error) {
      this.#options.onStoreFailed(error);
    }
  }

  async #close(): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#abandoned);
    clearInterval(this.#laggards);
    await this.#closeWhenUnread();
  }

  /** The file stays open for those who still read from it, committed, evicted or not. */
  async #closeWhenUnread(): Promise<void> {
    if (this.#isOver && this.#readers.size === 0) {
      this.#blocks?.dispose();
      try {
        await this.#writer?.[Symbol.asyncDispose]();
      } catch (error) {
        this.#options.onStoreFailed(error);
      }
    }
  }

  async #lastReaderLeft(): Promise<void> {
    if (this.#isOver) {
      await this.#closeWhenUnread();
    } else if (this.#isInLine) {
      this.cancel(new Error(`nobody waits for ${this.digest} any more`));
    } else if (!this.#isVerified) {
      this.#abandoned = setTimeout(() => {
        if (this.#readers.size === 0 && !this.#isWorthFinishing()) {
          this.cancel(new Error(`nobody waits for ${this.digest} any more`));
        }
      }, FILL_LIMITS.abandonedGraceMs);
      this.#abandoned.unref();
    }
  }

  #isWorthFinishing(): boolean {
    const received = this.#blocks?.received ?? 0;
    const isStored = this.#blocks?.isStored ?? false;
    return this.#isVerified || (isStored && received * 2 > (this.#sizeBytes ?? Infinity));
  }

  #slowestReader(): number {
    let slowest = this.#blocks?.received ?? 0;
    for (const reader of this.#readers) {
      slowest = Math.min(slowest, reader.position);
    }
    return slowest;
  }

  /** Without a store the slowest reader sets the pace, so one that stands still is let go. */
  #watchLaggards(): void {
    this.#laggards ??= setInterval(() => {
      const tooLongAgo = Date.now() - FILL_LIMITS.laggardTimeoutMs;
      for (const reader of this.#readers) {
        if (this.blocks.isFull && reader.movedAtMs < tooLongAgo) {
          this.#cutOff(reader);
        }
      }
    }, FILL_LIMITS.laggardTimeoutMs / 10);
    this.#laggards.unref();
  }

  #cutOff(reader: FillReader): void {
    reader.cutOff(new Error("the store is failing and this reader is too slow to wait for"));
    this.#readers.delete(reader);
    this.moved();
  }

  toString(): string {
    return `${this.digest} from ${nameOf(this.source)}`;
  }
}

/** Small blobs keep less back, so that their first bytes go out as they come. */
function holdBackBytes(sizeBytes: number | undefined): number {
  const share = Math.ceil((sizeBytes ?? Number.POSITIVE_INFINITY) / 16);
  return Math.max(1, Math.min(FILL_LIMITS.holdBackBytesMax, share));
}

/** No larger than the blob, so that many small fills do not hold many large buffers. */
function blockBytesFor(sizeBytes: number | undefined): number {
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(4096, sizeBytes ?? FILL_LIMITS.blockBytes)));
  return Math.min(FILL_LIMITS.blockBytes, wanted);
}

function tooLong(fill: Fill): RegistryError {
  return new RegistryError("upstream-invalid", `the body of ${fill} is longer than was announced`);
}
