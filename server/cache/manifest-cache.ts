import { LRUCache } from "lru-cache";
import type { BlobStore } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestOf } from "../../storage/digest.ts";
import type { RepositoryName } from "../../storage/metadata-store.ts";
import type { Decision } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { CACHE_LIMITS, UPSTREAM_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import { parseManifest } from "../oci/manifest.ts";
import { MEDIA_TYPES } from "../oci/media-types.ts";
import type { FetchedManifest } from "../upstream/upstream.ts";
import type { Bucket } from "./bucket.ts";
import type { Contents } from "./contents.ts";
import { forgetKeys } from "./forget.ts";
import { readHeld, writeHeld } from "./held-bytes.ts";
import type { NegativeCache } from "./negative-cache.ts";
import { SingleFlight } from "./single-flight.ts";
import type { Source } from "./source.ts";
import { askedAs, nameOf } from "./source.ts";

export interface Manifest {
  readonly digest: Digest;
  /** Exactly as the upstream sent it. */
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface FoundManifest {
  readonly manifest: Manifest;
  readonly outcome: "hit" | "miss";
  /** Set where a policy stands in front: that it may be served, and why. */
  readonly decision?: Decision;
}

export interface ManifestCacheOptions {
  readonly store: BlobStore;
  readonly contents: Contents;
  readonly negative: NegativeCache;
  readonly bucket?: Bucket | undefined;
  readonly metrics: Metrics;
  readonly onStoreFailed: (operation: "open" | "write", error: unknown) => void;
}

const MANIFEST_TYPES: ReadonlySet<string> = new Set(Object.values(MEDIA_TYPES));
/** What an entry costs beside its bytes: key, object, list node. */
const ENTRY_OVERHEAD_BYTES = 512;

/** Manifests by digest, for ever: in memory, then in the store, then upstream. */
export class ManifestCache {
  readonly #options: ManifestCacheOptions;
  readonly #flights = new SingleFlight<FoundManifest>();
  readonly #memory = new LRUCache<string, Manifest>({
    maxSize: CACHE_LIMITS.manifestMemoryBytes,
    sizeCalculation: (manifest) => manifest.bytes.byteLength + ENTRY_OVERHEAD_BYTES,
  });

  constructor(options: ManifestCacheOptions) {
    this.#options = options;
  }

  /** Without a Promise when it is in memory: this is the hottest path of all. */
  peek(source: Source, digest: Digest): Manifest | undefined {
    return this.#memory.get(keyOf(source, digest));
  }

  async get(source: Source, digest: Digest): Promise<FoundManifest> {
    const manifest = this.peek(source, digest);
    if (manifest !== undefined) {
      return { manifest, outcome: "hit" };
    }
    return await this.#flights.run(`${askedAs(source)}@${digest}`, () =>
      this.#find(source, digest),
    );
  }

  /** All of these repositories that is in memory. */
  forget(repositories: ReadonlySet<RepositoryName>): void {
    forgetKeys(this.#memory, repositories);
  }

  /** What can be served without asking the upstream. */
  async held(source: Source, digest: Digest): Promise<Manifest | undefined> {
    return this.peek(source, digest) ?? (await this.#getHeld(source, digest));
  }

  /** What the upstream sent for a tag: its digest is ours, not the one of its header. */
  async keep(source: Source, fetched: FetchedManifest, digest: Digest): Promise<Manifest> {
    const what = `${nameOf(source)}@${digest}`;
    const parsed = parseManifest(fetched.bytes, what);
    const { children, blobs } = parsed;
    const manifest = { digest, mediaType: fetched.mediaType, bytes: fetched.bytes };
    if (!MANIFEST_TYPES.has(fetched.mediaType) && MANIFEST_TYPES.has(parsed.mediaType ?? "")) {
      return manifest; // it knows better than the header, which may be right the next time
    }
    await this.#store(digest, fetched.bytes);
    const { mediaType } = manifest;
    const { contents } = this.#options;
    const named = [...children, ...blobs.filter(({ hasUrls }) => !hasUrls)];
    await contents.claim(
      source,
      named.map((one) => ({ digest: one.digest, sizeBytes: one.sizeBytes, mediaType: undefined })),
    );
    await contents.add(source, [{ digest, sizeBytes: fetched.bytes.byteLength, mediaType }]);
    this.#memory.set(keyOf(source, digest), manifest);
    return manifest;
  }

  async #find(source: Source, digest: Digest): Promise<FoundManifest> {
    const held = await this.#getHeld(source, digest);
    if (held !== undefined) {
      this.#memory.set(keyOf(source, digest), held);
      return { manifest: held, outcome: "hit" };
    }
    const key = `${askedAs(source)}@${digest} manifest`;
    const manifest = await this.#options.negative.run(key, () => this.#fetch(source, digest));
    return { manifest, outcome: "miss" };
  }

  async #getHeld(source: Source, digest: Digest): Promise<Manifest | undefined> {
    const { contents, store, onStoreFailed } = this.#options;
    const known = await contents.get(source, digest);
    if (known?.mediaType === undefined) {
      return;
    }
    try {
      const held = await readHeld(store, digest, UPSTREAM_LIMITS.manifestBytesMax);
      if (held !== undefined) {
        this.#options.bucket?.keep(digest, held.byteLength);
      }
      const bytes = held ?? (await this.#fromBucket(digest));
      return bytes && { digest, mediaType: known.mediaType, bytes };
    } catch (error) {
      onStoreFailed("open", error);
      return;
    }
  }

  async #fetch(source: Source, digest: Digest): Promise<Manifest> {
    const { upstream, repository } = source;
    const fetched = await upstream.fetchManifest({ repository, reference: digest });
    const actual = digestOf(fetched.bytes, algorithmOf(digest));
    if (actual !== digest) {
      this.#options.metrics.upstreamError(upstream.name, "mismatch");
      throw new RegistryError(
        "upstream-invalid",
        `${upstream.name} sent another manifest for ${repository}@${digest}: it hashes to ${actual}`,
      );
    }
    return await this.keep(source, fetched, digest);
  }

  /** Proved, and put back on the disk. */
  async #fromBucket(digest: Digest): Promise<Buffer | undefined> {
    const { bucket } = this.#options;
    const bytes = await bucket?.read(digest, UPSTREAM_LIMITS.manifestBytesMax);
    if (bytes === undefined) {
      return;
    }
    if (digestOf(bytes, algorithmOf(digest)) !== digest) {
      await bucket?.drop(digest);
      return;
    }
    await this.#store(digest, bytes);
    return bytes;
  }

  async #store(digest: Digest, bytes: Buffer): Promise<void> {
    const { store, onStoreFailed, bucket } = this.#options;
    try {
      if ((await store.stat(digest)) === undefined) {
        await writeHeld(store, digest, bytes);
      }
      bucket?.keep(digest, bytes.byteLength);
    } catch (error) {
      onStoreFailed("write", error);
    }
  }
}

function keyOf(source: Source, digest: Digest): string {
  return `${nameOf(source)}@${digest}`;
}
