import { LRUCache } from "lru-cache";
import type { Digest } from "../../storage/digest.ts";
import type { ContentRecord, MetadataStore } from "../../storage/metadata-store.ts";
import { CACHE_LIMITS } from "../limits.ts";
import type { Source } from "./source.ts";
import { nameOf } from "./source.ts";

/**
 * Which repository contains which digest. Bytes are shared between repositories, rights are not:
 * what is held is served only where this says that it belongs.
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

  async get(source: Source, digest: Digest): Promise<ContentRecord | undefined> {
    const name = nameOf(source);
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

  /**
   * Whoever may push can write any size of any digest into a manifest: where the registry says
   * another one, none is believed from then on, and the digest alone decides.
   */
  async disputeSize(source: Source, digest: Digest): Promise<void> {
    const name = nameOf(source);
    const key = `${name}@${digest}`;
    this.#disputed.set(key, true);
    const known = this.#recent.get(key);
    if (known !== undefined) {
      this.#recent.set(key, { ...known, sizeBytes: undefined });
    }
    await this.#metadata.forgetSize(name, digest);
  }

  async add(source: Source, added: readonly ContentRecord[]): Promise<void> {
    const name = nameOf(source);
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
