import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestOf, hexOf } from "../../storage/digest.ts";
import { AIR_GAP_LIMITS, UPSTREAM_LIMITS } from "../limits.ts";
import { isReferrersTag } from "../oci/artefacts.ts";
import { MEDIA_TYPES } from "../oci/media-types.ts";
import { shown } from "../oci/reference.ts";
import type { InspectedChild, Inspection } from "../oci/strict-manifest.ts";
import { inspectManifest } from "../oci/strict-manifest.ts";
import { AirGapError } from "./air-gap-error.ts";
import type { ManifestEntry } from "./descriptors.ts";
import { referrersIndexOf } from "./descriptors.ts";
import type { LayoutSource } from "./layout-source.ts";
import { readSmall } from "./layout-source.ts";

/** containerd's and Docker's: the image's full name, with its registry. */
export const IMAGE_NAME: string = "io.containerd.image.name";
/** image-spec v1.1.1 annotations.md: a tag, or whatever a writer calls it. */
export const REF_NAME: string = "org.opencontainers.image.ref.name";

/** image-spec v1.1.1 image-layout.md §oci-layout file. */
const LAYOUT_VERSION = "1.0.0";
/** `sha256-<hex>.sig`: where cosign keeps what belongs to a digest. */
const ARTEFACT_TAG_PATTERN = /^sha(?:256|512)-[0-9a-f]{64,128}\.(?:sig|att|sbom)$/;

/** RFC 6838 §4.2. It becomes a header of whoever is served from the store. */
const MEDIA_TYPE_PATTERN = /^[A-Za-z0-9!#$&^_.+-]{1,127}\/[A-Za-z0-9!#$&^_.+-]{1,127}$/;

const DAMAGED = "it is not in the file, or its bytes are others";
const NAMELESS =
  "it has no full name: write the file with sluice export, docker save or ctr image export, which " +
  `put it into the annotation ${IMAGE_NAME}`;

export interface NamedImage {
  /** As it stands there: `docker.io/library/alpine:3.20`. Not checked. */
  readonly name: string;
  readonly digest: Digest;
}

export interface UnusableEntry {
  readonly digest: Digest;
  /** A sentence about "it". */
  readonly problem: string;
}

/** An image layout that was made by anybody: what it names, and its blobs, none of them verified. */
export class Layout {
  /** In the order of the index. */
  readonly images: readonly NamedImage[];
  /** What is in the index and cannot be imported. */
  readonly unusable: readonly UnusableEntry[];
  readonly #source: LayoutSource;
  readonly #mediaTypes: ReadonlyMap<Digest, string>;
  /** By the tag, or the full name, that the index gives them: signatures, lists of referrers. */
  readonly #tagged: ReadonlyMap<string, Digest>;
  /** By their subject. */
  readonly #referrers: ReadonlyMap<Digest, readonly ManifestEntry[]>;

  constructor(source: LayoutSource, parts: LayoutParts) {
    this.#source = source;
    this.images = parts.images;
    this.unusable = parts.unusable;
    this.#mediaTypes = parts.mediaTypes;
    this.#tagged = parts.tagged;
    this.#referrers = parts.referrers;
  }

  /** @throws AirGapError when it is no layout, or its index cannot be used. */
  static async read(source: LayoutSource): Promise<Layout> {
    return new Layout(source, await new LayoutReader(source).read());
  }

  /** As the user named the file. */
  get name(): string {
    return this.#source.name;
  }

  /** In bytes, as the file has it; undefined when it does not have it. */
  sizeOf(digest: Digest): Promise<number | undefined> {
    return this.#source.sizeOf(blobPath(digest));
  }

  /** The bytes are whatever stands there. */
  read(digest: Digest, offset: number): AsyncIterable<Buffer> {
    return this.#source.read(blobPath(digest), offset);
  }

  /**
   * As its descriptor says, else as the document does. Undefined when it is not there.
   *
   * @throws AirGapError when what that says is no media type.
   */
  async manifest(
    digest: Digest,
  ): Promise<{ readonly bytes: Buffer; readonly mediaType: string } | undefined> {
    const sizeBytes = await this.sizeOf(digest);
    if (sizeBytes === undefined || sizeBytes > UPSTREAM_LIMITS.manifestBytesMax) {
      return;
    }
    const bytes = await readSmall(this.#source, blobPath(digest), sizeBytes);
    const mediaType = this.#mediaTypes.get(digest) ?? ownMediaType(bytes);
    if (!MEDIA_TYPE_PATTERN.test(mediaType)) {
      throw new AirGapError(`${this.name}: ${shown(mediaType)} is no media type, as ${digest} has`);
    }
    return { bytes, mediaType };
  }

  /** What a tag stands for that is no image's: signatures, and lists of referrers. */
  artefact(repository: string, tag: string): Digest | undefined {
    return this.#tagged.get(`${repository}:${tag}`) ?? this.#tagged.get(tag);
  }

  /** What stands in the index by itself and says that it refers to `subject`. */
  referrers(subject: Digest): Buffer | undefined {
    const entries = this.#referrers.get(subject);
    return entries && referrersIndexOf(entries);
  }
}

interface LayoutParts {
  readonly images: readonly NamedImage[];
  readonly unusable: readonly UnusableEntry[];
  readonly mediaTypes: ReadonlyMap<Digest, string>;
  readonly tagged: ReadonlyMap<string, Digest>;
  readonly referrers: ReadonlyMap<Digest, readonly ManifestEntry[]>;
}

class LayoutReader implements LayoutParts {
  readonly images: NamedImage[] = [];
  readonly unusable: UnusableEntry[] = [];
  readonly mediaTypes: Map<Digest, string> = new Map();
  readonly tagged: Map<string, Digest> = new Map();
  readonly referrers: Map<Digest, ManifestEntry[]> = new Map();
  readonly #source: LayoutSource;

  constructor(source: LayoutSource) {
    this.#source = source;
  }

  async read(): Promise<LayoutParts> {
    await this.#readVersion();
    const bytes = await readSmall(this.#source, "index.json", UPSTREAM_LIMITS.manifestBytesMax);
    const { problem, children } = inspectManifest(bytes, MEDIA_TYPES.ociIndex);
    if (problem !== undefined) {
      throw new AirGapError(`${this.#source.name}: its index.json cannot be used: ${problem}`);
    }
    if (children.length > AIR_GAP_LIMITS.manifestsMax) {
      const { manifestsMax } = AIR_GAP_LIMITS;
      throw new AirGapError(
        `${this.#source.name}: its index.json has more than ${manifestsMax} entries`,
      );
    }
    for (const child of children) {
      await this.#readEntry(child);
    }
    return this;
  }

  async #readVersion(): Promise<void> {
    const bytes = await readSmall(this.#source, "oci-layout", AIR_GAP_LIMITS.layoutBytesMax);
    const document = objectOf(bytes);
    if (document?.["imageLayoutVersion"] !== LAYOUT_VERSION) {
      throw new AirGapError(
        `${this.#source.name}: its oci-layout does not say version ${LAYOUT_VERSION}`,
      );
    }
  }

  async #readEntry(entry: InspectedChild): Promise<void> {
    const { digest, mediaType, annotations } = entry;
    this.mediaTypes.set(digest, mediaType);
    const full = annotations[IMAGE_NAME];
    const ref = annotations[REF_NAME];
    const tag = ref?.slice(ref.lastIndexOf(":") + 1) ?? "";
    if (full === undefined && (isReferrersTag(tag) || ARTEFACT_TAG_PATTERN.test(tag))) {
      this.tagged.set(ref ?? "", digest);
      await this.#readChildren(entry, 0);
      return;
    }
    const name = full ?? (ref?.includes("/") ? ref : undefined);
    const inspection = await this.#readChildren(entry, 0);
    if (name !== undefined) {
      this.images.push({ name, digest });
    } else if (inspection?.subject !== undefined) {
      this.#addReferrer(inspection.subject, entry, inspection);
    } else {
      const problem = inspection === undefined ? DAMAGED : NAMELESS;
      this.unusable.push({ digest, problem });
    }
  }

  /** Indexes know the types of what they name. What is missing here is missed when it is pulled. */
  async #readChildren(
    { digest, mediaType }: InspectedChild,
    depth: number,
  ): Promise<Inspection | undefined> {
    const sizeBytes = await this.#source.sizeOf(blobPath(digest));
    if (sizeBytes === undefined || sizeBytes > UPSTREAM_LIMITS.manifestBytesMax) {
      return;
    }
    const bytes = await readSmall(this.#source, blobPath(digest), sizeBytes);
    if (digestOf(bytes, algorithmOf(digest)) !== digest) {
      return; // nothing of it is believed; whoever pulls it is told
    }
    const inspection = inspectManifest(bytes, mediaType);
    if (inspection.problem !== undefined || depth >= AIR_GAP_LIMITS.nestingMax) {
      return inspection;
    }
    for (const child of inspection.children) {
      if (!this.mediaTypes.has(child.digest)) {
        this.mediaTypes.set(child.digest, child.mediaType);
        if (this.mediaTypes.size > AIR_GAP_LIMITS.layoutManifestsMax) {
          const { layoutManifestsMax } = AIR_GAP_LIMITS;
          throw new AirGapError(
            `${this.#source.name}: it has more than ${layoutManifestsMax} manifests`,
          );
        }
        if (isIndex(child.mediaType)) {
          await this.#readChildren(child, depth + 1);
        }
      }
    }
    return inspection;
  }

  #addReferrer(subject: Digest, entry: InspectedChild, inspection: Inspection): void {
    const { digest, mediaType, sizeBytes } = entry;
    const artifactType = inspection.artifactType ?? inspection.config?.mediaType;
    const known = this.referrers.get(subject) ?? [];
    const referrer = { digest, mediaType, sizeBytes, ...(artifactType && { artifactType }) };
    this.referrers.set(subject, [...known, referrer]);
  }
}

/** image-spec v1.1.1 image-layout.md §blobs. */
export function blobPath(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`;
}

function isIndex(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerList;
}

function ownMediaType(bytes: Buffer): string {
  const mediaType = objectOf(bytes)?.["mediaType"];
  return typeof mediaType === "string" ? mediaType : MEDIA_TYPES.ociManifest;
}

function objectOf(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return typeof value === "object" && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return;
  }
}
