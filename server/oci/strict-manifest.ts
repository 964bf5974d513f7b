import type { Digest } from "../../storage/digest.ts";
import type { JsonObject } from "../json-object.ts";
import { isObject } from "../json-object.ts";
import { findKeyProblem, foldKey, knownKeys } from "./json-keys.ts";
import type { Descriptor } from "./manifest.ts";
import { MEDIA_TYPES } from "./media-types.ts";
import { shown } from "./reference.ts";
import {
  isThere,
  ManifestProblem,
  readDescriptor,
  readList,
  refuseTwin,
} from "./strict-descriptor.ts";

export type ManifestKind = "image" | "index" | "artifact" | "unknown";

/** A config, a layer, or a blob of an artifact. */
export interface InspectedLayer extends Descriptor {
  readonly sizeBytes: number;
  /** Empty when it has none. */
  readonly mediaType: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A manifest that an index names. */
export interface InspectedChild extends InspectedLayer {
  readonly artifactType: string | undefined;
  readonly hasPlatform: boolean;
}

/** What a manifest is to every client alike, or why no policy can tell. */
export interface Inspection {
  /** A sentence about "it". With a problem, all the rest but `kind` is empty. */
  readonly problem?: string;
  /** By its media type. */
  readonly kind: ManifestKind;
  readonly children: readonly InspectedChild[];
  /** Some child is for some platform: something that runs. */
  readonly hasPlatforms: boolean;
  /** Some descriptor has `urls`, from which some clients fetch. */
  readonly hasForeignLayers: boolean;
  /** Some child or layer stands in here itself (`data`), so that clients need not ask for it. */
  readonly hasInlineContent: boolean;
  readonly subject?: Digest;
  readonly artifactType?: string;
  readonly config?: InspectedLayer;
  /** Layers of an image, blobs of an artifact. */
  readonly layers: readonly InspectedLayer[];
}

const KINDS: ReadonlyMap<string, ManifestKind> = new Map([
  [MEDIA_TYPES.ociManifest, "image"],
  [MEDIA_TYPES.dockerManifest, "image"],
  [MEDIA_TYPES.ociIndex, "index"],
  [MEDIA_TYPES.dockerList, "index"],
  [MEDIA_TYPES.ociArtifact, "artifact"],
]);
const SCHEMA_1_PATTERN = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/;
/** What makes a document something else, too (CVE-2021-41190). */
const FOREIGN_FIELDS: Readonly<Record<ManifestKind, readonly string[]>> = {
  image: ["manifests", "blobs", "fsLayers"],
  index: ["config", "layers", "blobs", "fsLayers"],
  artifact: ["config", "layers", "manifests", "fsLayers"],
  unknown: [],
};
/** image-spec v1.1.1 manifest.md, image-index.md; Docker's schema 1. */
const MANIFEST_KEYS = knownKeys(
  "schemaVersion",
  "mediaType",
  "artifactType",
  "config",
  "layers",
  "manifests",
  "blobs",
  "subject",
  "annotations",
  "fsLayers",
);
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads a manifest as strictly as needed for all clients to read the same: what one of them might
 * take for something else is a problem, whoever signed it.
 *
 * @param mediaType the Content-Type with which it is served.
 */
export function inspectManifest(bytes: Uint8Array, mediaType: string): Inspection {
  const type = (mediaType.split(";", 1)[0] ?? "").trim().toLowerCase();
  const kind = KINDS.get(type) ?? "unknown";
  try {
    refuseType(type, kind);
    const document = parseStrictly(bytes);
    refuseDisagreement(document, type, kind);
    return { kind, ...readDocument(document, kind) };
  } catch (error) {
    if (!(error instanceof ManifestProblem)) {
      throw error;
    }
    const nothing = { hasPlatforms: false, hasForeignLayers: false, hasInlineContent: false };
    return { problem: error.message, kind, children: [], layers: [], ...nothing };
  }
}

function refuseType(type: string, kind: ManifestKind): void {
  if (SCHEMA_1_PATTERN.test(type)) {
    throw new ManifestProblem("it is of Docker's schema 1, which cannot be judged: push it anew");
  }
  if (kind === "unknown") {
    throw new ManifestProblem(`its media type ${shown(type)} is unknown, so it cannot be judged`);
  }
}

function parseStrictly(bytes: Uint8Array): JsonObject {
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch (cause) {
    throw new ManifestProblem("it is not UTF-8", { cause });
  }
  if (text.startsWith("\ufeff")) {
    throw new ManifestProblem("it begins with a byte order mark");
  }
  const problem = findKeyProblem(text);
  if (problem !== undefined) {
    throw new ManifestProblem(problem);
  }
  const document = parseOrUndefined(text);
  if (!isObject(document)) {
    throw new ManifestProblem("it is not a JSON object");
  }
  return document;
}

function refuseDisagreement(document: JsonObject, type: string, kind: ManifestKind): void {
  refuseTwin(document, MANIFEST_KEYS);
  const { schemaVersion, mediaType, fsLayers } = document;
  if (schemaVersion === 1 || isThere(fsLayers)) {
    throw new ManifestProblem("it is of Docker's schema 1, which cannot be judged: push it anew");
  }
  if (schemaVersion !== undefined && schemaVersion !== 2) {
    throw new ManifestProblem("its schemaVersion is not 2");
  }
  if (mediaType !== undefined && mediaType !== type) {
    throw new ManifestProblem(
      `it says that it is ${shown(String(mediaType))}, and is served as ${shown(type)}`,
    );
  }
  const foreign = FOREIGN_FIELDS[kind].find((field) => isThere(document[field]));
  if (foreign !== undefined) {
    throw new ManifestProblem(
      `it is an ${kind} by its media type and has ${foreign}: clients could take it for two things`,
    );
  }
}

function readDocument(document: JsonObject, kind: ManifestKind): Omit<Inspection, "kind"> {
  const { artifactType, subject } = document;
  if (artifactType !== undefined && typeof artifactType !== "string") {
    throw new ManifestProblem("its artifactType is not a text");
  }
  const children = kind === "index" ? readList(document, "manifests") : [];
  const layers = kind === "index" ? [] : readList(document, kind === "image" ? "layers" : "blobs");
  const config = kind === "image" ? readDescriptor(document["config"], "config") : undefined;
  const all = [...children, ...layers, ...(config === undefined ? [] : [config])];
  return {
    children,
    hasPlatforms: children.some(({ hasPlatform }) => hasPlatform),
    hasForeignLayers: all.some(({ hasUrls }) => hasUrls),
    hasInlineContent: [...children, ...layers].some(({ hasData }) => hasData),
    layers,
    ...(config !== undefined && { config }),
    ...(artifactType !== undefined && { artifactType }),
    ...(isThere(subject) && { subject: readDescriptor(subject, "subject").digest }),
  };
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return;
  }
}

const MANIFEST_TYPE_PATTERN =
  /^application\/vnd\.(?:oci\.image\.(?:manifest|index)|oci\.artifact\.manifest|docker\.distribution\.manifest)\b/i;
/**
 * In a text that is not read member by member; `u` makes `i` fold as Go does. A name with an escape
 * in it may be any of them.
 */
const MANIFEST_TEXT_PATTERN =
  /"(?:manifests|layers|fslayers|blobs|config|[^"\\]{0,60}\\u[^"]{0,60})"\s*:|vnd\.oci\.(?:image\.manifest|image\.index|artifact)\.|vnd\.docker\.distribution\.manifest\./iu;
const OPENING_BRACE = 0x7b;
/** JSON's white space, and the bytes of a byte order mark. */
const SKIPPED: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);
const LENIENT_UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Whether a JSON object may begin here: what is only white space so far may go on as one. */
export function mayBeginObject(bytes: Uint8Array): boolean {
  const first = bytes.find((byte) => !SKIPPED.has(byte));
  return first === undefined || first === OPENING_BRACE;
}

/**
 * Whether some client could take these bytes for a manifest, when it asks for them as a blob.
 * Generous: wrong case, members twice and trailing bytes are forgiven, as some clients do. An
 * image's config, a statement, a bill of materials and a bundle are none. The caller bounds the size.
 */
export function looksLikeManifest(bytes: Uint8Array): boolean {
  if (!mayBeginObject(bytes)) {
    return false;
  }
  const text = LENIENT_UTF8.decode(bytes).replace("\ufeff", "");
  const document = findKeyProblem(text) === undefined ? parseOrUndefined(text) : undefined;
  if (!isObject(document)) {
    return MANIFEST_TEXT_PATTERN.test(text);
  }
  return Object.entries(document).some(([key, value]) => isOfManifest(foldKey(key), value));
}

function isOfManifest(key: string, value: unknown): boolean {
  switch (key) {
    case "mediatype":
      return typeof value === "string" && MANIFEST_TYPE_PATTERN.test(value);
    case "config":
      return namesContent(value);
    case "manifests":
    case "layers":
    case "blobs":
    case "fslayers":
      return Array.isArray(value) && value.some(namesContent);
    default:
      return false;
  }
}

function namesContent(value: unknown): boolean {
  return (
    isObject(value) &&
    Object.keys(value).some((key) => ["digest", "blobsum"].includes(foldKey(key)))
  );
}
