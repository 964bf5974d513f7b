import type { BlobIndex } from "./blob-index.ts";
import type { BlobStore } from "./blob-store.ts";
import type { Database } from "./database.ts";
import type { Digest } from "./digest.ts";
import type { RepositoryName } from "./metadata-store.ts";
import type { NamesOf } from "./purge-graph.ts";
import { CLOSURE_MAX, PurgeGraph } from "./purge-graph.ts";
import type { PurgeReport } from "./purge-removal.ts";
import { Removal } from "./purge-removal.ts";
import type { ContentRow } from "./purge-rows.ts";
import { PurgeRows } from "./purge-rows.ts";
import type { RetentionRule } from "./retention.ts";
import { sortTags } from "./retention.ts";
import type { RetentionClock } from "./retention-clock.ts";
import { subjectOf } from "./retention-companions.ts";
import type { NameUses } from "./retention-uses.ts";

/** Blobs that are looked at together. */
const PAGE = 256;

/** What is to go. Without `tags`, `digest` and `usedBeforeMs`: all of the repositories. */
export interface PurgeTarget {
  readonly matches: (repository: RepositoryName) => boolean;
  readonly tags?: (tag: string) => boolean;
  readonly digest?: Digest;
  /** What was last used before it, in milliseconds since the epoch. */
  readonly usedBeforeMs?: number;
  /** With `usedBeforeMs`: blobs that no repository is known to contain as well. */
  readonly withNameless?: boolean;
}

export interface PurgeRun {
  readonly namesOf: NamesOf;
  readonly isDryRun?: boolean;
  readonly signal?: AbortSignal;
  /** Waits between two batches; by default only for what else is to be done. */
  readonly pause?: () => Promise<void>;
  /** What stands behind the disk, and would bring back what goes. */
  readonly behind?: readonly Pick<BlobStore, "stat" | "delete">[];
  readonly onProgress?: (report: PurgeReport) => void;
  /** Of retention: a blob that nobody needs any longer went. */
  readonly onEvicted?: () => void;
}

export interface PurgeOutcome {
  readonly report: PurgeReport;
  /** Whatever is in memory of these is to be forgotten. */
  readonly repositories: ReadonlySet<RepositoryName>;
}

export interface PurgerOptions {
  readonly database: Database;
  readonly index: BlobIndex;
  readonly uses: NameUses;
  readonly store: BlobStore;
  readonly isPinned: (digest: Digest) => boolean;
  readonly clock: Pick<RetentionClock, "read">;
}

/** What of one repository goes. */
interface Plan {
  readonly tags: readonly string[];
  readonly isGone: (row: ContentRow) => boolean;
  readonly isWhole?: boolean;
}

/** Removes what was asked for by name, and what has expired, with the blobs that nobody needs then. */
export class Purger {
  readonly #options: PurgerOptions;
  readonly #rows: PurgeRows;

  constructor(options: PurgerOptions) {
    this.#options = options;
    this.#rows = new PurgeRows(options.database);
  }

  /** By request. A blob that is being read goes as well: its readers have it to the end. */
  async purge(target: PurgeTarget, run: PurgeRun): Promise<PurgeOutcome> {
    const isWhole = !target.tags && !target.digest && target.usedBeforeMs === undefined;
    const removal = this.#removal(run, {
      isSpared: () => false,
      goesWhole: isWhole ? target.matches : () => false,
    });
    await this.#each(run, removal, async (repository) =>
      target.matches(repository) ? await this.#planOf(repository, target, run) : undefined,
    );
    if (target.usedBeforeMs !== undefined && target.withNameless === true) {
      await this.#nameless(target.usedBeforeMs, run, removal);
    }
    return { report: removal.report, repositories: removal.touched };
  }

  /** By age. The first rule that matches a repository decides; what is being read stays. */
  async expire(rules: readonly RetentionRule[], run: PurgeRun): Promise<PurgeOutcome> {
    const removal = this.#removal(run, {
      isSpared: this.#options.isPinned,
      goesWhole: () => false,
    });
    await this.#each(run, removal, async (repository) => {
      const rule = rules.find(({ matches }) => matches(repository));
      return rule && (await this.#expiryOf(repository, rule, run));
    });
    return { report: removal.report, repositories: removal.touched };
  }

  #removal(
    run: PurgeRun,
    parts: {
      readonly isSpared: (digest: Digest) => boolean;
      readonly goesWhole: (repository: RepositoryName) => boolean;
    },
  ): Removal {
    return new Removal({
      ...parts,
      rows: this.#rows,
      stores: [this.#options.store, ...(run.behind ?? [])],
      isDryRun: run.isDryRun === true,
      pause: pauseOf(run),
      onBlob: (report) => {
        run.onEvicted?.();
        run.onProgress?.(report);
      },
    });
  }

  async #each(
    run: PurgeRun,
    removal: Removal,
    planOf: (repository: RepositoryName) => Promise<Plan | undefined>,
  ): Promise<void> {
    this.#options.uses.flush();
    const pause = pauseOf(run);
    for (const repository of this.#rows.repositories()) {
      if (run.signal?.aborted) {
        return;
      }
      const plan = await planOf(repository);
      if (plan !== undefined) {
        await this.#carryOut(plan, repository, { removal, signal: run.signal });
      }
      await pause();
    }
  }

  /** Tags first: whoever asks for one from now on asks the registry. */
  async #carryOut(
    plan: Plan,
    repository: RepositoryName,
    { removal, signal }: { readonly removal: Removal; readonly signal: AbortSignal | undefined },
  ): Promise<void> {
    await removal.tags(repository, plan.tags);
    for (const page of this.#rows.contents(repository)) {
      if (signal?.aborted) {
        return;
      }
      const gone = page.filter(plan.isGone).map(({ digest }) => digest);
      await removal.contents(repository, gone);
    }
    if (plan.isWhole === true) {
      await removal.rest(repository);
    }
  }

  async #planOf(
    repository: RepositoryName,
    { tags, digest, usedBeforeMs }: PurgeTarget,
    run: PurgeRun,
  ): Promise<Plan> {
    const all = [...this.#rows.tags(repository)];
    if (usedBeforeMs !== undefined) {
      const isOld = ({ usedAtMs }: { readonly usedAtMs: number }): boolean =>
        usedAtMs < usedBeforeMs;
      return { tags: all.filter(isOld).map(({ tag }) => tag), isGone: isOld };
    }
    if (tags === undefined && digest === undefined) {
      return { tags: all.map(({ tag }) => tag), isGone: () => true, isWhole: true };
    }
    const named = all.filter((row) => tags?.(row.tag) === true || row.digest === digest);
    return await this.#without(repository, { named: named.map(({ tag }) => tag), digest }, run);
  }

  async #expiryOf(
    repository: RepositoryName,
    rule: RetentionRule,
    run: PurgeRun,
  ): Promise<Plan | undefined> {
    const nowMs = this.#options.clock.read();
    const all = [...this.#rows.tags(repository)];
    const images = all.filter(({ tag }) => subjectOf(tag) === undefined);
    const { expired, newest } = sortTags(rule, images, nowMs);
    const named = expired.map(({ tag }) => tag);
    const { unusedMs } = rule;
    if (unusedMs === undefined) {
      return named.length === 0
        ? undefined
        : await this.#without(repository, { named, digest: undefined }, run);
    }
    const isUnused = (usedAtMs: number): boolean => nowMs - usedAtMs > unusedMs;
    const graph = this.#graphOf(repository, run);
    const needed = newest.map(({ digest }) => digest);
    const stays = await graph.closureOf(needed);
    // Nobody asks for a signature by its tag: it stays as long as what it signs.
    for (const { tag, digest, usedAtMs } of all) {
      const subject = subjectOf(tag);
      if (subject !== undefined) {
        const subjectUsedAtMs = this.#rows.usedAtMs(repository, subject) ?? 0;
        const isKept = stays.has(subject) || !isUnused(Math.max(usedAtMs, subjectUsedAtMs));
        isKept ? needed.push(digest) : named.push(tag);
      }
    }
    const staysToo = await graph.closureOf(needed);
    // Cut off there, nobody knows what else is needed.
    const isGone = ({ digest, usedAtMs }: ContentRow): boolean =>
      staysToo.size < CLOSURE_MAX && isUnused(usedAtMs) && !staysToo.has(digest);
    return { tags: named, isGone };
  }

  async #without(
    repository: RepositoryName,
    what: { readonly named: readonly string[]; readonly digest: Digest | undefined },
    run: PurgeRun,
  ): Promise<Plan> {
    const tags = new Set(what.named);
    if (tags.size === 0 && what.digest === undefined) {
      return { tags: [], isGone: () => false };
    }
    const gone = await this.#graphOf(repository, run).withoutTags(tags, what.digest);
    return { tags: [...tags], isGone: ({ digest }) => gone.has(digest) };
  }

  #graphOf(repository: RepositoryName, { namesOf }: PurgeRun): PurgeGraph {
    return new PurgeGraph(repository, { rows: this.#rows, store: this.#options.store, namesOf });
  }

  /** What a database that was lost has left behind: nobody knows whose it is. */
  async #nameless(beforeMs: number, run: PurgeRun, removal: Removal): Promise<void> {
    const pause = pauseOf(run);
    let kept = 0;
    for (;;) {
      const page = this.#options.index.unused(beforeMs, PAGE, kept);
      for (const { digest } of page) {
        const isNamed = this.#rows.holder(digest, () => true) !== undefined;
        const isGone = !isNamed && (await removal.blob(digest));
        kept += isGone && run.isDryRun !== true ? 0 : 1;
      }
      if (page.length < PAGE || run.signal?.aborted) {
        return;
      }
      await pause();
    }
  }
}

function pauseOf(run: PurgeRun): () => Promise<void> {
  return run.pause ?? (() => new Promise((resolve) => setImmediate(resolve)));
}
