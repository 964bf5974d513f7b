import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, hexOf, isDigest } from "../../storage/digest.ts";
import type { RepositoryName } from "../../storage/metadata-store.ts";
import { RegistryError } from "../errors.ts";
import type { FoundList } from "./list-cache.ts";
import { ListCache } from "./list-cache.ts";
import type { Manifest } from "./manifest-cache.ts";
import type { NegativeCache } from "./negative-cache.ts";
import type { Source } from "./source.ts";
import { nameOf } from "./source.ts";
import type { TagCache } from "./tag-cache.ts";

/** A descriptor as the registry sent it: only digest and size were looked at. */
export type ReferrerDescriptor = Readonly<Record<string, unknown>>;

/** More referrers of one manifest than this are an attack, or nobody's to read. */
const REFERRERS_MAX = 1000;
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

  /**
   * As the upstream has them now, for who must be sure of a "no": an answer that cannot be read is
   * an error, and an empty list of the API is compared with the tag that older clients write.
   */
  async getNow(
    source: Source,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<readonly ReferrerDescriptor[]> {
    const { upstream, repository } = source;
    const page = await orUndefined(
      upstream.listReferrers({ repository, digest, signal, mustBeSure: true }),
    );
    const found = page?.manifests ?? [];
    if (found.length > 0) {
      return found.filter(isDescriptor);
    }
    const manifest = await this.#tags.getNow(source, referrersTagOf(digest), signal);
    return manifest === undefined ? [] : listOf(manifest).filter(isDescriptor);
  }

  /** All of these repositories that is in memory. */
  forget(repositories: ReadonlySet<RepositoryName>): void {
    this.#lists.forget(repositories);
  }

  async #ask(source: Source, digest: Digest): Promise<readonly ReferrerDescriptor[]> {
    const { upstream, repository } = source;
    const page = await orUndefined(upstream.listReferrers({ repository, digest }));
    if (page !== undefined) {
      return usable(page.manifests);
    }
    const found = await orUndefined(this.#tags.get(source, referrersTagOf(digest)));
    return found === undefined ? [] : usable(listOf(found.manifest));
  }
}

/** distribution-spec v1.1.1 §referrers-tag-schema. */
function referrersTagOf(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest).slice(0, HEX_LENGTH_MAX)}`;
}

/** The manifest cache has parsed it once: it is a JSON object. */
function listOf({ bytes }: Manifest): readonly unknown[] {
  const index: unknown = JSON.parse(bytes.toString("utf8"));
  const list = (index as { manifests?: unknown }).manifests;
  return Array.isArray(list) ? list : [];
}

function usable(list: readonly unknown[]): readonly ReferrerDescriptor[] {
  return list.filter(isDescriptor).slice(0, REFERRERS_MAX);
}

/** Undefined when the registry does not know it. */
async function orUndefined<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isUnknown(error)) {
      return;
    }
    throw error;
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
