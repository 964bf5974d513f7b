import { LRUCache } from "lru-cache";
import type { BlobStore, ByteRange } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import type { Decision } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { FILL_LIMITS } from "../limits.ts";
import type { ByteSource, Metrics } from "../metrics.ts";
import { untilAborted } from "../until-aborted.ts";
import type { Bucket } from "./bucket.ts";
import { BucketFirst } from "./bucket.ts";
import type { Contents } from "./contents.ts";
import type { BlobOrigin } from "./download.ts";
import { Fill } from "./fill.ts";
import { FillGate } from "./fill-gate.ts";
import type { FillReader } from "./fill-reader.ts";
import type { NegativeCache } from "./negative-cache.ts";
import { SingleFlight } from "./single-flight.ts";
import type { Source } from "./source.ts";
import { askedAs, nameOf } from "./source.ts";

export interface BlobStat {
  readonly sizeBytes: number | undefined;
  readonly outcome: "hit" | "miss";
  /** Set when it turned out to be a manifest, and a policy stands in front. */
  readonly decision?: Decision;
}

/** A blob, or the part of it that was chosen, on its way. Dispose of it, read or not. */
export interface OpenBlob extends AsyncIterable<Uint8Array>, AsyncDisposable {
  readonly sizeBytes: number | undefined;
  readonly range: ByteRange | undefined;
  readonly outcome: "hit" | "miss";
  readonly from: ByteSource;
  readonly decision?: Decision;
}

/** Picks the part to send once the size is known; undefined is all of it. May throw. */
export type ChooseRange = (sizeBytes: number | undefined) => ByteRange | undefined;

export interface BlobAsk {
  readonly choose: ChooseRange;
  /** Whoever asked has left: nothing is waited for, or kept in line, on their account. */
  readonly signal: AbortSignal;
}

export interface BlobCacheOptions {
  readonly store: BlobStore;
  readonly contents: Contents;
  readonly negative: NegativeCache;
  readonly bucket?: Bucket | undefined;
  readonly metrics: Metrics;
  readonly onStoreFailed: (operation: "open" | "write", error: unknown) => void;
  readonly now: () => number;
}

/** How often somebody else's download may fail under a reader before it reports the error. */
const JOINS_MAX = 3;
/** Errors that another log-in may be spared. */
const ANSWERED_TO_LOG_IN: ReadonlySet<string> = new Set([
  "upstream-refused",
  "upstream-limited",
  "blob-unknown",
  "name-unknown",
]);

/** Serves blobs: from the store, or from the one download of a digest, which it starts or joins. */
export class BlobCache {
  readonly #options: BlobCacheOptions;
  readonly #gate = new FillGate();
  readonly #fills = new Map<Digest, Fill>();
  readonly #proofs = new SingleFlight<number | undefined>();
  /** By what was asked of whom: one registry's lies are nothing to another. */
  readonly #mismatches = new LRUCache<string, { count: number; atMs: number }>({ max: 10_000 });

  constructor(options: BlobCacheOptions) {
    this.#options = options;
    options.metrics.watchFills(() => {
      const fills = [...this.#fills.values()];
      return {
        fills: fills.length,
        readers: fills.reduce((sum, fill) => sum + fill.readers, 0),
      };
    });
  }

  /** What GET would answer, without the body and without a download. */
  async stat(source: Source, digest: Digest): Promise<BlobStat> {
    const held = await this.#statHeld(digest);
    const proved = await this.#options.contents.get(source, digest);
    if (held !== undefined) {
      if (proved === undefined) {
        await this.#prove(source, digest);
      }
      return { sizeBytes: held, outcome: "hit" };
    }
    if (proved !== undefined) {
      const kept = await this.#options.bucket?.sizeOf(digest);
      if (kept !== undefined && kept === (proved.sizeBytes ?? kept)) {
        return { sizeBytes: kept, outcome: "hit" };
      }
    }
    return { sizeBytes: await this.#prove(source, digest), outcome: "miss" };
  }

  async open(source: Source, digest: Digest, ask: BlobAsk): Promise<OpenBlob> {
    return (await this.#openHeld(source, digest, ask.choose)) ?? this.#follow(source, digest, ask);
  }

  /** Ends all downloads. */
  async close(): Promise<void> {
    const fills = [...this.#fills.values()];
    for (const fill of fills) {
      fill.cancel(new Error("the program ends"));
    }
    await Promise.all(fills.map((fill) => fill.done));
  }

  /** Undefined when the store does not have it, or fails: then the upstream is asked. */
  async #statHeld(digest: Digest): Promise<number | undefined> {
    try {
      return (await this.#options.store.stat(digest))?.sizeBytes;
    } catch (error) {
      this.#options.onStoreFailed("open", error);
      return;
    }
  }

  async #openHeld(
    source: Source,
    digest: Digest,
    choose: ChooseRange,
  ): Promise<OpenBlob | undefined> {
    const sizeBytes = await this.#statHeld(digest);
    if (sizeBytes === undefined) {
      return;
    }
    await this.#requireMember(source, digest);
    this.#options.bucket?.keep(digest, sizeBytes);
    const range = choose(sizeBytes);
    try {
      const reader = await this.#options.store.open(digest, range);
      if (reader === undefined) {
        return;
      }
      return {
        sizeBytes: reader.sizeBytes,
        range,
        outcome: "hit",
        from: "store",
        [Symbol.asyncIterator]: () => reader[Symbol.asyncIterator](),
        [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
      };
    } catch (error) {
      this.#options.onStoreFailed("open", error);
      return;
    }
  }

  async #follow(source: Source, digest: Digest, ask: BlobAsk): Promise<OpenBlob> {
    for (let joins = 0; ; joins += 1) {
      const fill = await this.#runningOrNew(source, digest);
      const reader = fill.join();
      let isAdmitted = false;
      // All in, and only not durable yet: nothing more is asked of the upstream for it.
      const isIn = fill.isVerified();
      try {
        await this.#admit(source, fill);
        isAdmitted = true;
        const sizeBytes = await untilAborted(fill.opened, ask.signal);
        const range = ask.choose(sizeBytes);
        if (range !== undefined) {
          reader.select(range);
        }
        const outcome = isIn || fill.isOwn ? "hit" : "miss";
        return new FollowedBlob(reader, { sizeBytes, range, outcome });
      } catch (error) {
        await reader[Symbol.asyncDispose]();
        if (
          ask.signal.aborted ||
          !isAdmitted ||
          !isTheirs(error, fill.source, source) ||
          !(await hasFailed(fill)) ||
          joins >= JOINS_MAX
        ) {
          throw error;
        }
        await fill.done;
      }
    }
  }

  /** Nothing is awaited between the look and the start: there is one download of a digest. */
  async #runningOrNew(source: Source, digest: Digest): Promise<Fill> {
    const { contents, negative } = this.#options;
    const expectedBytes = await contents.sizeOf(source, digest);
    const running = this.#fills.get(digest);
    if (running?.isJoinable === true) {
      return running;
    }
    const remembered = negative.get(keyOf(source, digest));
    if (remembered !== undefined) {
      throw remembered;
    }
    this.#refuseLiar(source, digest);
    return this.#start(source, digest, expectedBytes);
  }

  /** To know a digest is no right to it: the repository asked for must contain it, too. */
  async #admit(source: Source, fill: Fill): Promise<void> {
    if (nameOf(fill.source) !== nameOf(source)) {
      await this.#requireMember(source, fill.digest);
    }
  }

  async #requireMember(source: Source, digest: Digest): Promise<void> {
    if ((await this.#options.contents.get(source, digest)) === undefined) {
      await this.#prove(source, digest);
    }
  }

  #start(source: Source, digest: Digest, expectedBytes: number | undefined): Fill {
    const { store, contents, negative, onStoreFailed, metrics, bucket } = this.#options;
    const origin: BlobOrigin =
      bucket === undefined
        ? source.upstream
        : new BucketFirst(bucket, source.upstream, {
            sizeBytes: expectedBytes,
            prove: () => this.#requireMember(source, digest),
          });
    const fill = new Fill({
      digest,
      source,
      origin,
      expectedBytes,
      store,
      gate: this.#gate,
      onStoreFailed: (error) => onStoreFailed("write", error),
      onMismatch: () => {
        if (origin.isOwn === true) {
          bucket?.drop(digest).catch(() => undefined); // it says so itself
          return;
        }
        this.#noteMismatch(keyOf(source, digest));
        metrics.upstreamError(source.upstream.name, "mismatch");
      },
      onSizeDisputed: () => {
        metrics.upstreamError(source.upstream.name, "mismatch");
        contents.disputeSize(source, digest).catch(() => undefined); // metadata may fail, and says so
      },
      onVerified: (sizeBytes) =>
        contents.add(source, [{ digest, sizeBytes, mediaType: undefined }]),
      onCommitted: (sizeBytes) => bucket?.keep(digest, sizeBytes),
    });
    this.#fills.set(digest, fill);
    // The error reaches whoever waits for `opened`; here it is only remembered.
    negative.run(keyOf(source, digest), () => fill.opened).catch(() => undefined);
    fill.done
      .then(() => {
        if (this.#fills.get(digest) === fill) {
          this.#fills.delete(digest);
        }
      })
      .catch(() => undefined);
    return fill;
  }

  /** One HEAD upstream: the repository contains the blob, or the error says why it is not ours. */
  #prove(source: Source, digest: Digest): Promise<number | undefined> {
    const { contents, negative } = this.#options;
    const key = keyOf(source, digest);
    return this.#proofs.run(key, () =>
      negative.run(key, async () => {
        const { repository, upstream } = source;
        const { sizeBytes } = await upstream.headBlob({ repository, digest });
        // What a HEAD says of the size is told to who asked, and not held against the download.
        await contents.add(source, [{ digest, sizeBytes: undefined, mediaType: undefined }]);
        return sizeBytes;
      }),
    );
  }

  #noteMismatch(key: string): void {
    const now = this.#options.now();
    const before = this.#mismatches.get(key);
    const isRecent = before !== undefined && now - before.atMs < FILL_LIMITS.mismatchWindowMs;
    this.#mismatches.set(key, { count: isRecent ? before.count + 1 : 1, atMs: now });
  }

  /** An upstream that sent wrong bytes twice is not asked for a while: each time costs the blob. */
  #refuseLiar(source: Source, digest: Digest): void {
    const seen = this.#mismatches.get(keyOf(source, digest));
    const leftMs = (seen?.atMs ?? 0) + FILL_LIMITS.mismatchHoldMs - this.#options.now();
    if (seen !== undefined && seen.count >= 2 && leftMs > 0) {
      throw new RegistryError(
        "upstream-invalid",
        `${source.upstream.name} sent wrong bytes for ${digest} ${seen.count} times in a row; ` +
          "it is asked again in a moment",
        { retryAfterSeconds: Math.ceil(leftMs / 1000) },
      );
    }
  }
}

class FollowedBlob implements OpenBlob {
  readonly outcome: "hit" | "miss";
  readonly from = "fill";
  readonly sizeBytes: number | undefined;
  readonly range: ByteRange | undefined;
  readonly #reader: FillReader;

  constructor(reader: FillReader, known: Pick<OpenBlob, "sizeBytes" | "range" | "outcome">) {
    this.#reader = reader;
    this.sizeBytes = known.sizeBytes;
    this.range = known.range;
    this.outcome = known.outcome;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#reader[Symbol.asyncIterator]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#reader[Symbol.asyncDispose]();
  }
}

/**
 * Another repository's trouble is not ours: our own may well have the blob. Nor is what the registry
 * answered to another client's log-in.
 */
function isTheirs(error: unknown, theirs: Source, ours: Source): boolean {
  if (nameOf(theirs) !== nameOf(ours)) {
    return true;
  }
  const isOfLogIn = error instanceof RegistryError && ANSWERED_TO_LOG_IN.has(error.code);
  return isOfLogIn && askedAs(theirs) !== askedAs(ours);
}

function hasFailed(fill: Fill): Promise<boolean> {
  return fill.opened.then(
    () => false,
    () => true,
  );
}

function keyOf(source: Source, digest: Digest): string {
  return `${askedAs(source)}@${digest}`;
}
