/** Longer ones are nobody's: it keeps the pattern from working for nothing. */
const TEXT_MAX = 64;
const DURATION_PATTERN = /^([+-]?)((?:\d+(?:\.\d*)?(?:ns|us|µs|μs|ms|s|m|h))+)$/;
const PART_PATTERN = /(\d+(?:\.\d*)?)(ns|us|µs|μs|ms|s|m|h)/g;
const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3], // U+00B5, as Go prints it
  ["μs", 1e-3], // U+03BC, which Go reads as well
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

/**
 * A duration as Go writes it, `12h0m0s` or `300ms`, in milliseconds; `0` needs no unit. Undefined
 * for anything else.
 *
 * @see https://pkg.go.dev/time#ParseDuration
 */
export function parseGoDuration(text: string): number | undefined {
  if (text === "0") {
    return 0;
  }
  const match = text.length > TEXT_MAX ? null : DURATION_PATTERN.exec(text);
  if (match === null) {
    return undefined;
  }
  const [, sign, parts = ""] = match;
  let sum = 0;
  for (const [, count, unit = ""] of parts.matchAll(PART_PATTERN)) {
    sum += Number(count) * (UNIT_MS.get(unit) ?? 0);
  }
  return sign === "-" ? -sum : sum;
}
