/** The candidate that `text` is most likely a slip of, or undefined when none is close. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
  const limit = text.length <= 4 ? 1 : 2;
  const [best] = candidates
    .map((candidate) => ({ candidate, distance: editDistance(fold(text), fold(candidate)) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance);
  return best?.candidate;
}

/** Case and hyphens are what people get wrong without a slip: `cert-file`, `DefaultUpstream`. */
function fold(text: string): string {
  return text.toLowerCase().replaceAll(/[-_]/gu, "");
}

/** Levenshtein: letters put in, left out or exchanged. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) {
    return Number.POSITIVE_INFINITY;
  }
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, right] of [...b].entries()) {
      const exchanged = (row[j] ?? 0) + (left === right ? 0 : 1);
      next.push(Math.min(exchanged, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
