import type { Digest } from "./digest.ts";

/** The tag that stands in for the referrers API, and cosign's .sig, .att and .sbom. */
const COMPANION_PATTERN = /^(sha256|sha512)-([0-9a-f]{64})/;

/** What a tag belongs to that is no image's own; undefined for all others. */
export function subjectOf(tag: string): Digest | undefined {
  const [, algorithm, hex = ""] = COMPANION_PATTERN.exec(tag) ?? [];
  return algorithm === undefined ? undefined : (`${algorithm}:${hex}` as Digest);
}
