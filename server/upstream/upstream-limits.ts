import type { UPSTREAM_LIMITS } from "../limits.ts";

/** The numbers of UPSTREAM_LIMITS, which a test may make smaller. */
export type UpstreamLimits = { readonly [Name in keyof typeof UPSTREAM_LIMITS]: number };

/** What would make a test slow or random, so it comes from outside. */
export interface Surroundings {
  /** Milliseconds since the epoch, roughly: it must not jump when the clock is set. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Rejects with the signal's reason when that comes first. */
  readonly delay: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}
