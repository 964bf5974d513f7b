const KIBI = 1024;
const KILO = 1000;
const UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: KIBI,
  MiB: KIBI ** 2,
  GiB: KIBI ** 3,
  TiB: KIBI ** 4,
  kB: KILO,
  MB: KILO ** 2,
  GB: KILO ** 3,
  TB: KILO ** 4,
};
const BINARY_UNITS = ["TiB", "GiB", "MiB", "KiB"] as const;

/** For JSON Schema: what parseBytes takes as text. */
export const BYTES_PATTERN: string = "^[0-9]+ ?([KMGT]iB|kB|[MGT]B|B)?$";

/** `50GiB`, `512 MiB`, `20GB` or a whole number of bytes; undefined for anything else. */
export function parseBytes(text: string | number): number | undefined {
  if (typeof text === "number") {
    return Number.isSafeInteger(text) && text >= 0 ? text : undefined;
  }
  if (!new RegExp(BYTES_PATTERN, "u").test(text)) {
    return undefined;
  }
  const unit = /[A-Za-z]+$/u.exec(text)?.[0] ?? "B";
  const bytes = Number.parseInt(text, 10) * (UNIT_BYTES[unit] ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The shortest exact spelling: `50GiB`, or the plain number when no binary unit divides it. */
export function formatBytes(bytes: number): string | number {
  const unit = BINARY_UNITS.find((candidate) => bytes % (UNIT_BYTES[candidate] ?? 1) === 0);
  return unit === undefined || bytes === 0 ? bytes : `${bytes / (UNIT_BYTES[unit] ?? 1)}${unit}`;
}
