import { MEDIA_TYPES } from "../oci/media-types.ts";

/**
 * Every kind of manifest, so that the registry converts nothing: the bytes must be those that the
 * digest names. The last entry is what containerd sends, too: some registries refuse without it.
 */
export const MANIFEST_ACCEPT: string = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.ociArtifact,
  "*/*",
].join(", ");

export const INDEX_ACCEPT: string = MEDIA_TYPES.ociIndex;

const MANIFEST_TYPE_PATTERN =
  /^application\/(?:json|vnd\.oci\.[a-z0-9.+-]+|vnd\.docker\.distribution\.manifest\.[a-z0-9.+-]+|[a-z0-9.+-]+\+json)$/i;

/** False for what a login page, a bucket listing or a captive portal is sent as. */
export function isManifestType(mediaType: string): boolean {
  return mediaType.length <= 255 && MANIFEST_TYPE_PATTERN.test(mediaType);
}
