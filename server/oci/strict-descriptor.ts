import { isDigest } from "../../storage/digest.ts";
import type { JsonObject } from "../json-object.ts";
import { isObject } from "../json-object.ts";
import { MANIFEST_LIMITS } from "../limits.ts";
import { findTwin, foldKey, knownKeys } from "./json-keys.ts";
import { shown } from "./reference.ts";
import type { InspectedChild } from "./strict-manifest.ts";

/** image-spec v1.1.1 descriptor.md. */
const DESCRIPTOR_KEYS = knownKeys(
  "mediaType",
  "digest",
  "size",
  "urls",
  "annotations",
  "data",
  "platform",
  "artifactType",
);

/** Why a manifest cannot be judged, as a sentence about "it". */
export class ManifestProblem extends Error {
  override readonly name = "ManifestProblem";
}

/** With what the whole manifest is told by. */
export interface ReadDescriptor extends InspectedChild {
  readonly hasUrls: boolean;
  /** It carries its own content. */
  readonly hasData: boolean;
}

/**
 * Go writes null for an empty list; an artifact may do without.
 *
 * @throws ManifestProblem.
 */
export function readList(document: JsonObject, field: string): ReadDescriptor[] {
  const list = document[field];
  if (list === undefined && field !== "blobs") {
    throw new ManifestProblem(`it has no ${field}`);
  }
  if (!isThere(list)) {
    return [];
  }
  if (!Array.isArray(list) || list.length > MANIFEST_LIMITS.descriptorsMax) {
    throw new ManifestProblem(
      `its ${field} is not a list of at most ${MANIFEST_LIMITS.descriptorsMax}`,
    );
  }
  return list.map((item: unknown) => readDescriptor(item, field));
}

/** @throws ManifestProblem. */
export function readDescriptor(item: unknown, field: string): ReadDescriptor {
  if (!isObject(item)) {
    throw new ManifestProblem(`its ${field} has no descriptor`);
  }
  refuseTwin(item, DESCRIPTOR_KEYS);
  const { digest, size, mediaType = "", artifactType, urls } = item;
  if (!isDigest(digest)) {
    throw new ManifestProblem(`a descriptor of its ${field} has no digest of a known algorithm`);
  }
  if (!Number.isSafeInteger(size) || Number(size) < 0) {
    throw new ManifestProblem(`a descriptor of its ${field} has no possible size`);
  }
  if (typeof mediaType !== "string") {
    throw new ManifestProblem(`a media type of its ${field} is not a text`);
  }
  if (isThere(urls) && !Array.isArray(urls)) {
    throw new ManifestProblem(`the urls of its ${field} are not a list`);
  }
  return {
    digest,
    sizeBytes: Number(size),
    mediaType,
    annotations: readAnnotations(item["annotations"], field),
    artifactType: typeof artifactType === "string" ? artifactType : undefined,
    hasPlatform: isThere(item["platform"]),
    hasUrls: Array.isArray(urls) && urls.length > 0,
    hasData: isThere(item["data"]),
  };
}

function readAnnotations(value: unknown, field: string): Readonly<Record<string, string>> {
  if (!isThere(value)) {
    return {};
  }
  const entries = isObject(value) ? Object.entries(value) : undefined;
  if (!entries?.every((entry): entry is [string, string] => typeof entry[1] === "string")) {
    throw new ManifestProblem(`the annotations of its ${field} are not names and texts`);
  }
  return Object.fromEntries(entries);
}

/** @throws ManifestProblem when some clients take a member for another one. */
export function refuseTwin(object: JsonObject, known: ReadonlyMap<string, string>): void {
  const twin = findTwin(object, known);
  if (twin !== undefined) {
    throw new ManifestProblem(
      `some clients read its ${shown(twin)} as ${known.get(foldKey(twin))}`,
    );
  }
}

export function isThere(value: unknown): boolean {
  return value !== undefined && value !== null;
}
