import { LRUCache } from "lru-cache";
import type { Digest } from "../../storage/digest.ts";
import type { ContentRecord, MetadataStore, RepositoryName } from "../../storage/metadata-store.ts";
import { provedName as provedNameOf } from "../../storage/metadata-store.ts";
import { CACHE_LIMITS } from "../limits.ts";
import { forgetKeys } from "./forget.ts";
import type { Source } from "./source.ts";
import { nameOf } from "./source.ts";

/**
 * Which repository contains which digest. Bytes are shared between repositories, rights are not:
 * what is held is served only where this says that it belongs.
 *
 * A manifest that was pulled from a repository says so for what it names, but where rights differ
 * from repository to repository: there whoever may push to one could name what is in another, so
 * only what its registry sent or confirmed counts, and a manifest is believed about sizes alone.
 */
export class Contents {
  readonly #metadata: MetadataStore;
  readonly #recent = new LRUCache<string, ContentRecord>({
    max: CACHE_LIMITS.membershipEntriesMax,
  });

  readonly #disputed = new LRUCache<string, true>({ max: CACHE_LIMITS.disputedSizesMax });

  constructor(metadata: MetadataStore) {
    this.#metadata = metadata;
  }

  /** Undefined when the repository is not known to contain it. */
  async get(source: Source, digest: Digest): Promise<ContentRecord | undefined> {
    return await this.#get(provedName(source), digest);
  }

  /** What is believed of a size before the bytes have been seen. */
  async sizeOf(source: Source, digest: Digest): Promise<number | undefined> {
    const known = await this.get(source, digest);
    return known?.sizeBytes ?? (await this.#get(nameOf(source), digest))?.sizeBytes;
  }

  /**
   * Whoever may push can write any size of any digest into a manifest: where the registry says
   * another one, none is believed from then on, and the digest alone decides.
   */
  async disputeSize(source: Source, digest: Digest): Promise<void> {
    for (const name of new Set([nameOf(source), provedName(source)])) {
      const key = `${name}@${digest}`;
      this.#disputed.set(key, true);
      const known = this.#recent.get(key);
      if (known !== undefined) {
        this.#recent.set(key, { ...known, sizeBytes: undefined });
      }
      await this.#metadata.forgetSize(name, digest);
    }
  }

  /** The registry sent or confirmed it, asked for it in this repository. */
  async add(source: Source, records: readonly ContentRecord[]): Promise<void> {
    await this.#add(provedName(source), records);
  }

  /** A manifest of the repository names it. */
  async claim(source: Source, records: readonly ContentRecord[]): Promise<void> {
    await this.#add(nameOf(source), records);
  }

  /** All of these repositories that is in memory. */
  forget(repositories: ReadonlySet<RepositoryName>): void {
    forgetKeys(this.#recent, repositories);
    forgetKeys(this.#disputed, repositories);
  }

  async #get(name: string, digest: Digest): Promise<ContentRecord | undefined> {
    const key = `${name}@${digest}`;
    const recent = this.#recent.get(key);
    if (recent !== undefined) {
      return recent;
    }
    const known = await this.#metadata.getContent(name, digest);
    if (known !== undefined) {
      this.#recent.set(key, known);
    }
    return known;
  }

  async #add(name: string, added: readonly ContentRecord[]): Promise<void> {
    const records = added.map((record) =>
      this.#disputed.has(`${name}@${record.digest}`) ? { ...record, sizeBytes: undefined } : record,
    );
    const unknown = records.filter((record) => !this.#knows(`${name}@${record.digest}`, record));
    if (unknown.length === 0) {
      return;
    }
    for (const record of unknown) {
      const key = `${name}@${record.digest}`;
      const known = this.#recent.get(key);
      this.#recent.set(key, {
        digest: record.digest,
        sizeBytes: record.sizeBytes ?? known?.sizeBytes,
        mediaType: record.mediaType ?? known?.mediaType,
      });
    }
    await this.#metadata.putContents(name, unknown);
  }

  #knows(key: string, record: ContentRecord): boolean {
    const known = this.#recent.get(key);
    return (
      known !== undefined &&
      (record.sizeBytes === undefined || record.sizeBytes === known.sizeBytes) &&
      (record.mediaType === undefined || record.mediaType === known.mediaType)
    );
  }
}

/** Apart from what manifests say, so that a change of access leaves nothing believed too much. */
function provedName(source: Source): string {
  const name = nameOf(source);
  return source.upstream.hasOwnRights ? provedNameOf(name) : name;
}
