import type { Digest } from "../../storage/digest.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { Source } from "../cache/source.ts";
import type { Decision } from "../decision.ts";
import type { Reference } from "../http/target.ts";
import { AIR_GAP_LIMITS } from "../limits.ts";
import { MEDIA_TYPES } from "../oci/media-types.ts";
import type { InspectedChild, Inspection } from "../oci/strict-manifest.ts";
import { inspectManifest } from "../oci/strict-manifest.ts";
import { AirGapError } from "./air-gap-error.ts";
import type { Attached } from "./collect-signatures.ts";
import { SignatureCollector } from "./collect-signatures.ts";
import type { Collected } from "./content.ts";
import { addContent } from "./content.ts";
import { isAmong, platformsOf, refuseMissing } from "./platforms.ts";
import type { Pulls } from "./pulls.ts";

/** Everything that an image is made of, and what was signed about it. None of the blobs was read. */
export interface CollectedImage {
  readonly source: Source;
  readonly reference: Reference;
  readonly root: Pick<Manifest, "digest" | "mediaType"> & Collected;
  readonly decision: Decision | undefined;
  /** By digest: the root, its children, signatures. */
  readonly manifests: ReadonlyMap<Digest, Collected>;
  readonly blobs: ReadonlyMap<Digest, Collected>;
  readonly platforms: readonly string[];
  /** Children that were not chosen. */
  readonly absent: readonly Digest[];
  readonly attached: readonly Attached[];
  /** What belongs to it and was left out, and why: sentences. */
  readonly leftOut: readonly string[];
}

export interface CollectOptions {
  readonly pulls: Pulls;
  /** Only these platforms of an index; undefined is all of them. */
  readonly platforms?: readonly string[];
  /** Whether a child is there at all; undefined is yes. */
  readonly has?: (digest: Digest) => Promise<boolean>;
  readonly withSignatures: boolean;
}

/** Types of manifests: what an index names of another type is content. */
const MANIFEST_TYPES: ReadonlySet<string> = new Set(Object.values(MEDIA_TYPES));
/** BuildKit's: which child of the index an attestation is about. */
const ATTESTED = "vnd.docker.reference.digest";

/**
 * Walks an image as its clients would, through the policy.
 *
 * @throws PolicyError when it is refused, RegistryError, AirGapError.
 */
export async function collectImage(
  source: Source,
  reference: Reference,
  options: CollectOptions,
): Promise<CollectedImage> {
  return await new ImageCollector(source, options).run(reference);
}

class ImageCollector {
  readonly #source: Source;
  readonly #options: CollectOptions;
  readonly #manifests = new Map<Digest, Collected>();
  readonly #blobs = new Map<Digest, Collected>();
  readonly #platforms = new Set<string>();
  readonly #absent: Digest[] = [];

  constructor(source: Source, options: CollectOptions) {
    this.#source = source;
    this.#options = options;
  }

  async run(reference: Reference): Promise<CollectedImage> {
    const { registry } = this.#options.pulls;
    const found =
      reference.tag === undefined
        ? await registry.manifestByDigest(this.#source, reference.digest)
        : await registry.manifestByTag(this.#source, reference.tag);
    await this.#take(found.manifest, 0);
    const signatures = new SignatureCollector(this.#source, {
      pulls: this.#options.pulls,
      mayBeHeld: found.outcome !== "miss",
      manifests: this.#manifests,
      blobs: this.#blobs,
    });
    if (this.#options.withSignatures) {
      await signatures.collect([...this.#manifests.keys()]);
    }
    const { digest, mediaType, bytes } = found.manifest;
    return {
      source: this.#source,
      reference,
      root: { digest, mediaType, sizeBytes: bytes.byteLength },
      decision: found.decision,
      manifests: this.#manifests,
      blobs: this.#blobs,
      platforms: [...this.#platforms],
      absent: this.#absent,
      attached: signatures.attached,
      leftOut: signatures.leftOut,
    };
  }

  async #take(manifest: Manifest, depth: number): Promise<void> {
    const { digest, bytes } = manifest;
    const inspection = this.#inspect(manifest);
    this.#manifests.set(digest, { digest, sizeBytes: bytes.byteLength });
    if (this.#manifests.size > AIR_GAP_LIMITS.manifestsMax) {
      throw new AirGapError(`it has more than ${AIR_GAP_LIMITS.manifestsMax} manifests`);
    }
    addContent(this.#blobs, inspection);
    if (inspection.kind !== "index") {
      return;
    }
    if (depth >= AIR_GAP_LIMITS.nestingMax) {
      throw new AirGapError(`it has indexes in indexes, deeper than ${AIR_GAP_LIMITS.nestingMax}`);
    }
    for (const child of await this.#choose(manifest, inspection)) {
      await this.#takeChild(child, depth);
    }
  }

  async #takeChild({ digest, mediaType, sizeBytes }: InspectedChild, depth: number): Promise<void> {
    if (!MANIFEST_TYPES.has(mediaType)) {
      this.#blobs.set(digest, { digest, sizeBytes });
      return;
    }
    if (!this.#manifests.has(digest)) {
      const { registry } = this.#options.pulls;
      const { manifest } = await registry.manifestByDigest(this.#source, digest);
      await this.#take(manifest, depth + 1);
    }
  }

  #inspect({ digest, bytes, mediaType }: Manifest): Inspection {
    const inspection = inspectManifest(bytes, mediaType);
    if (inspection.problem !== undefined) {
      throw new AirGapError(`its manifest ${digest} cannot be used: ${inspection.problem}`);
    }
    return inspection;
  }

  /** Of a single image nothing can be chosen: it is what was asked for. */
  async #choose(
    { digest, bytes }: Manifest,
    { children }: Inspection,
  ): Promise<readonly InspectedChild[]> {
    const platforms = platformsOf(bytes);
    const wanted = this.#options.platforms;
    if (wanted !== undefined && platforms.size > 0) {
      refuseMissing(`the index ${digest}`, [...platforms.values()].flat(), wanted);
    }
    const isChosen = (child: Digest | string): boolean =>
      wanted === undefined || isAmong(platforms.get(child) ?? [], wanted);
    const chosen: InspectedChild[] = [];
    for (const child of children) {
      const about = child.annotations[ATTESTED] ?? child.digest;
      const isForNone = !platforms.has(about) && child.annotations[ATTESTED] === undefined;
      const isThere = (await this.#options.has?.(child.digest)) ?? true;
      if ((isForNone || isChosen(about)) && isThere) {
        chosen.push(child);
        for (const platform of platforms.get(child.digest) ?? []) {
          this.#platforms.add(platform);
        }
      } else {
        this.#absent.push(child.digest);
      }
    }
    return chosen;
  }
}
