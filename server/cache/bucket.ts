import { LRUCache } from "lru-cache";
import type { BlobStore } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import { BUCKET_LIMITS } from "../limits.ts";
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
  readonly #waiting = new Map<Digest, number>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: BucketOptions) {
    this.#options = options;
    this.#waitMs = options.waitMs ?? BUCKET_LIMITS.openTimeoutMs;
  }

  /** Undefined when it is not there, or not there in time. */
  async open(digest: Digest, offset: number, signal?: AbortSignal): Promise<BlobBody | undefined> {
    const { objects, onFailed } = this.#options;
    if (!objects.isUp) {
      return;
    }
    const opening = objects.openFrom(digest, offset, signal);
    try {
      const body = await within(opening, this.#waitMs);
      if (body === undefined) {
        opening.then((late) => late?.abort()).catch(() => undefined);
        return;
      }
      this.#known.set(digest, true);
      return new BucketBody(body, offset);
    } catch (error) {
      onFailed("open", error);
      return;
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

  /** Other bytes were found under its name. */
  async drop(digest: Digest): Promise<void> {
    this.#known.delete(digest);
    try {
      await this.#options.objects.blobs.delete(digest);
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
    if (this.#waiting.has(digest) || !this.#known.has(digest)) {
      return;
    }
    try {
      const isLarge = ((await this.sizeOf(digest)) ?? 0) > largerThanBytes;
      return isLarge ? await objects.presign(digest, BUCKET_LIMITS.redirectSeconds) : undefined;
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

/** The bucket first, then the registry, which goes on where the bucket broke off. */
export class BucketFirst implements BlobOrigin {
  readonly #bucket: Bucket;
  readonly #upstream: Pick<Upstream, "openBlob">;
  readonly #prove: () => Promise<unknown>;
  /** Whether the bytes came from the bucket, so far. */
  isOwn = false;

  /** @param prove - rejects when the repository does not contain the blob. */
  constructor(bucket: Bucket, upstream: Pick<Upstream, "openBlob">, prove: () => Promise<unknown>) {
    this.#bucket = bucket;
    this.#upstream = upstream;
    this.#prove = prove;
  }

  async openBlob(request: BlobRequest): Promise<BlobBody> {
    const { digest, offset, avoid, signal } = request;
    const mayTry = avoid?.has(BUCKET_URL) !== true;
    const body = mayTry ? await this.#bucket.open(digest, offset, signal) : undefined;
    if (body === undefined) {
      return await this.#upstream.openBlob(request);
    }
    try {
      await this.#prove();
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
  readonly #aborted = Promise.withResolvers<never>();

  constructor(body: StoredBody, offset: number) {
    this.#body = body;
    this.sizeBytes = body.sizeBytes;
    this.offset = offset;
    this.#aborted.promise.catch(() => undefined);
  }

  async pipe(sink: BlobSink): Promise<void> {
    let resume: (() => void) | undefined;
    sink.start(() => resume?.());
    const chunks = this.#body.chunks[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await Promise.race([chunks.next().catch(brokenOff), this.#aborted.promise]);
        if (next.done === true) {
          return;
        }
        const { buffer, byteOffset, byteLength } = next.value;
        if (!sink.write(Buffer.from(buffer, byteOffset, byteLength))) {
          const room = new Promise<void>((resolve) => {
            resume = resolve;
          });
          await Promise.race([room, this.#aborted.promise]);
        }
      }
    } finally {
      this.#body.abort();
    }
  }

  abort(reason: Error): void {
    this.#aborted.reject(reason);
    this.#body.abort();
  }
}

/** What the download takes as a reason to go on elsewhere. */
function brokenOff(cause: unknown): never {
  throw new RegistryError("upstream-unavailable", "the bucket broke off", { cause });
}
