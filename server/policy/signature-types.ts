import type { ReferrerDescriptor } from "../cache/referrers-cache.ts";
import type { SignatureFormat } from "../decision.ts";
import { isBundleType } from "../oci/artefacts.ts";

const FORMATS: ReadonlyMap<string, SignatureFormat> = new Map([
  ["application/vnd.dev.cosign.simplesigning.v1+json", "cosign-signature"],
  ["application/vnd.dsse.envelope.v1+json", "cosign-attestation"],
  ["application/jose+json", "notation"],
  ["application/cose", "notation"],
]);

/** What the artifactType of a signature's referrer usually is. Nobody has to keep to it. */
const USUAL_TYPES: ReadonlySet<string> = new Set([
  "application/vnd.dev.cosign.artifact.sig.v1+json",
  "application/vnd.cncf.notary.signature",
]);
/** What writers leave behind that fill in the config's type, or nothing. */
const VAGUE_TYPES: ReadonlySet<string> = new Set([
  "",
  "application/vnd.oci.empty.v1+json",
  "application/vnd.oci.image.config.v1+json",
]);

/** The format of a layer by its media type; undefined when it is no signature that we know. */
export function formatOf(mediaType: string): SignatureFormat | undefined {
  return isBundleType(mediaType) ? "bundle" : FORMATS.get(mediaType);
}

/** Sorts what is likely to be a signature first, and the latest before the earlier. */
export function byLikelihood(one: ReferrerDescriptor, other: ReferrerDescriptor): number {
  return rankOf(one) - rankOf(other) || compareTexts(createdOf(other), createdOf(one));
}

function rankOf({ artifactType }: ReferrerDescriptor): number {
  const type = typeof artifactType === "string" ? artifactType : "";
  if (isBundleType(type) || USUAL_TYPES.has(type)) {
    return 0;
  }
  return VAGUE_TYPES.has(type) ? 1 : 2;
}

function createdOf({ annotations }: ReferrerDescriptor): string {
  const created: unknown =
    typeof annotations === "object" && annotations !== null
      ? Reflect.get(annotations, "org.opencontainers.image.created")
      : undefined;
  return typeof created === "string" ? created : "";
}

/** RFC 3339 times sort as text. */
function compareTexts(one: string, other: string): number {
  if (one === other) {
    return 0;
  }
  return one < other ? -1 : 1;
}
