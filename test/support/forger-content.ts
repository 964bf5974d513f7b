import { gzipSync } from "node:zlib";
import type { FakeUpstream } from "./fake-upstream.ts";
import type { AddedImage, Sign, SignedSubject } from "./signed-images.ts";
import { OCI_MANIFEST, signAll } from "./signed-images.ts";
import { tarOf } from "./tar.ts";

export const IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json";
export const IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";
/** Something that runs, as layers hold it. */
export const TAR: Buffer = tarOf([
  { path: "bin/miner", mode: 0o755, bytes: Buffer.from("#!/bin/sh") },
]);
export const TAR_GZIP: Buffer = gzipSync(TAR);

export interface Putting {
  readonly repository: string;
  readonly tag: string;
  /** With what Content-Type the registry serves it. */
  readonly mediaType?: string;
  readonly signatures?: readonly Sign[];
}

/** Puts any document where an image is expected, under a tag, by digest and as a blob. */
export async function putDocument(
  upstream: FakeUpstream,
  document: object | string,
  { repository, tag, mediaType = OCI_MANIFEST, signatures = [] }: Putting,
): Promise<AddedImage> {
  const bytes = Buffer.from(typeof document === "string" ? document : JSON.stringify(document));
  const digest = upstream.addManifest(repository, tag, bytes, mediaType);
  upstream.addBlob(repository, bytes);
  const subject: SignedSubject = { repository, digest, mediaType, size: bytes.length };
  const artifacts = await signAll(upstream, subject, signatures);
  return { ...subject, tag, children: [], artifacts };
}

export interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** A descriptor of bytes that the registry has. */
export function putBlob(
  upstream: FakeUpstream,
  repository: string,
  { mediaType, bytes }: { readonly mediaType: string; readonly bytes: Uint8Array },
): Layer {
  return { mediaType, digest: upstream.addBlob(repository, bytes), size: bytes.byteLength };
}
