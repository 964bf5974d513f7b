import type { Digest } from "../../storage/digest.ts";
import type { Inspection } from "../oci/strict-manifest.ts";

/** Something with a size that belongs to an image. */
export interface Collected {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** Adds config, layers and blobs. What has `urls` is not the repository's to hand on. */
export function addContent(blobs: Map<Digest, Collected>, { config, layers }: Inspection): void {
  for (const { digest, sizeBytes, hasUrls } of [...layers, ...(config ? [config] : [])]) {
    if (!hasUrls) {
      blobs.set(digest, { digest, sizeBytes });
    }
  }
}
