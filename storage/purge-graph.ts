import type { BlobReader, BlobStore } from "./blob-store.ts";
import type { Digest } from "./digest.ts";
import { algorithmOf, digestOf } from "./digest.ts";
import type { RepositoryName } from "./metadata-store.ts";
import type { PurgeRows, TagRow } from "./purge-rows.ts";
import { subjectOf } from "./retention-companions.ts";

/** distribution-spec v1.1.1: what a registry must take; larger ones are never cached. */
const MANIFEST_BYTES_MAX = 4_194_304;
/** What one image may be made of, signatures included; more is nobody's image. */
export const CLOSURE_MAX = 200_000;

/** The digests that a manifest names. May throw for what is none. */
export type NamesOf = (bytes: Uint8Array) => readonly Digest[];

/** What manifests of one repository are made of, as far as their bytes are held. */
export class PurgeGraph {
  readonly #rows: PurgeRows;
  readonly #store: Pick<BlobStore, "open">;
  readonly #namesOf: NamesOf;
  readonly #repository: RepositoryName;

  constructor(
    repository: RepositoryName,
    parts: {
      readonly rows: PurgeRows;
      readonly store: Pick<BlobStore, "open">;
      readonly namesOf: NamesOf;
    },
  ) {
    this.#repository = repository;
    this.#rows = parts.rows;
    this.#store = parts.store;
    this.#namesOf = parts.namesOf;
  }

  /** Each digest of `roots` with all that it names, and so on; CLOSURE_MAX of them when there are more. */
  async closureOf(roots: Iterable<Digest>): Promise<Map<Digest, readonly Digest[]>> {
    const found = new Map<Digest, readonly Digest[]>();
    const queue = [...roots];
    for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
      if (!found.has(digest) && found.size < CLOSURE_MAX) {
        const named = await this.#namedBy(digest);
        found.set(digest, named);
        queue.push(...named.filter((one) => !found.has(one)));
      }
    }
    return found;
  }

  /**
   * What of the repository nobody needs once the tags and the digest have gone: manifests that
   * other tags name, that other manifests name or that were pulled by digest stay, with all that
   * they are made of. Signatures of what goes, as tags, go with it: they are added to `tags`.
   */
  async withoutTags(tags: Set<string>, digest?: Digest): Promise<ReadonlySet<Digest>> {
    for (;;) {
      const roots = new Set<Digest>(digest === undefined ? [] : [digest]);
      for (const row of this.#rows.tags(this.#repository)) {
        if (tags.has(row.tag)) {
          roots.add(row.digest);
        }
      }
      const gone = await this.#goneWithout(roots, tags, digest);
      const companions = [...this.#companions(gone)].filter(({ tag }) => !tags.has(tag));
      if (companions.length === 0) {
        return gone;
      }
      for (const { tag } of companions) {
        tags.add(tag);
      }
    }
  }

  *#companions(gone: ReadonlySet<Digest>): Generator<TagRow, void, undefined> {
    for (const row of this.#rows.tags(this.#repository)) {
      const subject = subjectOf(row.tag);
      if (subject !== undefined && gone.has(subject)) {
        yield row;
      }
    }
  }

  async #goneWithout(
    roots: ReadonlySet<Digest>,
    tags: ReadonlySet<string>,
    forced: Digest | undefined,
  ): Promise<ReadonlySet<Digest>> {
    const closure = await this.closureOf(roots);
    const needed = new Set<Digest>();
    const need = (digest: Digest): void => {
      const queue = [digest];
      for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
        if (closure.has(one) && !needed.has(one) && one !== forced) {
          needed.add(one);
          queue.push(...(closure.get(one) ?? []));
        }
      }
    };
    for (const row of this.#rows.tags(this.#repository)) {
      if (!tags.has(row.tag)) {
        need(row.digest);
      }
    }
    for (const page of this.#rows.contents(this.#repository)) {
      for (const { digest, isManifest } of page) {
        if (isManifest && !closure.has(digest)) {
          (await this.#read(digest)).forEach(need);
        }
      }
    }
    return new Set([...closure.keys()].filter((digest) => !needed.has(digest)));
  }

  /** Only what the registry gave out as a manifest is read as one. */
  async #namedBy(digest: Digest): Promise<readonly Digest[]> {
    return this.#rows.isManifest(this.#repository, digest) ? await this.#read(digest) : [];
  }

  async #read(digest: Digest): Promise<readonly Digest[]> {
    try {
      await using reader = await this.#store.open(digest);
      const bytes = reader && (await wholeOf(reader));
      const isRight = bytes !== undefined && digestOf(bytes, algorithmOf(digest)) === digest;
      return isRight ? this.#namesOf(bytes) : [];
    } catch {
      return []; // what it is made of is not known, and will be learned again when it is pulled
    }
  }
}

async function wholeOf(reader: BlobReader): Promise<Buffer | undefined> {
  if (reader.sizeBytes > MANIFEST_BYTES_MAX) {
    return;
  }
  const bytes = Buffer.alloc(reader.sizeBytes);
  let done = 0;
  for await (const chunk of reader) {
    bytes.set(chunk, done);
    done += chunk.byteLength;
  }
  return bytes;
}
