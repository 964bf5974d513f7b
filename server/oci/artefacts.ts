import { MANIFEST_LIMITS } from "../limits.ts";
import type { Inspection } from "./strict-manifest.ts";

const BUNDLE_PATTERN =
  /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.[0-9]{1,2})?\+json(?:;version=[0-9.]{1,8})?$/;

/** Layers of signatures, attestations and bills of materials: nothing that a machine would run. */
const LAYER_TYPES: ReadonlySet<string> = new Set([
  "application/vnd.dev.cosign.simplesigning.v1+json",
  "application/vnd.dsse.envelope.v1+json",
  "application/jose+json",
  "application/cose",
  "application/vnd.in-toto+json",
  "text/spdx+json",
  "application/spdx+json",
  "text/spdx",
  "application/vnd.cyclonedx+json",
  "application/vnd.cyclonedx+xml",
]);
/** What artifactType says of them where it says something else. */
const ARTEFACT_TYPES: ReadonlySet<string> = new Set([
  "application/vnd.dev.cosign.artifact.sig.v1+json",
  "application/vnd.dev.cosign.artifact.att.v1+json",
  "application/vnd.dev.cosign.artifact.sbom.v1+json",
  "application/vnd.cncf.notary.signature",
  // From writers that take the config's type for the artifact's (sigstore/cosign#4641).
  "application/vnd.oci.empty.v1+json",
]);
/** distribution-spec v1.1.1 §referrers-tag-schema: of a digest, 64 characters at most. */
const REFERRERS_TAG_PATTERN = /^sha(?:256|512)-[0-9a-f]{64}$/;

/**
 * Whether a manifest carries signatures, attestations or bills of materials and nothing else, by
 * what it says of its layers: a name like `sha256-….sig` anybody can give to an image.
 */
export function isSignatureArtefact(inspection: Inspection): boolean {
  const { kind, layers, config } = inspection;
  const { artefactLayerBytesMax, artefactLayersBytesMax, artefactConfigBytesMax } = MANIFEST_LIMITS;
  if (kind !== "image" || !isSelfContained(inspection) || layers.length === 0) {
    return false;
  }
  const sizeBytes = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
  return (
    sizeBytes <= artefactLayersBytesMax &&
    layers.length <= MANIFEST_LIMITS.artefactLayersMax &&
    (config?.sizeBytes ?? 0) <= artefactConfigBytesMax &&
    layers.every(
      (layer) => isLayerType(layer.mediaType) && layer.sizeBytes <= artefactLayerBytesMax,
    )
  );
}

/**
 * Whether an index is a list of referrers to signatures: to serve it gives nothing away, since what
 * it names is judged by itself.
 */
export function isArtefactIndex(inspection: Inspection): boolean {
  return (
    isListOfReferrers(inspection) &&
    inspection.children.every(
      ({ artifactType = "" }) => isLayerType(artifactType) || ARTEFACT_TYPES.has(artifactType),
    )
  );
}

/** Whether an index is for no platform, and nobody can have what it names but by asking for it. */
export function isListOfReferrers(inspection: Inspection): boolean {
  return inspection.kind === "index" && !inspection.hasPlatforms && isSelfContained(inspection);
}

/** `sha256-<hex>`: where the referrers of a digest stand without an API for them. */
export function isReferrersTag(tag: string): boolean {
  return REFERRERS_TAG_PATTERN.test(tag);
}

/** `application/vnd.dev.sigstore.bundle.v0.3+json`, and as it was written before. */
export function isBundleType(mediaType: string): boolean {
  return BUNDLE_PATTERN.test(mediaType);
}

/**
 * Of content that has `urls`, or stands in its descriptor, clients take what is not judged:
 * containerd does both with anything, manifests too.
 */
function isSelfContained({ problem, hasForeignLayers, hasInlineContent }: Inspection): boolean {
  return problem === undefined && !hasForeignLayers && !hasInlineContent;
}

function isLayerType(mediaType: string): boolean {
  return isBundleType(mediaType) || LAYER_TYPES.has(mediaType);
}
