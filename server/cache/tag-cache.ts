import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";
import type { MetadataStore, TagRecord } from "../../storage/metadata-store.ts";
import type { Decision } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { CACHE_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import { within } from "../within.ts";
import { freshnessOf } from "./freshness.ts";
import type { FoundManifest, Manifest, ManifestCache } from "./manifest-cache.ts";
import type { NegativeCache } from "./negative-cache.ts";
import { SingleFlight } from "./single-flight.ts";
import type { Source } from "./source.ts";
import { askedAs, nameOf } from "./source.ts";

export interface FoundTag {
  readonly manifest: Manifest;
  readonly outcome: "hit" | "miss" | "stale";
  /** Why a stale answer was given; undefined for the others. */
  readonly staleBecause: string | undefined;
  readonly decision?: Decision;
}

export interface TagCacheOptions {
  readonly manifests: ManifestCache;
  readonly metadata: MetadataStore;
  readonly negative: NegativeCache;
  readonly metrics: Metrics;
  readonly now: () => number;
}

/** Errors that say "broken", not "no": only these may be covered by what is held. */
const BROKEN = new Set([
  "upstream-unavailable",
  "upstream-limited",
  "upstream-invalid",
  "overloaded",
]);

/** Tag → digest, believed for a while, then confirmed with one HEAD for all who wait. */
export class TagCache {
  readonly #options: TagCacheOptions;
  readonly #flights = new SingleFlight<FoundTag>();
  /** Upstreams whose last revalidation failed or was slow: nobody waits long for the next one. */
  readonly #suspects = new Set<string>();

  constructor(options: TagCacheOptions) {
    this.#options = options;
  }

  async get(source: Source, tag: string): Promise<FoundTag> {
    const { metadata, manifests, now } = this.#options;
    const { tagFreshSeconds, serveStaleSeconds } = source.upstream;
    const record = await metadata.getTag(nameOf(source), tag);
    const key = `${askedAs(source)}:${tag}`;
    if (record === undefined) {
      return await this.#flights.run(key, () => this.#resolve(source, tag));
    }
    const age = { checkedAtMs: record.checkedAtMs, nowMs: now() };
    const limits = { freshSeconds: tagFreshSeconds, staleSeconds: serveStaleSeconds };
    const freshness = freshnessOf(age, limits);
    if (freshness === "fresh") {
      const found = await manifests.get(source, record.digest);
      return { ...found, staleBecause: undefined };
    }
    const revalidated = this.#flights.run(key, () => this.#revalidate(source, tag, record));
    if (freshness === "expired") {
      return await revalidated;
    }
    return await this.#orStale(source, record, revalidated);
  }

  /** As the upstream has it now: nothing remembered or stale. Undefined when it has no such tag. */
  async getNow(source: Source, tag: string, signal: AbortSignal): Promise<Manifest | undefined> {
    try {
      return await this.#fetch(source, tag, signal);
    } catch (error) {
      if (isNo(error)) {
        return;
      }
      throw error;
    }
  }

  async #resolve(source: Source, tag: string): Promise<FoundTag> {
    const key = `${askedAs(source)}:${tag}`;
    const manifest = await this.#options.negative.run(key, () => this.#fetch(source, tag));
    return { manifest, outcome: "miss", staleBecause: undefined };
  }

  async #fetch(source: Source, tag: string, signal?: AbortSignal): Promise<Manifest> {
    const { now, manifests } = this.#options;
    const { upstream, repository } = source;
    const request = { repository, reference: tag, ...(signal !== undefined && { signal }) };
    const fetched = await upstream.fetchManifest(request);
    const digest = digestOf(fetched.bytes);
    const kept = await manifests.keep(source, fetched, digest);
    await this.#remember(source, tag, { digest, checkedAtMs: now() });
    return kept;
  }

  /** One HEAD; a GET only when the digest is another, or the registry does not say. */
  async #revalidate(source: Source, tag: string, record: TagRecord): Promise<FoundTag> {
    const { now, manifests } = this.#options;
    try {
      const digest = await this.#headDigest(source, tag);
      const found = digest && (await this.#orUndefined(manifests.get(source, digest)));
      if (found === undefined || digest === undefined) {
        return await this.#resolve(source, tag);
      }
      await this.#remember(source, tag, { digest, checkedAtMs: now() });
      const outcome = digest === record.digest ? found.outcome : "miss";
      return { manifest: found.manifest, outcome, staleBecause: undefined };
    } catch (error) {
      if (isNo(error)) {
        this.#suspects.delete(source.upstream.name);
        await this.#options.metadata.deleteTag(nameOf(source), tag);
      }
      throw error;
    }
  }

  /** Undefined when HEAD does not tell: without the header, or not spoken at all. */
  async #headDigest(source: Source, tag: string): Promise<Digest | undefined> {
    const { upstream, repository } = source;
    const head = this.#options.negative.run(`${askedAs(source)}:${tag} head`, () =>
      upstream.headManifest({ repository, reference: tag }),
    );
    try {
      return (await head).digest;
    } catch (error) {
      if (error instanceof RegistryError && error.code === "upstream-invalid") {
        return;
      }
      throw error;
    }
  }

  /** A tag that moved between HEAD and GET names a digest that may be gone already. */
  async #orUndefined(found: Promise<FoundManifest>): Promise<FoundManifest | undefined> {
    try {
      return await found;
    } catch (error) {
      if (isNo(error)) {
        return;
      }
      throw error;
    }
  }

  /** What is held, when the upstream is broken or too slow; its "no" is never covered. */
  async #orStale(
    source: Source,
    record: TagRecord,
    revalidated: Promise<FoundTag>,
  ): Promise<FoundTag> {
    const { manifests } = this.#options;
    const { name } = source.upstream;
    let because = `${name} does not answer in time`;
    try {
      const { revalidateTimeoutMs, suspectTimeoutMs } = CACHE_LIMITS;
      const isSuspect = this.#suspects.has(name);
      const found = await within(revalidated, isSuspect ? suspectTimeoutMs : revalidateTimeoutMs);
      if (found !== undefined) {
        return found;
      }
    } catch (error) {
      if (!(error instanceof RegistryError && BROKEN.has(error.code))) {
        throw error;
      }
      because = error.message;
    }
    this.#suspects.add(name);
    const manifest = await manifests.held(source, record.digest);
    return manifest === undefined
      ? await revalidated
      : { manifest, outcome: "stale", staleBecause: because };
  }

  async #remember(source: Source, tag: string, record: TagRecord): Promise<void> {
    const { metadata, metrics } = this.#options;
    this.#suspects.delete(source.upstream.name);
    const move = await metadata.putTag(nameOf(source), tag, record);
    if (move !== undefined) {
      metrics.tagMoved(source.upstream.name, move.direction);
    }
  }
}

function isNo(error: unknown): boolean {
  return (
    error instanceof RegistryError && ["manifest-unknown", "name-unknown"].includes(error.code)
  );
}
