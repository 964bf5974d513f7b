import { LRUCache } from "lru-cache";
import type { BlobStore } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import { BUCKET_LIMITS } from "../limits.ts";
import { untilAborted } from "../until-aborted.ts";
import type { BlobBody, BlobRequest, BlobSink, Upstream } from "../upstream/upstream.ts";
import { within } from "../within.ts";
import type { BlobOrigin } from "./download.ts";

/** What is asked of an object store: storage/s3-bucket.ts. */
export interface ObjectStore {
  /** The bytes from `offset` on, as they come, not verified; undefined when it is not there. */
  openFrom(digest: Digest, offset: number, signal?: AbortSignal): Promise<StoredBody | undefined>;
  /** Resolves when the blob is there, by us or by somebody else. */
  put(
    digest: Digest,
    sizeBytes: number,
    chunks: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void>;
  presign(digest: Digest, seconds: number): Promise<string>;
  readonly blobs: Pick<BlobStore, "stat" | "delete">;
  /** False while nobody should wait for it. */
  readonly isUp: boolean;
}

export interface StoredBody {
  /** Of the whole blob. */
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  abort(): void;
}

export interface BucketOptions {
  readonly objects: ObjectStore;
  /** Where uploads are read from: what was verified and committed. */
  readonly local: BlobStore;
  /** How long a pull may wait for it. */
  readonly waitMs?: number | undefined;
  readonly onFailed: (operation: "open" | "write", error: unknown) => void;
}

/** Names the bucket among the urls of a blob. */
const BUCKET_URL = "bucket:";

/**
 * A bucket behind the disk: what is committed here is copied there in the background, and what is
 * not here is taken from there before a registry is asked. It may be slow or gone at any time: that
 * costs a moment, and never a pull.
 */
export class Bucket implements AsyncDisposable {
  readonly #options: BucketOptions;
  readonly #waitMs: number;
  readonly #abort = new AbortController();
  /** Known to be there, or on the way. */
  readonly #known = new LRUCache<Digest, true>({ max: BUCKET_LIMITS.knownMax });
  /** Found to be other bytes, and maybe still there: not every key may delete. */
  readonly #wrong = new LRUCache<Digest, true>({ max: BUCKET_LIMITS.wrongMax });
  #lateInARow = 0;
  #passedOverUntil = 0;
  readonly #waiting = new Map<Digest, number>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: BucketOptions) {
    this.#options = options;
    this.#waitMs = options.waitMs ?? BUCKET_LIMITS.openTimeoutMs;
  }

  /** Undefined when it is not there, or not there in time. */
  async open(digest: Digest, offset: number, signal?: AbortSignal): Promise<BlobBody | undefined> {
    const { objects, onFailed } = this.#options;
    if (!objects.isUp || this.#wrong.has(digest) || performance.now() < this.#passedOverUntil) {
      return;
    }
    const opening = objects.openFrom(digest, offset, signal).then((body) => ({ body }));
    try {
      const answer = await within(opening, this.#waitMs);
      this.#noteLate(answer === undefined);
      if (answer?.body === undefined) {
        // Not there any more, as far as is known: what is fetched now is copied again.
        this.#known.delete(digest);
        opening.then(({ body: late }) => late?.abort()).catch(() => undefined);
        return;
      }
      const { body } = answer;
      this.#known.set(digest, true);
      return new BucketBody(body, offset);
    } catch (error) {
      if (signal?.aborted !== true) {
        onFailed("open", error);
      }
      return;
    }
  }

  /** One that answers, but too late each time, is passed over for a while: each try costs a wait. */
  #noteLate(isLate: boolean): void {
    this.#lateInARow = isLate ? this.#lateInARow + 1 : 0;
    if (this.#lateInARow >= BUCKET_LIMITS.lateMax) {
      this.#lateInARow = 0;
      this.#passedOverUntil = performance.now() + BUCKET_LIMITS.passedOverMs;
    }
  }

  /** A small one, whole, not verified. */
  async read(digest: Digest, sizeBytesMax: number): Promise<Buffer | undefined> {
    const body = await this.open(digest, 0);
    if (body === undefined) {
      return;
    }
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const late = setTimeout(() => {
      body.abort(new RegistryError("upstream-unavailable", `${digest} does not come in time`));
    }, this.#waitMs);
    try {
      await body.pipe({
        start: () => undefined,
        write: (chunk) => {
          sizeBytes += chunk.byteLength;
          if (sizeBytes > sizeBytesMax) {
            throw new RegistryError("upstream-invalid", `${digest} in the bucket is too large`);
          }
          chunks.push(Buffer.from(chunk));
          return true;
        },
      });
      return Buffer.concat(chunks);
    } catch (error) {
      this.#options.onFailed("open", error);
      return;
    } finally {
      clearTimeout(late);
    }
  }

  /** Copies what the disk has, in the background, unless it is there. */
  keep(digest: Digest, sizeBytes: number): void {
    if (this.#known.has(digest) || this.#waiting.size >= BUCKET_LIMITS.waitingMax) {
      return;
    }
    this.#known.set(digest, true);
    this.#waiting.set(digest, sizeBytes);
    this.#next();
  }

  /** Whether it is there is to be asked again: of one, or of all when some have been deleted. */
  forget(digest?: Digest): void {
    if (digest === undefined) {
      this.#known.clear();
    } else {
      this.#known.delete(digest);
    }
  }

  /** Other bytes were found under its name: it is not asked for again until they have gone. */
  async drop(digest: Digest): Promise<void> {
    this.#known.delete(digest);
    this.#wrong.set(digest, true);
    try {
      await this.#options.objects.blobs.delete(digest);
      this.#wrong.delete(digest);
    } catch (error) {
      this.#options.onFailed("write", error);
    }
  }

  /** Undefined when it is not there, or nobody says so in time. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    const { objects, onFailed } = this.#options;
    try {
      const stat = objects.isUp ? objects.blobs.stat(digest) : undefined;
      return (stat && (await within(stat, this.#waitMs)))?.sizeBytes;
    } catch (error) {
      onFailed("open", error);
      return;
    }
  }

  /** A url for clients to fetch it themselves; undefined when it is not there, or not larger. */
  async redirect(digest: Digest, largerThanBytes: number): Promise<string | undefined> {
    const { objects, onFailed } = this.#options;
    if (this.#waiting.has(digest) || !this.#known.has(digest) || this.#wrong.has(digest)) {
      return;
    }
    try {
      const isLarge = ((await this.sizeOf(digest)) ?? 0) > largerThanBytes;
      // It may have to ask for credentials.
      const url = isLarge ? objects.presign(digest, BUCKET_LIMITS.redirectSeconds) : undefined;
      return url && (await within(url, this.#waitMs));
    } catch (error) {
      onFailed("open", error);
      return;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error("the program ends"));
    this.#waiting.clear();
    await Promise.all(this.#running);
  }

  #next(): void {
    for (const [digest, sizeBytes] of this.#waiting) {
      if (this.#running.size >= BUCKET_LIMITS.uploadsMax || this.#abort.signal.aborted) {
        return;
      }
      this.#waiting.delete(digest);
      const running = this.#upload(digest, sizeBytes).finally(() => {
        this.#running.delete(running);
        this.#next();
      });
      this.#running.add(running);
    }
  }

  /** What could not be copied is copied when it is next read. */
  async #upload(digest: Digest, sizeBytes: number): Promise<void> {
    const { objects, local, onFailed } = this.#options;
    const { signal } = this.#abort;
    try {
      await using reader = objects.isUp ? await local.open(digest) : undefined;
      if (reader === undefined) {
        this.#known.delete(digest);
        return;
      }
      await objects.put(digest, sizeBytes, reader, signal);
    } catch (error) {
      this.#known.delete(digest);
      if (!signal.aborted) {
        onFailed("write", error);
      }
    }
  }
}

/** What is known of a blob before its bytes are. */
export interface Member {
  /** As its manifest says; undefined when nobody did. */
  readonly sizeBytes: number | undefined;
  /** Rejects when the repository does not contain it. */
  readonly prove: () => Promise<unknown>;
}

/** The bucket first, then the registry, which goes on where the bucket broke off. */
export class BucketFirst implements BlobOrigin {
  readonly #bucket: Bucket;
  readonly #upstream: Pick<Upstream, "openBlob">;
  readonly #member: Member;
  /** Whether the bytes came from the bucket, so far. */
  isOwn = false;

  constructor(bucket: Bucket, upstream: Pick<Upstream, "openBlob">, member: Member) {
    this.#bucket = bucket;
    this.#upstream = upstream;
    this.#member = member;
  }

  async openBlob(request: BlobRequest): Promise<BlobBody> {
    const { digest, offset, avoid, signal } = request;
    const mayTry = avoid?.has(BUCKET_URL) !== true;
    const body = mayTry ? await this.#bucket.open(digest, offset, signal) : undefined;
    if (body === undefined) {
      return await this.#upstream.openBlob(request);
    }
    const { sizeBytes = body.sizeBytes, prove } = this.#member;
    if (body.sizeBytes !== sizeBytes) {
      // Cut short there, or wrong in the manifest: the registry decides.
      body.abort(new Error("it has another size"));
      this.#bucket.forget(digest);
      return await this.#upstream.openBlob(request);
    }
    try {
      await prove();
    } catch (error) {
      body.abort(new Error("not its repository's", { cause: error }));
      throw error;
    }
    this.isOwn = true;
    return body;
  }
}

class BucketBody implements BlobBody {
  readonly url = BUCKET_URL;
  readonly sizeBytes: number;
  readonly offset: number;
  readonly #body: StoredBody;
  readonly #abort = new AbortController();

  constructor(body: StoredBody, offset: number) {
    this.#body = body;
    this.sizeBytes = body.sizeBytes;
    this.offset = offset;
  }

  async pipe(sink: BlobSink): Promise<void> {
    let resume: (() => void) | undefined;
    sink.start(() => resume?.());
    const chunks = this.#body.chunks[Symbol.asyncIterator]();
    const { signal } = this.#abort;
    try {
      for (;;) {
        // A race with one promise for the whole body would keep each chunk until its end.
        const next = await untilAborted(chunks.next().catch(brokenOff), signal);
        if (next.done === true) {
          return;
        }
        const { buffer, byteOffset, byteLength } = next.value;
        if (!sink.write(Buffer.from(buffer, byteOffset, byteLength))) {
          const room = new Promise<void>((resolve) => {
            resume = resolve;
          });
          await untilAborted(room, signal);
        }
      }
    } finally {
      this.#body.abort();
    }
  }

  abort(reason: Error): void {
    this.#abort.abort(reason);
    this.#body.abort();
  }
}

/** What the download takes as a reason to go on elsewhere. */
function brokenOff(cause: unknown): never {
  throw new RegistryError("upstream-unavailable", "the bucket broke off", { cause });
}
