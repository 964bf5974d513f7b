/** The figures of one measurement over all rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** The smallest value that so many of them (0 to 1) do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Undefined when nothing was measured: the peer is missing, or it failed in every round. */
export function toSpread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) {
    return undefined;
  }
  return {
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    count: values.length,
  };
}

/** `1.23 (1.20–1.30) s`; a single round has no spread to show. */
export function formatSpread(spread: Spread | undefined, unit: string, digits: number): string {
  if (spread === undefined) {
    return "–";
  }
  const show = (value: number): string => formatNumber(value, digits);
  const range = spread.count > 1 ? ` (${show(spread.min)}–${show(spread.max)})` : "";
  return `${show(spread.median)}${range} ${unit}`;
}

/** Groups thousands, so that requests a second can be read. */
export function formatNumber(value: number, digits: number): string {
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/**
 * The median over the rounds of what `compare` says of the two values of a round. A machine that is
 * slower for a while is so for a whole round: this tells less of it than comparing two medians.
 * Undefined when a side was not measured.
 */
export function medianOfRounds(
  a: readonly number[],
  b: readonly number[],
  compare: (a: number, b: number) => number,
): number | undefined {
  const pairs = a.flatMap((value, round) => {
    const other = b[round];
    return other === undefined ? [] : [compare(value, other)];
  });
  return pairs.length === 0 ? undefined : median(pairs);
}
