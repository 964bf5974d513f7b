/** Manifests and indexes as registries keep them; image-spec v1.1.1 media-types.md, and Docker's. */
export const MEDIA_TYPES = {
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociArtifact: "application/vnd.oci.artifact.manifest.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
} as const;

/** What is left when nobody said. */
export const BLOB_MEDIA_TYPE = "application/octet-stream";
