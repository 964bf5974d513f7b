import { POLICY_LIMITS } from "../../limits.ts";

/**
 * How long to wait for the next refresh, in milliseconds: a day, or after failures in a row a
 * minute, two, four, up to an hour. A tenth more at most, so that many do not ask together.
 *
 * @param random from 0 to 1.
 */
export function refreshDelayMs(failuresInARow: number, random: number): number {
  const { trustRefreshMs, trustRetryMinMs, trustRetryMaxMs } = POLICY_LIMITS;
  const delayMs =
    failuresInARow === 0
      ? trustRefreshMs
      : Math.min(trustRetryMaxMs, trustRetryMinMs * 2 ** (failuresInARow - 1));
  return Math.round(delayMs * (1 + random / 10));
}

/** How long to wait for the first refresh after a start, in milliseconds. */
export function firstRefreshDelayMs(random: number): number {
  return Math.round(POLICY_LIMITS.trustFirstRefreshMs * (0.2 + 0.8 * random));
}

/** Runs something once, later; the answer calls it off. */
export type Later = (run: () => void, delayMs: number) => () => void;

/** By a timer that does not keep the program alive. */
export const laterByTimer: Later = (run, delayMs) => {
  const timer = setTimeout(run, delayMs).unref();
  return () => clearTimeout(timer);
};
