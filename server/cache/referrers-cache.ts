import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, hexOf, isDigest } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import type { FoundList } from "./list-cache.ts";
import { ListCache } from "./list-cache.ts";
import type { NegativeCache } from "./negative-cache.ts";
import type { Source } from "./source.ts";
import { nameOf } from "./source.ts";
import type { TagCache } from "./tag-cache.ts";

/** A descriptor as the registry sent it: only digest and size were looked at. */
export type ReferrerDescriptor = Readonly<Record<string, unknown>>;

/** More referrers of one manifest than this are an attack, or nobody's to read. */
const REFERRERS_MAX = 1000;
/** distribution-spec v1.1.1 §referrers-tag-schema. */
const HEX_LENGTH_MAX = 64;
const DESCRIPTOR_BYTES = 600;

/** What refers to a manifest: by the API, or by the tag that stands in for it. */
export class ReferrersCache {
  readonly #tags: TagCache;
  readonly #lists: ListCache<readonly ReferrerDescriptor[]>;

  constructor(options: {
    readonly tags: TagCache;
    readonly negative: NegativeCache;
    readonly now: () => number;
  }) {
    this.#tags = options.tags;
    this.#lists = new ListCache({
      negative: options.negative,
      now: options.now,
      sizeOf: (list) => list.length * DESCRIPTOR_BYTES,
    });
  }

  /** An unknown digest has no referrers: that is an empty list and not an error. */
  get(source: Source, digest: Digest): Promise<FoundList<readonly ReferrerDescriptor[]>> {
    const key = `${nameOf(source)}@${digest} referrers`;
    return this.#lists.get(source.upstream, key, () => this.#ask(source, digest));
  }

  async #ask(source: Source, digest: Digest): Promise<readonly ReferrerDescriptor[]> {
    const { upstream, repository } = source;
    let page: { readonly manifests: readonly unknown[] } | undefined;
    try {
      page = await upstream.listReferrers({ repository, digest });
    } catch (error) {
      if (!isUnknown(error)) {
        throw error;
      }
    }
    const found = page?.manifests ?? (await this.#byTag(source, digest));
    return found.filter(isDescriptor).slice(0, REFERRERS_MAX);
  }

  async #byTag(source: Source, digest: Digest): Promise<readonly unknown[]> {
    const tag = `${algorithmOf(digest)}-${hexOf(digest).slice(0, HEX_LENGTH_MAX)}`;
    try {
      const { manifest } = await this.#tags.get(source, tag);
      const index: unknown = JSON.parse(manifest.bytes.toString("utf8"));
      const list = (index as { manifests?: unknown }).manifests;
      return Array.isArray(list) ? list : [];
    } catch (error) {
      if (isUnknown(error)) {
        return [];
      }
      throw error;
    }
  }
}

function isDescriptor(value: unknown): value is ReferrerDescriptor {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const { digest, size } = value as ReferrerDescriptor;
  return isDigest(digest) && Number.isSafeInteger(size) && Number(size) >= 0;
}

function isUnknown(error: unknown): boolean {
  return (
    error instanceof RegistryError && ["manifest-unknown", "name-unknown"].includes(error.code)
  );
}
