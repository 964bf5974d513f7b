import { LRUCache } from "lru-cache";
import type { RepositoryName } from "../../storage/metadata-store.ts";
import { RegistryError } from "../errors.ts";
import { CACHE_LIMITS } from "../limits.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { within } from "../within.ts";
import { forgetKeys } from "./forget.ts";
import { freshnessOf } from "./freshness.ts";
import type { NegativeCache } from "./negative-cache.ts";
import { SingleFlight } from "./single-flight.ts";

export interface FoundList<T> {
  readonly list: T;
  readonly outcome: "hit" | "miss" | "stale";
  readonly staleBecause: string | undefined;
}

interface Kept<T> {
  readonly list: T;
  readonly checkedAtMs: number;
}

/** Errors that a list which is held may cover. */
const BROKEN = new Set(["upstream-unavailable", "upstream-limited", "upstream-invalid"]);
const ENTRY_BYTES_MIN = 256;

/** Lists that change (tags, referrers): asked once for all who wait, kept as long as a tag is. */
export class ListCache<T extends object> {
  readonly #negative: NegativeCache;
  readonly #now: () => number;
  readonly #flights = new SingleFlight<T>();
  readonly #kept: LRUCache<string, Kept<T>>;

  constructor(options: {
    readonly negative: NegativeCache;
    readonly now: () => number;
    readonly sizeOf: (list: T) => number;
  }) {
    this.#negative = options.negative;
    this.#now = options.now;
    this.#kept = new LRUCache({
      maxSize: CACHE_LIMITS.listMemoryBytes,
      sizeCalculation: (kept) => ENTRY_BYTES_MIN + options.sizeOf(kept.list),
    });
  }

  async get(upstream: Upstream, key: string, ask: () => Promise<T>): Promise<FoundList<T>> {
    const kept = this.#kept.get(key);
    const freshness = kept && this.#freshness(upstream, kept);
    if (kept !== undefined && freshness === "fresh") {
      return { list: kept.list, outcome: "hit", staleBecause: undefined };
    }
    const asker = `${key} ${upstream.account ?? ""}`;
    const asked = this.#flights.run(asker, () => this.#ask(key, asker, ask));
    if (kept === undefined || freshness !== "stale-usable") {
      return { list: await asked, outcome: "miss", staleBecause: undefined };
    }
    return await this.#orStale(kept, asked, upstream.name);
  }

  /** All of these repositories that is in memory. */
  forget(repositories: ReadonlySet<RepositoryName>): void {
    forgetKeys(this.#kept, repositories);
  }

  /** As it is with tags: "broken" and "slow" are covered, "no" is not. */
  async #orStale(kept: Kept<T>, asked: Promise<T>, name: string): Promise<FoundList<T>> {
    let staleBecause = `${name} does not answer in time`;
    try {
      const list = await within(asked, CACHE_LIMITS.revalidateTimeoutMs);
      if (list !== undefined) {
        return { list, outcome: "miss", staleBecause: undefined };
      }
    } catch (error) {
      if (!(error instanceof RegistryError && BROKEN.has(error.code))) {
        throw error;
      }
      staleBecause = error.message;
    }
    return { list: kept.list, outcome: "stale", staleBecause };
  }

  async #ask(key: string, asker: string, ask: () => Promise<T>): Promise<T> {
    const list = await this.#negative.run(asker, ask);
    this.#kept.set(key, { list, checkedAtMs: this.#now() });
    return list;
  }

  #freshness(upstream: Upstream, kept: Kept<T>): ReturnType<typeof freshnessOf> {
    return freshnessOf(
      { checkedAtMs: kept.checkedAtMs, nowMs: this.#now() },
      { freshSeconds: upstream.tagFreshSeconds, staleSeconds: upstream.serveStaleSeconds },
    );
  }
}
