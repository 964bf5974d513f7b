import type { RepositoryName } from "./metadata-store.ts";
import type { TagRow } from "./purge-rows.ts";

/** What of a repository is kept. At least one of unusedMs and keepTags. */
export interface RetentionRule {
  readonly matches: (repository: RepositoryName) => boolean;
  /** What was not used for so long expires. */
  readonly unusedMs?: number;
  /** The newest so many of the tags that `isNamed` passes stay, by their last confirmation. */
  readonly keepTags?: number;
  readonly isNamed: (tag: string) => boolean;
}

export interface TagsSorted {
  readonly expired: readonly TagRow[];
  /** Among the newest: they stay with all that they are made of, used or not. */
  readonly newest: readonly TagRow[];
}

/**
 * Which tags of a repository expire, of those that stand for images. With both conditions a tag expires when both say so: it was
 * not used for so long, and it is none of the newest. Tags that are not named know the first only.
 */
export function sortTags(rule: RetentionRule, tags: Iterable<TagRow>, nowMs: number): TagsSorted {
  const { unusedMs, keepTags, isNamed } = rule;
  const all = [...tags];
  const named = keepTags === undefined ? [] : all.filter(({ tag }) => isNamed(tag));
  const byAge = named.toSorted((a, b) => b.checkedAtMs - a.checkedAtMs || (a.tag < b.tag ? 1 : -1));
  const newest = byAge.slice(0, keepTags ?? 0);
  const stays = new Set(newest);
  const mayExpire = unusedMs === undefined ? byAge : all;
  const isUnused = ({ usedAtMs }: TagRow): boolean =>
    unusedMs === undefined || nowMs - usedAtMs > unusedMs;
  return { expired: mayExpire.filter((tag) => !stays.has(tag) && isUnused(tag)), newest };
}
