import type { Digest } from "../../storage/digest.ts";
import type { FakeContent } from "./fake-content.ts";
import type { Placement } from "./sign-placements.ts";

/** What is signed, as a descriptor points at it. */
export interface SignedSubject {
  readonly repository: string;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
}

export interface AddedImage extends SignedSubject {
  readonly tag: string;
  /** Of an index, in the order of its platforms; empty for one image. */
  readonly children: readonly AddedChild[];
  /** What signatures are carried by. */
  readonly artifacts: readonly Digest[];
}

export interface AddedChild extends SignedSubject {
  readonly platform: string;
  readonly artifacts: readonly Digest[];
}

/** One row of a table: what is put beside an image. It is told which image. */
export type Sign = (
  image: SignedSubject,
) => Placement | readonly Placement[] | Promise<Placement | readonly Placement[]>;

export interface SignedImageOptions {
  readonly repository: string;
  readonly tag: string;
  /** `linux/amd64`: with any, it is an index with one image for each. */
  readonly platforms?: readonly string[];
  /** Of the image, or of the index. */
  readonly signatures?: readonly Sign[];
  /** Of each child of an index. */
  readonly childSignatures?: readonly Sign[];
  /** Sets images apart that would otherwise be the same bytes; the tag by default. */
  readonly text?: string;
}

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";

/** Puts an image or an index on a registry, with what signs it. Each tag is other bytes. */
export async function addSignedImage(
  upstream: FakeContent,
  options: SignedImageOptions,
): Promise<AddedImage> {
  const { repository, tag, platforms = [], text = `${repository}:${tag}` } = options;
  if (platforms.length === 0) {
    const image = addImage(upstream, { repository, text, platform: "linux/amd64" });
    upstream.addTag(repository, tag, image.digest);
    const artifacts = await signAll(upstream, image, options.signatures ?? []);
    return { ...image, tag, children: [], artifacts };
  }
  const children: AddedChild[] = [];
  for (const platform of platforms) {
    const image = addImage(upstream, { repository, text, platform });
    const artifacts = await signAll(upstream, image, options.childSignatures ?? []);
    children.push({ ...image, platform, artifacts });
  }
  const index = addJson(upstream, repository, {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: children.map(({ mediaType, digest, size, platform }) => {
      const [os, architecture] = platform.split("/");
      return { mediaType, digest, size, platform: { os, architecture } };
    }),
  });
  upstream.addTag(repository, tag, index.digest);
  const artifacts = await signAll(upstream, index, options.signatures ?? []);
  return { ...index, tag, children, artifacts };
}

/** Signs what is there already; the digests of what carries the signatures. */
export async function signAll(
  upstream: FakeContent,
  image: SignedSubject,
  signatures: readonly Sign[],
): Promise<readonly Digest[]> {
  const artifacts: Digest[] = [];
  for (const sign of signatures) {
    const placements = await sign(image);
    for (const place of typeof placements === "function" ? [placements] : placements) {
      artifacts.push(place(upstream, image));
    }
  }
  return artifacts;
}

function addImage(
  upstream: FakeContent,
  image: { readonly repository: string; readonly text: string; readonly platform: string },
): SignedSubject {
  const { repository, text, platform } = image;
  const [os, architecture] = platform.split("/");
  const config = Buffer.from(JSON.stringify({ os, architecture, author: text }));
  const layer = Buffer.from(`${text} for ${platform}`);
  const blobOf = (mediaType: string, bytes: Buffer): object => {
    return { mediaType, digest: upstream.addBlob(repository, bytes), size: bytes.length };
  };
  return addJson(upstream, repository, {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: blobOf(OCI_CONFIG, config),
    layers: [blobOf(OCI_LAYER, layer)],
  });
}

function addJson(
  upstream: FakeContent,
  repository: string,
  content: { readonly mediaType: string; readonly [member: string]: unknown },
): SignedSubject {
  const digest = upstream.addManifest(repository, undefined, content);
  const size = Buffer.byteLength(JSON.stringify(content));
  return { repository, digest, mediaType: content.mediaType, size };
}
