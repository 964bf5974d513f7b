import type { RepositoryName } from "../../storage/metadata-store.ts";

/** What is kept by keys that begin with the name of a repository. */
interface Kept {
  keys(): Iterable<string>;
  delete(key: string): boolean;
}

/** No repository has a space or an @ in its name: what stands before the first is one. */
const NAME_PATTERN = /^[^ @]*/;

/** Drops all that is in memory of these repositories, in one pass. */
export function forgetKeys(kept: Kept, repositories: ReadonlySet<RepositoryName>): void {
  for (const key of [...kept.keys()]) {
    if (repositories.has(NAME_PATTERN.exec(key)?.[0] ?? "")) {
      kept.delete(key);
    }
  }
}
