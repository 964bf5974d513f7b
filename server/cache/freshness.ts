export type Freshness = "fresh" | "stale-usable" | "expired";

export interface Age {
  readonly checkedAtMs: number;
  readonly nowMs: number;
}

export interface FreshnessLimits {
  readonly freshSeconds: number;
  readonly staleSeconds: number;
}

/**
 * What a name that was confirmed at a time is worth now. A time in the future (the clock was set
 * back) is worth a revalidation, no more and no less.
 */
export function freshnessOf(age: Age, limits: FreshnessLimits): Freshness {
  const ageSeconds = (age.nowMs - age.checkedAtMs) / 1000;
  if (ageSeconds < 0) {
    return "stale-usable";
  }
  if (ageSeconds < limits.freshSeconds) {
    return "fresh";
  }
  return ageSeconds < limits.freshSeconds + limits.staleSeconds ? "stale-usable" : "expired";
}
