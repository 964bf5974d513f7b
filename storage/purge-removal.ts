import type { BlobStore } from "./blob-store.ts";
import type { Digest } from "./digest.ts";
import { StorageError } from "./errors.ts";
import type { RepositoryName } from "./metadata-store.ts";
import type { PurgeRows } from "./purge-rows.ts";

/** Rows that go in one transaction, each a few microseconds. */
const BATCH = 32;
/** Files that are removed at a time: half of the threads that pulls read with. */
const AT_ONCE = 8;
/** Repositories that a report names; all of them are counted. */
const NAMED_MAX = 100;

/** What was removed, or would be. */
export interface PurgeReport {
  /** Repositories of which something went. */
  readonly repositories: number;
  /** The first hundred of them. */
  readonly names: readonly RepositoryName[];
  readonly tags: number;
  /** "This repository contains that digest": manifests, layers and what was only named. */
  readonly contents: number;
  readonly blobs: number;
  readonly freedBytes: number;
  /** Blobs that could not be removed: the store's log says why. */
  readonly failed: number;
}

export interface RemovalOptions {
  readonly rows: PurgeRows;
  /** Each is made to forget a blob: the disk, and what stands behind it. */
  readonly stores: readonly Pick<BlobStore, "stat" | "delete">[];
  readonly isDryRun: boolean;
  /** Blobs that are being read stay, rows and all. */
  readonly isSpared: (digest: Digest) => boolean;
  /** Whether all that the repository has goes: it needs nothing then. Of dry runs only. */
  readonly goesWhole: (repository: RepositoryName) => boolean;
  /** Lets pulls in between two batches. */
  readonly pause: () => Promise<void>;
  readonly onBlob?: (report: PurgeReport) => void;
}

/**
 * Takes away blobs first and then what names them: whoever is killed in between leaves names
 * without bytes, which is a miss, and never bytes without a name, which would stay for ever.
 */
export class Removal {
  readonly touched: Set<RepositoryName> = new Set();
  readonly #options: RemovalOptions;
  /** Of a dry run: what two repositories would give up is freed once. */
  readonly #counted = new Set<Digest>();
  #tags = 0;
  #contents = 0;
  #blobs = 0;
  #freedBytes = 0;
  #failed = 0;

  constructor(options: RemovalOptions) {
    this.#options = options;
  }

  get report(): PurgeReport {
    return {
      repositories: this.touched.size,
      names: [...this.touched].slice(0, NAMED_MAX),
      tags: this.#tags,
      contents: this.#contents,
      blobs: this.#blobs,
      freedBytes: this.#freedBytes,
      failed: this.#failed,
    };
  }

  async tags(repository: RepositoryName, tags: readonly string[]): Promise<void> {
    for (let at = 0; at < tags.length; at += BATCH) {
      const batch = tags.slice(at, at + BATCH);
      this.touched.add(repository);
      this.#tags += batch.length;
      if (!this.#options.isDryRun) {
        this.#options.rows.removeTags(repository, batch);
      }
      await this.#options.pause();
    }
  }

  async contents(repository: RepositoryName, digests: readonly Digest[]): Promise<void> {
    for (let at = 0; at < digests.length; at += BATCH) {
      const batch = digests.slice(at, at + BATCH);
      const gone = await this.#release(batch, repository);
      if (gone.length > 0) {
        this.touched.add(repository);
        this.#contents += gone.length;
        if (!this.#options.isDryRun) {
          this.#options.rows.removeContents(repository, gone);
        }
      }
      await this.#options.pause();
    }
  }

  /** What is left of a repository that goes as a whole. */
  async rest(repository: RepositoryName): Promise<void> {
    const { rows, isDryRun, pause } = this.#options;
    while (!isDryRun && rows.removeRest(repository)) {
      this.touched.add(repository);
      await pause();
    }
  }

  /**
   * Removes the blobs that no other repository contains.
   *
   * @returns the digests that the repository need not know any longer.
   */
  async #release(
    digests: readonly Digest[],
    repository: RepositoryName,
  ): Promise<readonly Digest[]> {
    const gone: Digest[] = [];
    for (let at = 0; at < digests.length; at += AT_ONCE) {
      const some = digests.slice(at, at + AT_ONCE);
      const freed = await Promise.all(some.map((digest) => this.#releaseOne(digest, repository)));
      gone.push(...some.filter((_, index) => freed[index]));
    }
    return gone;
  }

  async #releaseOne(digest: Digest, repository: RepositoryName): Promise<boolean> {
    const { rows, isSpared, isDryRun, goesWhole } = this.#options;
    const isOther = (name: RepositoryName): boolean =>
      name !== repository && !(isDryRun && goesWhole(name));
    if (rows.holder(digest, isOther) !== undefined) {
      return true;
    }
    return !isSpared(digest) && (await this.blob(digest));
  }

  /** @returns whether it is not held any longer: a store that fails holds up no other one. */
  async blob(digest: Digest): Promise<boolean> {
    const { stores } = this.#options;
    const found = await Promise.all(stores.map((store) => this.#remove(store, digest)));
    const sizeBytes = found.find((one) => one.sizeBytes !== undefined)?.sizeBytes;
    if (sizeBytes !== undefined) {
      this.#count(digest, sizeBytes);
    }
    const hasFailed = found.some((one) => one.hasFailed);
    this.#failed += Number(hasFailed);
    return !hasFailed;
  }

  async #remove(store: RemovalOptions["stores"][number], digest: Digest): Promise<Removed> {
    try {
      const sizeBytes = (await store.stat(digest))?.sizeBytes;
      if (sizeBytes !== undefined && !this.#options.isDryRun) {
        await store.delete(digest);
      }
      return { sizeBytes, hasFailed: false };
    } catch (error) {
      if (error instanceof StorageError) {
        return { sizeBytes: undefined, hasFailed: true }; // it has told whoever counts and logs
      }
      throw error;
    }
  }

  #count(digest: Digest, sizeBytes: number): void {
    const { isDryRun, onBlob } = this.#options;
    if (isDryRun && this.#counted.has(digest)) {
      return;
    }
    if (isDryRun) {
      this.#counted.add(digest);
    }
    this.#blobs += 1;
    this.#freedBytes += sizeBytes;
    onBlob?.(this.report);
  }
}

/** From one store. */
interface Removed {
  /** Undefined when it was not there. */
  readonly sizeBytes: number | undefined;
  readonly hasFailed: boolean;
}
