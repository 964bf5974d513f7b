import { LRUCache } from "lru-cache";
import { RegistryError } from "../errors.ts";
import { CACHE_LIMITS } from "../limits.ts";

/**
 * Remembers for seconds that a registry said no or failed, so that a crowd of retrying clients
 * does not become a crowd of requests upstream.
 */
export class NegativeCache {
  readonly #errors: LRUCache<string, RegistryError>;

  constructor(now: () => number) {
    this.#errors = new LRUCache({
      max: CACHE_LIMITS.negativeEntriesMax,
      ttlResolution: 0,
      perf: { now },
    });
  }

  /** Runs `ask`, unless it failed a moment ago: then that error is thrown again. */
  async run<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const remembered = this.#errors.get(key);
    if (remembered !== undefined) {
      throw remembered;
    }
    try {
      return await ask();
    } catch (error) {
      this.#remember(key, error);
      throw error;
    }
  }

  /** What an earlier `run` failed with, while it is remembered. */
  get(key: string): RegistryError | undefined {
    return this.#errors.get(key);
  }

  /** Another configuration, or another log-in, may do better. */
  clear(): void {
    this.#errors.clear();
  }

  #remember(key: string, error: unknown): void {
    if (error instanceof RegistryError) {
      const ttl = ttlMs(error);
      if (ttl > 0) {
        this.#errors.set(key, error, { ttl });
      }
    }
  }
}

function ttlMs(error: RegistryError): number {
  switch (error.code) {
    case "manifest-unknown":
    case "blob-unknown":
    case "name-unknown":
      return CACHE_LIMITS.notFoundMs;
    case "upstream-refused":
      return CACHE_LIMITS.refusedMs;
    case "upstream-unavailable":
    case "upstream-limited":
    case "upstream-invalid":
      return CACHE_LIMITS.failedMs;
    default:
      return 0;
  }
}
