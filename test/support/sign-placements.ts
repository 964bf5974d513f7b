import type { Digest } from "../../storage/digest.ts";
import type { FakeContent } from "./fake-content.ts";
import type { BundleJson } from "./sign-bundle.ts";
import { BUNDLE_V03 } from "./sign-bundle.ts";
import type { SignatureLayer } from "./sign-legacy.ts";
import type { SignedSubject } from "./signed-images.ts";
import { OCI_INDEX, OCI_MANIFEST } from "./signed-images.ts";

/** Puts something beside an image on a registry, and says under which digest. */
export type Placement = (upstream: FakeContent, image: SignedSubject) => Digest;

export interface ReferrerOptions {
  /** Also lists it under the tag `sha256-<hex>`, for registries without the referrers API. */
  readonly fallbackTag?: boolean;
  /** Of the manifest; `null` leaves it out, as some writers do. */
  readonly artifactType?: string | null;
  /** Of the fallback tag's descriptor, when it differs from the manifest's. */
  readonly listedType?: string;
  /** Of the layer. */
  readonly mediaType?: string;
  readonly configMediaType?: string;
  /** Whose referrer it says it is, when not the image's. */
  readonly subject?: { readonly digest: string; readonly mediaType: string; readonly size: number };
  readonly annotations?: Readonly<Record<string, string>>;
  /** Changes the finished manifest in any way. */
  readonly edit?: (manifest: ArtifactManifest) => void;
}

export interface SignatureTagOptions {
  /** Other bytes behind each layer's digest than it names. */
  readonly wrongBlobs?: boolean;
  /** Blobs are not put there at all. */
  readonly withoutBlobs?: boolean;
  readonly edit?: (manifest: ArtifactManifest) => void;
}

/** A manifest of an artifact, to be edited. */
export interface ArtifactManifest {
  schemaVersion: number;
  mediaType: string;
  artifactType?: string;
  config: ArtifactDescriptor;
  layers: ArtifactDescriptor[];
  subject?: { mediaType: string; digest: string; size: number };
  annotations?: Record<string, string>;
}

export interface ArtifactDescriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

export const OCI_EMPTY = "application/vnd.oci.empty.v1+json";
export const LEGACY_REFERRER = "application/vnd.dev.cosign.artifact.sig.v1+json";
export const NOTATION_SIGNATURE = "application/vnd.cncf.notary.signature";
export const JWS = "application/jose+json";
export const COSE = "application/cose";
const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
const EMPTY = Buffer.from("{}");

/** A Sigstore bundle as cosign 3 pushes it. Bytes are taken as they are. */
export function asBundle(
  bundle: BundleJson | Uint8Array | string,
  options: ReferrerOptions = {},
): Placement {
  const isRaw = typeof bundle === "string" || bundle instanceof Uint8Array;
  const bytes = Buffer.from(isRaw ? bundle : JSON.stringify(bundle));
  return asReferrer([{ mediaType: options.mediaType ?? BUNDLE_V03, payload: bytes }], {
    artifactType: BUNDLE_V03,
    annotations: {
      "dev.sigstore.bundle.content": "dsse-envelope",
      "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
      "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
    },
    ...options,
  });
}

/** Cosign's older format under the tag `sha256-<hex>.sig`: one layer a signature. */
export function asSignatureTag(
  layers: readonly SignatureLayer[],
  options: SignatureTagOptions = {},
): Placement {
  return asTag(".sig", layers, options);
}

/** Cosign's older attestations, under the tag `sha256-<hex>.att`. */
export function asAttestationTag(
  layers: readonly SignatureLayer[],
  options: SignatureTagOptions = {},
): Placement {
  return asTag(".att", layers, options);
}

/** Cosign's older format as a referrer. */
export function asLegacyReferrer(
  layers: readonly SignatureLayer[],
  options: ReferrerOptions = {},
): Placement {
  const types = { artifactType: LEGACY_REFERRER, configMediaType: LEGACY_REFERRER };
  return asReferrer(layers, { ...types, ...options });
}

/** A Notation envelope as its command pushes it. */
export function asNotation(
  envelope: Uint8Array | string,
  options: ReferrerOptions & { readonly thumbprints?: readonly string[] } = {},
): Placement {
  const { mediaType = JWS, thumbprints = [] } = options;
  return asReferrer([{ mediaType, payload: Buffer.from(envelope) }], {
    artifactType: NOTATION_SIGNATURE,
    annotations: { "io.cncf.notary.x509chain.thumbprint#S256": JSON.stringify(thumbprints) },
    ...options,
  });
}

/** Any artifact with the image as its subject. */
export function asReferrer(
  layers: readonly Partial<SignatureLayer>[],
  options: ReferrerOptions = {},
): Placement {
  return (upstream, image) => {
    const { repository } = image;
    const { artifactType = "application/vnd.example", annotations } = options;
    const config = addBlob(upstream, repository, options.configMediaType ?? OCI_EMPTY, EMPTY);
    const { digest, mediaType, size } = options.subject ?? image;
    const manifest: ArtifactManifest = {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      ...(artifactType !== null && { artifactType }),
      config,
      layers: layers.map((layer) => addLayer(upstream, repository, layer)),
      subject: { mediaType, digest, size },
      ...(annotations && { annotations: { ...annotations } }),
    };
    options.edit?.(manifest);
    const added = upstream.addManifest(repository, undefined, manifest);
    if (options.fallbackTag === true) {
      const listedType = options.listedType ?? artifactType ?? undefined;
      addToFallbackTag(upstream, image, {
        mediaType: OCI_MANIFEST,
        digest: added,
        size: Buffer.byteLength(JSON.stringify(manifest)),
        ...(listedType !== undefined && { artifactType: listedType }),
      });
    }
    return added;
  };
}

/** Anything at all under a tag where signatures are looked for. An object is sent as JSON. */
export function asTagged(
  suffix: "" | ".sig" | ".att",
  content: Uint8Array | object,
  mediaType: string = OCI_MANIFEST,
): Placement {
  return (upstream, { repository, digest }) => {
    return upstream.addManifest(repository, tagOf(digest, suffix), content, mediaType);
  };
}

/** So many artifacts that say nothing about who signed: a registry that was flooded. */
export function asFlood(count: number, artifactType: string = BUNDLE_V03): Placement {
  return (upstream, image) => {
    let last = image.digest;
    for (let at = 0; at < count; at += 1) {
      const layer = { mediaType: artifactType, payload: Buffer.from(`{"flood":${at}}`) };
      last = asReferrer([layer], { artifactType })(upstream, image);
    }
    return last;
  };
}

/** `sha256-<hex>`, followed by `.sig`, `.att` or nothing. */
export function tagOf(digest: string, suffix: "" | ".sig" | ".att" = ""): string {
  return digest.replace(":", "-") + suffix;
}

function asTag(
  suffix: ".sig" | ".att",
  layers: readonly SignatureLayer[],
  options: SignatureTagOptions,
): Placement {
  return (upstream, image) => {
    const { repository } = image;
    const manifest: ArtifactManifest = {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: addBlob(upstream, repository, OCI_CONFIG, Buffer.from('{"architecture":"","os":""}')),
      layers: layers.map((layer) => addLayer(upstream, repository, layer)),
    };
    for (const { digest } of manifest.layers) {
      if (options.withoutBlobs === true) {
        upstream.removeBlob(repository, digest as Digest);
      }
      if (options.wrongBlobs === true) {
        upstream.replaceBlob(repository, digest as Digest, Buffer.from("{}"));
      }
    }
    options.edit?.(manifest);
    return upstream.addManifest(repository, tagOf(image.digest, suffix), manifest);
  };
}

function addLayer(
  upstream: FakeContent,
  repository: string,
  { mediaType = "application/octet-stream", payload = EMPTY, annotations }: Partial<SignatureLayer>,
): ArtifactDescriptor {
  const blob = addBlob(upstream, repository, mediaType, payload);
  return annotations === undefined ? blob : { ...blob, annotations };
}

function addBlob(
  upstream: FakeContent,
  repository: string,
  mediaType: string,
  bytes: Buffer,
): ArtifactDescriptor {
  return { mediaType, digest: upstream.addBlob(repository, bytes), size: bytes.length };
}

/** As clients do it, who read the index, add to it and push it again. */
function addToFallbackTag(
  upstream: FakeContent,
  { repository, digest }: SignedSubject,
  descriptor: object,
): void {
  const tag = tagOf(digest);
  const known = JSON.parse(upstream.manifest(repository, tag)?.toString() ?? "{}") as {
    readonly manifests?: readonly object[];
  };
  const manifests = [...(known.manifests ?? []), descriptor];
  upstream.addManifest(repository, tag, { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}
