import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, hexOf } from "../../storage/digest.ts";
import { MEDIA_TYPES } from "../oci/media-types.ts";
import { isTag } from "../oci/reference.ts";

const REFERRERS_HEX_MAX = 64;

/** A descriptor of a manifest: image-spec v1.1.1 descriptor.md. */
export interface ManifestEntry {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An index of manifests, always the same bytes for the same entries in the same order. */
export function indexOf(entries: readonly ManifestEntry[]): Buffer {
  const manifests = entries.map(({ digest, mediaType, sizeBytes, artifactType, annotations }) => ({
    mediaType,
    digest,
    size: sizeBytes,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations !== undefined && { annotations }),
  }));
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests };
  return Buffer.from(JSON.stringify(index));
}

/** What stands in for a referrers API (distribution-spec v1.1.1 §referrers-tag-schema). */
export function referrersIndexOf(entries: readonly ManifestEntry[]): Buffer {
  return indexOf(entries.toSorted((a, b) => (a.digest < b.digest ? -1 : 1)));
}

/** distribution-spec v1.1.1 §referrers-tag-schema: of a digest, 64 characters at most. */
export function referrersTagOf(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject).slice(0, REFERRERS_HEX_MAX)}`;
}

/** Where cosign keeps what it signed; undefined where the digest is too long for a tag. */
export function cosignTagOf(subject: Digest, suffix: "sig" | "att"): string | undefined {
  const tag = `${algorithmOf(subject)}-${hexOf(subject)}.${suffix}`;
  return isTag(tag) ? tag : undefined;
}
