import type { Digest } from "../../storage/digest.ts";
import { isDigest } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import { isObject } from "../json-object.ts";

/** image-spec v1.1.1 descriptor.md, as far as a cache needs it. */
export interface Descriptor {
  readonly digest: Digest;
  readonly sizeBytes: number | undefined;
  readonly mediaType: string | undefined;
  /** With `urls`: it need not be in the repository, and registries take it without a look. */
  readonly hasUrls: boolean;
}

/** What a manifest says that it is made of. */
export interface ParsedManifest {
  /** Manifests that an index names. */
  readonly children: readonly Descriptor[];
  /** Config, layers and other blobs. */
  readonly blobs: readonly Descriptor[];
  /** As the document itself says, when it does. */
  readonly mediaType: string | undefined;
}

/** More would be an attack: real indexes have dozens, real images at most 127 layers. */
const DESCRIPTORS_MAX = 10_000;

/**
 * Reads which digests a manifest names. Digests of algorithms that we do not know are left out:
 * nobody can ask for them here.
 *
 * @throws RegistryError `upstream-invalid` when it is not a JSON object, or a descriptor has no
 *   digest or an impossible size.
 */
export function parseManifest(bytes: Uint8Array, what: string): ParsedManifest {
  const document = parseObject(bytes, what);
  const blobs = [
    ...descriptorsOf(document, "layers", what),
    ...descriptorsOf(document, "blobs", what),
    ...schema1Layers(document),
  ];
  const config = document["config"];
  if (config !== undefined && config !== null) {
    blobs.push(...parseDescriptor(config, "config", what));
  }
  const { mediaType } = document;
  return {
    children: descriptorsOf(document, "manifests", what),
    blobs,
    mediaType: typeof mediaType === "string" ? mediaType : undefined,
  };
}

function parseObject(bytes: Uint8Array, what: string): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw invalid(what, "it is not JSON", error);
  }
  if (!isObject(document)) {
    throw invalid(what, "it is not a JSON object");
  }
  return document;
}

function descriptorsOf(
  document: Readonly<Record<string, unknown>>,
  field: string,
  what: string,
): Descriptor[] {
  const list = document[field];
  if (list === undefined || list === null) {
    return [];
  }
  if (!Array.isArray(list) || list.length > DESCRIPTORS_MAX) {
    throw invalid(what, `its ${field} is not a list of at most ${DESCRIPTORS_MAX}`);
  }
  return list.flatMap((item: unknown) => parseDescriptor(item, field, what));
}

/** None or one: an unknown algorithm is none. */
function parseDescriptor(item: unknown, field: string, what: string): Descriptor[] {
  if (!isObject(item) || typeof item["digest"] !== "string") {
    throw invalid(what, `an entry of its ${field} has no digest`);
  }
  const { digest, size, mediaType } = item;
  if (!Number.isSafeInteger(size) || Number(size) < 0) {
    throw invalid(what, `an entry of its ${field} has no possible size`);
  }
  if (!isDigest(digest)) {
    return [];
  }
  const type = typeof mediaType === "string" ? mediaType : undefined;
  const { urls } = item;
  const hasUrls = Array.isArray(urls) && urls.length > 0;
  return [{ digest, sizeBytes: Number(size), mediaType: type, hasUrls }];
}

/** Docker's schema 1 has only digests, and no sizes. */
function schema1Layers(document: Readonly<Record<string, unknown>>): Descriptor[] {
  const list = document["fsLayers"];
  if (!Array.isArray(list)) {
    return [];
  }
  return list.slice(0, DESCRIPTORS_MAX).flatMap((item: unknown) => {
    const digest = isObject(item) ? item["blobSum"] : undefined;
    return isDigest(digest)
      ? [{ digest, sizeBytes: undefined, mediaType: undefined, hasUrls: false }]
      : [];
  });
}

function invalid(what: string, why: string, cause?: unknown): RegistryError {
  return new RegistryError("upstream-invalid", `the manifest of ${what} cannot be used: ${why}`, {
    cause,
  });
}
