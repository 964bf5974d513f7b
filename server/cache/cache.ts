import type { BlobStore } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { StorageError } from "../../storage/errors.ts";
import type { MetadataStore, RepositoryName } from "../../storage/metadata-store.ts";
import { reasonOf } from "../../storage/store-events.ts";
import { UPSTREAM_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import type { TagsPage } from "../upstream/upstream.ts";
import type { BlobAsk, BlobStat, OpenBlob } from "./blob-cache.ts";
import { BlobCache } from "./blob-cache.ts";
import type { ObjectStore } from "./bucket.ts";
import { Bucket } from "./bucket.ts";
import { Contents } from "./contents.ts";
import type { FoundList } from "./list-cache.ts";
import { ListCache } from "./list-cache.ts";
import type { FoundManifest, Manifest } from "./manifest-cache.ts";
import { ManifestCache } from "./manifest-cache.ts";
import { NegativeCache } from "./negative-cache.ts";
import type { ReferrerDescriptor } from "./referrers-cache.ts";
import { ReferrersCache } from "./referrers-cache.ts";
import type { Source } from "./source.ts";
import { nameOf } from "./source.ts";
import type { FoundTag } from "./tag-cache.ts";
import { TagCache } from "./tag-cache.ts";

/**
 * Everything that can be pulled, whether it is held or not. Errors are RegistryErrors; a failing
 * store is never one of them.
 */
export interface Registry {
  /** Only what is in memory, at once: undefined says nothing about the rest. */
  peekManifest(source: Source, digest: Digest): FoundManifest | undefined;
  manifestByDigest(source: Source, digest: Digest): Promise<FoundManifest>;
  manifestByTag(source: Source, tag: string): Promise<FoundTag>;
  statBlob(source: Source, digest: Digest): Promise<BlobStat>;
  openBlob(source: Source, digest: Digest, ask: BlobAsk): Promise<OpenBlob>;
  /** Where a client may fetch it itself, with a url that is its right to it; undefined: from us. */
  blobUrl(source: Source, digest: Digest): Promise<string | undefined>;
  tags(source: Source, page: PageRequest): Promise<FoundList<TagsPage>>;
  referrers(source: Source, digest: Digest): Promise<FoundList<readonly ReferrerDescriptor[]>>;
}

/** What a policy asks about an image: never remembered, never stale. Undefined and empty are sure. */
export interface Lookups {
  referrersNow(
    source: Source,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<readonly ReferrerDescriptor[]>;
  tagNow(source: Source, tag: string, signal: AbortSignal): Promise<Manifest | undefined>;
}

export interface PageRequest {
  readonly pageSize?: number;
  readonly last?: string;
}

export interface CacheOptions {
  readonly store: BlobStore;
  readonly metadata: MetadataStore;
  /** A bucket behind the store. */
  readonly objects?: ObjectStore | undefined;
  readonly bucketWaitMs?: number | undefined;
  /** Clients are sent to the bucket. */
  readonly redirects?: boolean;
  readonly metrics: Metrics;
  /** Something was not stored or not read; the pull went on without it. */
  readonly onStoreFailed: (operation: "open" | "write", error: unknown) => void;
  /** A tag, or a digest of a repository, was asked for and is there. */
  readonly onUse?: (repository: RepositoryName, name: string, atMs: number) => void;
  readonly now?: () => number;
}

/** The whole of server/cache behind one face. */
export class Cache implements Registry, Lookups, AsyncDisposable {
  readonly #options: CacheOptions;
  readonly #contents: Contents;
  readonly #manifests: ManifestCache;
  readonly #tags: TagCache;
  readonly #blobs: BlobCache;
  readonly #referrers: ReferrersCache;
  readonly #negative: NegativeCache;
  readonly #bucket: Bucket | undefined;
  readonly #tagLists: ListCache<TagsPage>;

  constructor(options: CacheOptions) {
    const { store, metadata, metrics, now = Date.now } = options;
    const onStoreFailed = (operation: "open" | "write", error: unknown): void => {
      metrics.storeError("disk", operation, reasonOf(cause(error)));
      options.onStoreFailed(operation, error);
    };
    const contents = new Contents(metadata);
    this.#options = options;
    this.#contents = contents;
    const negative = new NegativeCache(now);
    this.#negative = negative;
    const { objects } = options;
    this.#bucket =
      objects &&
      new Bucket({
        objects,
        waitMs: options.bucketWaitMs,
        local: store,
        // The store itself has told of its own failures.
        onFailed: (operation, error) =>
          error instanceof StorageError ? undefined : options.onStoreFailed(operation, error),
      });
    const bucket = this.#bucket;
    const shared = { store, contents, negative, bucket, metrics, onStoreFailed, now };
    this.#manifests = new ManifestCache(shared);
    this.#blobs = new BlobCache(shared);
    this.#tags = new TagCache({ manifests: this.#manifests, metadata, negative, metrics, now });
    this.#referrers = new ReferrersCache({ tags: this.#tags, negative, now });
    this.#tagLists = new ListCache({ negative, now, sizeOf: sizeOfTags });
  }

  peekManifest(source: Source, digest: Digest): FoundManifest | undefined {
    const manifest = this.#manifests.peek(source, digest);
    if (manifest !== undefined) {
      this.#used(source, digest);
    }
    return manifest && { manifest, outcome: "hit" };
  }

  async manifestByDigest(source: Source, digest: Digest): Promise<FoundManifest> {
    const found = await this.#manifests.get(source, digest);
    this.#used(source, digest);
    return found;
  }

  async manifestByTag(source: Source, tag: string): Promise<FoundTag> {
    const found = await this.#tags.get(source, tag);
    this.#used(source, tag);
    this.#used(source, found.manifest.digest);
    return found;
  }

  async statBlob(source: Source, digest: Digest): Promise<BlobStat> {
    const found = await this.#blobs.stat(source, digest);
    this.#used(source, digest);
    return found;
  }

  async openBlob(source: Source, digest: Digest, ask: BlobAsk): Promise<OpenBlob> {
    const found = await this.#blobs.open(source, digest, ask);
    this.#used(source, digest);
    return found;
  }

  /**
   * Only what is too large to be a manifest, whatever size anybody has claimed: those are judged,
   * and never leave our hands.
   */
  async blobUrl(source: Source, digest: Digest): Promise<string | undefined> {
    if (this.#options.redirects !== true || this.#bucket === undefined) {
      return;
    }
    const isMember = (await this.#contents.get(source, digest)) !== undefined;
    const { manifestBytesMax } = UPSTREAM_LIMITS;
    const url = isMember ? await this.#bucket.redirect(digest, manifestBytesMax) : undefined;
    if (url !== undefined) {
      this.#used(source, digest);
    }
    return url;
  }

  tags(source: Source, page: PageRequest): Promise<FoundList<TagsPage>> {
    const { upstream, repository } = source;
    const key = `${nameOf(source)} tags ${page.pageSize ?? ""} ${page.last ?? ""}`;
    return this.#tagLists.get(upstream, key, () => upstream.listTags({ repository, ...page }));
  }

  referrers(source: Source, digest: Digest): Promise<FoundList<readonly ReferrerDescriptor[]>> {
    return this.#referrers.get(source, digest);
  }

  referrersNow(
    source: Source,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<readonly ReferrerDescriptor[]> {
    return this.#referrers.getNow(source, digest, signal);
  }

  tagNow(source: Source, tag: string, signal: AbortSignal): Promise<Manifest | undefined> {
    return this.#tags.getNow(source, tag, signal);
  }

  /** What was refused or failed a moment ago is asked for again. */
  forgetFailures(): void {
    this.#negative.clear();
  }

  /** All of these repositories that is in memory: the store has forgotten what was there. */
  forget(repositories: ReadonlySet<RepositoryName>): void {
    for (const kept of [this.#contents, this.#manifests, this.#referrers, this.#tagLists]) {
      kept.forget(repositories);
    }
    this.#bucket?.forget();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#blobs.close();
    await this.#bucket?.[Symbol.asyncDispose]();
  }

  #used(source: Source, name: string): void {
    const { onUse, now = Date.now } = this.#options;
    onUse?.(nameOf(source), name, now());
  }
}

/** The errno is in what a StorageError was caused by. */
function cause(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}

function sizeOfTags({ tags }: TagsPage): number {
  return tags.reduce((sum, tag) => sum + tag.length + 16, 0);
}
