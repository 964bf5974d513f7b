import { MEDIA_TYPES } from "../oci/media-types.ts";

/**
 * What a manifest is, when nobody says so: as its own `mediaType` has it, else by what is in it.
 * It is judged as that; it goes out as a blob all the same.
 */
export function mediaTypeFromBytes(bytes: Buffer): string {
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString("utf8"));
  } catch {
    return MEDIA_TYPES.ociManifest; // it is refused as one, with the reason
  }
  const { mediaType, manifests } = Object(document) as Record<string, unknown>;
  if (typeof mediaType === "string") {
    return mediaType;
  }
  return manifests === undefined ? MEDIA_TYPES.ociManifest : MEDIA_TYPES.ociIndex;
}
