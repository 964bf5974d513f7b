import { LRUCache } from "lru-cache";
import type { Digest } from "../../storage/digest.ts";
import type { EvidenceStore } from "../../storage/evidence-store.ts";
import type { RepositoryName } from "../../storage/metadata-store.ts";
import { POLICY_LIMITS } from "../limits.ts";

/**
 * Which allowed indexes contain a manifest, by repository. No registry can be asked that, so it is
 * written down when an index comes by; in memory as well, since the store may vanish at any time.
 */
export class Edges {
  readonly #store: EvidenceStore;
  readonly #recent = new LRUCache<string, readonly Digest[]>({
    max: POLICY_LIMITS.edgesInMemoryMax,
  });

  constructor(store: EvidenceStore) {
    this.#store = store;
  }

  /** The latest first, at most `POLICY_LIMITS.parentsMax`. */
  async parentsOf(repository: RepositoryName, child: Digest): Promise<readonly Digest[]> {
    const { parentsMax } = POLICY_LIMITS;
    const recent = this.#recent.get(`${repository}@${child}`) ?? [];
    const stored = await this.#store.getParents(repository, child, parentsMax);
    return [...new Set([...recent, ...stored])].slice(0, parentsMax);
  }

  async put(
    repository: RepositoryName,
    parent: Digest,
    children: readonly Digest[],
  ): Promise<void> {
    for (const child of children) {
      const key = `${repository}@${child}`;
      const parents = [parent, ...this.#othersThan(parent, key)];
      this.#recent.set(key, parents.slice(0, POLICY_LIMITS.parentsMax));
    }
    await this.#store.putChildren(repository, parent, children);
  }

  /** The index is allowed no longer: what stood on it falls with it. */
  async forget(
    repository: RepositoryName,
    parent: Digest,
    children: readonly Digest[],
  ): Promise<void> {
    for (const child of children) {
      const key = `${repository}@${child}`;
      const parents = this.#othersThan(parent, key);
      if (parents.length > 0) {
        this.#recent.set(key, parents);
      } else {
        this.#recent.delete(key); // nothing known takes no room from what is
      }
    }
    await this.#store.deleteChildren(repository, parent);
  }

  #othersThan(parent: Digest, key: string): Digest[] {
    return (this.#recent.get(key) ?? []).filter((digest) => digest !== parent);
  }
}
