import { join } from "node:path";
import { checkTrustedRoot } from "./trusted-root.ts";
import { latestChangeMs } from "./tuf-age.ts";
import { readLastGood, saveLastGood, sha256Hex } from "./tuf-last-good.ts";
import { refreshByTuf } from "./tuf-refresh.ts";
import type { TufSource } from "./tuf-source.ts";

export interface TufRepositoryOptions {
  /** What TUF brings is kept in a folder of its own in it. */
  readonly folder: string;
  readonly bundled: () => string;
}

/** A trusted root, and what people should know about how it came. */
export interface KnownRoot {
  readonly trustedRoot: string;
  readonly warning?: string;
}

export type Fetched =
  | ({ readonly outcome: "fetched" } & KnownRoot)
  | { readonly outcome: "unreachable" | "refused" | "failed"; readonly problem: string };

/** Trusts nothing: until a private repository was reached, nobody else's root stands in for its. */
export const EMPTY_ROOT =
  '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}';

/** One TUF repository, and what was learned from it. */
export class TufRepository {
  readonly source: TufSource;
  readonly #folder: string;
  readonly #bundled: () => string;

  constructor(source: TufSource, { folder, bundled }: TufRepositoryOptions) {
    this.source = source;
    this.#folder = join(folder, source.id);
    this.#bundled = bundled;
  }

  /** What is trusted before the network was asked: the last good one, or what is bundled. */
  known(): KnownRoot {
    const fallback = this.#fallback();
    try {
      const kept = readLastGood(this.#folder);
      if (kept === undefined) {
        return { trustedRoot: fallback };
      }
      const problem = this.#check(kept.trustedRoot);
      if (problem !== undefined) {
        throw new Error(problem);
      }
      // The repository had the last word over what was bundled then. If something else is bundled
      // now, the program was replaced, and the later of both counts until the next refresh.
      const isReplaced = kept.bundled !== sha256Hex(fallback);
      const isOutdated = latestChangeMs(fallback) > latestChangeMs(kept.trustedRoot);
      return { trustedRoot: isReplaced && isOutdated ? fallback : kept.trustedRoot };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return {
        trustedRoot: fallback,
        warning: `the last good trusted root on disk cannot be used: ${why}`,
      };
    }
  }

  /** Asks the repository. What is new and sound is on disk when this resolves; it never rejects. */
  async fetch(signal: AbortSignal): Promise<Fetched> {
    const { source } = this;
    const answer = await refreshByTuf({ source, folder: join(this.#folder, "tuf") }, signal);
    if (answer.outcome !== "fetched") {
      return answer;
    }
    const { trustedRoot, isReset } = answer;
    const problem = this.#check(trustedRoot);
    if (problem !== undefined) {
      return { outcome: "refused", problem };
    }
    if (signal.aborted) {
      return { outcome: "failed", problem: "it was given up" };
    }
    const warnings = isReset ? ["the TUF metadata on disk was damaged, and begun anew"] : [];
    try {
      await saveLastGood(this.#folder, { trustedRoot, bundled: sha256Hex(this.#fallback()) });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      warnings.push(`the trusted root could not be kept on disk: ${why}`);
    }
    const warning = warnings.join("; ");
    return { outcome: "fetched", trustedRoot, ...(warning === "" ? {} : { warning }) };
  }

  /** Sigstore's own must have a log; a private one may do with timestamps, as its rules say. */
  #check(trustedRoot: string): string | undefined {
    const log = this.source.root === undefined;
    return checkTrustedRoot(trustedRoot, { log, certificates: true, timestamps: false });
  }

  /** The bundled root is Sigstore's: it says nothing about a repository with a root of its own. */
  #fallback(): string {
    return this.source.root === undefined ? this.#bundled() : EMPTY_ROOT;
  }
}
