import { MEDIA_TYPES } from "../../server/oci/media-types.ts";
import type { Inspection } from "../../server/oci/strict-manifest.ts";
import { inspectManifest } from "../../server/oci/strict-manifest.ts";

/** Manifests as JSON, to be spoiled by tests. */

export const DIGEST: string = `sha256:${"a".repeat(64)}`;
export const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";
export const CONFIG = "application/vnd.oci.image.config.v1+json";
export const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";

export function descriptor(mediaType: string, rest: object = {}): object {
  return { mediaType, digest: DIGEST, size: 7, ...rest };
}

export function image(rest: object = {}): object {
  return { schemaVersion: 2, config: descriptor(CONFIG), layers: [descriptor(LAYER)], ...rest };
}

export function index(rest: object = {}): object {
  const platform = { os: "linux", architecture: "amd64" };
  return {
    schemaVersion: 2,
    manifests: [descriptor(MEDIA_TYPES.ociManifest, { platform })],
    ...rest,
  };
}

export function inspect(
  document: unknown,
  mediaType: string = MEDIA_TYPES.ociManifest,
): Inspection {
  const text = typeof document === "string" ? document : JSON.stringify(document);
  return inspectManifest(Buffer.from(text), mediaType);
}

/** JSON of a document with one more member at its start, as it is written here. */
export function withMember(document: object, member: string): string {
  return `{${member},${JSON.stringify(document).slice(1)}`;
}
