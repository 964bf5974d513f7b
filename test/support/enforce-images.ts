import type { Digest } from "../../storage/digest.ts";
import type { FakeContent } from "./fake-content.ts";
import type { Artifact } from "./image-builder.ts";
import type { Sign } from "./signed-images.ts";
import { signAll } from "./signed-images.ts";

export interface RealImage {
  readonly repository: string;
  readonly tag: string;
  /** Its layers are archives, so that clients can unpack them. */
  readonly artifact: Artifact;
  /** Of the manifest or index that the tag names. */
  readonly signatures?: readonly Sign[];
}

/** Puts an image on a registry in memory, with what signs it. Returns what its tag names. */
export async function addRealImage(upstream: FakeContent, image: RealImage): Promise<Digest> {
  const { repository, tag, artifact, signatures = [] } = image;
  const { top, manifests, blobs } = artifact;
  for (const { bytes } of blobs) {
    upstream.addBlob(repository, bytes);
  }
  for (const { bytes, mediaType } of manifests) {
    upstream.addManifest(repository, undefined, bytes, mediaType);
  }
  const digest = upstream.addManifest(repository, tag, top.bytes, top.mediaType);
  const { mediaType, bytes } = top;
  await signAll(upstream, { repository, digest, mediaType, size: bytes.byteLength }, signatures);
  return digest;
}
