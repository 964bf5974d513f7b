const DAY_MS = 86_400_000;
/** RFC 3339 §5.6: `2027-01-31`, or with a time of day and its offset. */
const MOMENT_PATTERN =
  /^(?<day>\d{4}-\d{2}-\d{2})(?:[Tt](?<time>\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)(?<zone>[Zz]|[+-]\d{2}:\d{2}))?$/u;

/**
 * Until when something counts, in milliseconds since the epoch: a date until its end in UTC, a
 * time until then. Undefined for anything else, and for days that no month has.
 */
export function parseUntil(text: string): number | undefined {
  const { day, time, zone } = MOMENT_PATTERN.exec(text)?.groups ?? {};
  const midnightMs = Date.parse(`${day}T00:00:00Z`);
  // Date.parse takes 30 February for 2 March.
  if (Number.isNaN(midnightMs) || new Date(midnightMs).toISOString().slice(0, 10) !== day) {
    return undefined;
  }
  if (time === undefined) {
    return midnightMs + DAY_MS;
  }
  const atMs = Date.parse(`${day}T${time}${zone?.toUpperCase()}`);
  return Number.isNaN(atMs) ? undefined : atMs;
}
