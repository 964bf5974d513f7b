import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";
import type { Registry } from "../cache/cache.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import { MEDIA_TYPES } from "../oci/media-types.ts";
import { AirGapError } from "./air-gap-error.ts";
import type { CollectedImage } from "./collect.ts";
import type { ManifestEntry } from "./descriptors.ts";
import { indexOf, referrersIndexOf, referrersTagOf } from "./descriptors.ts";
import { blobPath, IMAGE_NAME, REF_NAME } from "./layout.ts";
import type { WriteBytes } from "./tar-writer.ts";
import { TarWriter } from "./tar-writer.ts";

const LAYOUT_FILE = Buffer.from(JSON.stringify({ imageLayoutVersion: "1.0.0" }));

/** One blob of the layout, and where it comes from. */
interface Part {
  readonly sizeBytes: number;
  read(): AsyncIterable<Uint8Array>;
}

/** What goes into a file, sorted, and nothing of it read yet. */
export class LayoutPlan {
  readonly #parts = new Map<string, Part>();
  readonly #index: Buffer;
  readonly #registry: Registry;

  /** `registry`: where the images were collected. */
  constructor(images: readonly CollectedImage[], registry: Registry) {
    this.#registry = registry;
    for (const image of images) {
      this.#addContent(image);
    }
    this.#index = indexOf([...imageEntries(images), ...this.#attachedEntries(images)]);
  }

  /** Of all blobs, each counted once. */
  get sizeBytes(): number {
    return [...this.#parts.values()].reduce((sum, part) => sum + part.sizeBytes, 0);
  }

  /** @throws RegistryError, AirGapError: what was written until then is worth nothing. */
  async write(write: WriteBytes, onBytes: (count: number) => void): Promise<void> {
    const tar = new TarWriter(write);
    await tar.file("oci-layout", LAYOUT_FILE.byteLength, [LAYOUT_FILE]);
    await tar.file("index.json", this.#index.byteLength, [this.#index]);
    await tar.folder("blobs");
    let folder = "";
    for (const [path, part] of [...this.#parts].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      const parent = path.slice(0, path.lastIndexOf("/"));
      if (parent !== folder) {
        folder = parent;
        await tar.folder(folder);
      }
      await tar.file(path, part.sizeBytes, counted(part.read(), onBytes));
    }
    await tar.end();
  }

  #addContent({ source, manifests, blobs }: CollectedImage): void {
    for (const { digest, sizeBytes } of blobs.values()) {
      this.#parts.set(blobPath(digest), { sizeBytes, read: () => this.#blob(source, digest) });
    }
    for (const { digest, sizeBytes } of manifests.values()) {
      this.#parts.set(blobPath(digest), { sizeBytes, read: () => this.#manifest(source, digest) });
    }
  }

  /**
   * Signatures under the tags that registries without a referrers API use: regctl and cosign know
   * them, and oras finds what refers to what by itself. They bear no full name: podman, docker and
   * ctr would take them for images.
   */
  #attachedEntries(images: readonly CollectedImage[]): ManifestEntry[] {
    const tagged: Tagged[] = [];
    for (const { source, attached } of images) {
      const repository = nameOf(source);
      for (const { subject, referrers, tags } of attached) {
        tagged.push(...tags.map(({ tag, entry }) => ({ repository, tag, entry })));
        if (referrers.length > 0) {
          const entry = this.#addList(referrersIndexOf(referrers));
          tagged.push({ repository, tag: referrersTagOf(subject), entry });
        }
      }
    }
    return named(tagged).map(([name, { digest, mediaType, sizeBytes }]) => {
      return { digest, mediaType, sizeBytes, annotations: { [REF_NAME]: name } };
    });
  }

  #addList(bytes: Buffer): ManifestEntry {
    const digest = digestOf(bytes);
    const sizeBytes = bytes.byteLength;
    this.#parts.set(blobPath(digest), { sizeBytes, read: () => once(bytes) });
    return { digest, mediaType: MEDIA_TYPES.ociIndex, sizeBytes };
  }

  async *#manifest(source: Source, digest: Digest): AsyncGenerator<Uint8Array> {
    yield (await this.#registry.manifestByDigest(source, digest)).manifest.bytes;
  }

  async *#blob(source: Source, digest: Digest): AsyncGenerator<Uint8Array> {
    const { signal } = new AbortController();
    try {
      await using blob = await this.#registry.openBlob(source, digest, {
        choose: () => undefined,
        signal,
      });
      yield* blob;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new AirGapError(`${nameOf(source)}: ${why}`, { cause: error });
    }
  }
}

interface Tagged {
  readonly repository: string;
  readonly tag: string;
  readonly entry: ManifestEntry;
}

/** Sorted by name, so that the same images give the same bytes in whatever order they came. */
function imageEntries(images: readonly CollectedImage[]): ManifestEntry[] {
  const tagged: Tagged[] = [];
  const byDigest = new Map<string, ManifestEntry>();
  for (const { source, reference, root } of images) {
    if (reference.tag === undefined) {
      byDigest.set(`${nameOf(source)}@${root.digest}`, root);
    } else {
      tagged.push({ repository: nameOf(source), tag: reference.tag, entry: root });
    }
  }
  const entries = [
    ...fullyNamed(tagged),
    ...[...byDigest].map(([full, entry]) => ({ full, short: full, entry })),
  ];
  return entries
    .toSorted((a, b) => (a.full < b.full ? -1 : 1))
    .map(({ full, short, entry: { digest, mediaType, sizeBytes } }) => ({
      digest,
      mediaType,
      sizeBytes,
      annotations: { [IMAGE_NAME]: full, [REF_NAME]: short },
    }));
}

function named(tagged: readonly Tagged[]): [name: string, entry: ManifestEntry][] {
  const byName = new Map(fullyNamed(tagged).map(({ short, entry }) => [short, entry]));
  return [...byName].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** The tag alone where it is one thing in the file, else with its repository in front. */
function fullyNamed(
  tagged: readonly Tagged[],
): { readonly full: string; readonly short: string; readonly entry: ManifestEntry }[] {
  const digests = new Map<string, Set<Digest>>();
  for (const { tag, entry } of tagged) {
    digests.set(tag, (digests.get(tag) ?? new Set()).add(entry.digest));
  }
  const byFull = new Map(tagged.map((one) => [`${one.repository}:${one.tag}`, one]));
  return [...byFull].map(([full, { tag, entry }]) => {
    const isClear = digests.get(tag)?.size === 1;
    return { full, short: isClear ? tag : full, entry };
  });
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  onBytes: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield chunk;
    onBytes(chunk.byteLength);
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
