import type { ServerResponse } from "node:http";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";

export interface FakeContentOptions {
  /** Whether there is a referrers API. True by default. */
  readonly referrers?: boolean;
  readonly tagPageSize?: number;
  /** Referrers in one answer, the rest behind `Link`. All of them by default. */
  readonly referrersPageSize?: number;
  /**
   * In place of every referrer's artifactType: some registries and writers get it wrong. `null`
   * leaves it out.
   */
  readonly referrersArtifactType?: string | null;
  /** Whether `?artifactType=` is heeded. False by default, as in many registries. */
  readonly filtersReferrers?: boolean;
}

interface StoredManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
  /** Of a referrer, read once: there may be ten thousand. */
  readonly subject: string | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: unknown;
}

interface Repository {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, StoredManifest>;
  readonly tags: Map<string, Digest>;
}

const DEFAULT_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json";
const INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json";

/** What a fake registry holds, and how its pull API answers. */
export class FakeContent {
  readonly #options: FakeContentOptions;
  readonly #repositories = new Map<string, Repository>();

  constructor(options: FakeContentOptions) {
    this.#options = options;
  }

  addBlob(repository: string, bytes: Uint8Array): Digest {
    const digest = digestOf(bytes);
    this.#repository(repository).blobs.set(digest, Buffer.from(bytes));
    return digest;
  }

  /** An object is sent as JSON. The media type is the object's own `mediaType` unless given. */
  addManifest(
    repository: string,
    tag: string | undefined,
    content: Uint8Array | object,
    mediaType?: string,
  ): Digest {
    const bytes =
      content instanceof Uint8Array ? Buffer.from(content) : Buffer.from(JSON.stringify(content));
    const own = "mediaType" in content ? String(content.mediaType) : DEFAULT_MEDIA_TYPE;
    const digest = digestOf(bytes);
    const { manifests, tags } = this.#repository(repository);
    manifests.set(digest, { bytes, mediaType: mediaType ?? own, ...referrerOf(bytes) });
    if (tag !== undefined) {
      tags.set(tag, digest);
    }
    return digest;
  }

  /** Puts a tag on what is there, or moves it. */
  addTag(repository: string, tag: string, digest: Digest): void {
    this.#repository(repository).tags.set(tag, digest);
  }

  /** The tag's or digest's manifest, as it was added. */
  manifest(repository: string, reference: string): Buffer | undefined {
    const { manifests, tags } = this.#repository(repository);
    return manifests.get(tags.get(reference) ?? reference)?.bytes;
  }

  removeManifest(repository: string, digest: Digest): void {
    this.#repository(repository).manifests.delete(digest);
  }

  /** Other bytes behind the same digest: a registry that lies. */
  replaceBlob(repository: string, digest: Digest, bytes: Uint8Array): void {
    this.#repository(repository).blobs.set(digest, Buffer.from(bytes));
  }

  /** A manifest with a config and layers of random bytes. */
  addImage(
    repository: string,
    tag: string,
    layers: readonly Uint8Array[],
  ): { readonly digest: Digest; readonly config: Digest; readonly layers: readonly Digest[] } {
    const configBytes = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux" }));
    const config = this.addBlob(repository, configBytes);
    const digests = layers.map((layer) => this.addBlob(repository, layer));
    const digest = this.addManifest(repository, tag, {
      schemaVersion: 2,
      mediaType: DEFAULT_MEDIA_TYPE,
      config: {
        mediaType: "application/vnd.oci.image.config.v1+json",
        digest: config,
        size: configBytes.length,
      },
      layers: digests.map((layer, index) => ({
        mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
        digest: layer,
        size: layers[index]?.length,
      })),
    });
    return { digest, config, layers: digests };
  }

  removeTag(repository: string, tag: string): void {
    this.#repository(repository).tags.delete(tag);
  }

  removeBlob(repository: string, digest: Digest): void {
    this.#repository(repository).blobs.delete(digest);
  }

  /** Sets the headers that go with it. Undefined when there is no such thing. */
  answer(path: string, response: ServerResponse): Buffer | undefined {
    const url = new URL(path, "http://fake.invalid");
    if (url.pathname === "/v2/") {
      return Buffer.from("{}");
    }
    const match = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(url.pathname);
    const [, name = "", kind, reference = ""] = match ?? [];
    const repository = this.#repositories.get(name);
    if (repository === undefined) {
      return undefined;
    }
    switch (kind) {
      case "manifests":
        return manifestOf(repository, reference, response);
      case "blobs":
        return blobOf(repository, reference, response);
      case "tags":
        return this.#tagsOf(repository, url, response);
      case "referrers":
        return this.#referrersOf(repository, reference, url, response);
      default:
        return undefined;
    }
  }

  #tagsOf(repository: Repository, url: URL, response: ServerResponse): Buffer {
    const last = url.searchParams.get("last") ?? "";
    const size = Number(url.searchParams.get("n") ?? this.#options.tagPageSize ?? 1000);
    const all = [...repository.tags.keys()].toSorted().filter((tag) => tag > last);
    const tags = all.slice(0, size);
    if (tags.length < all.length) {
      const next = `${url.pathname}?n=${size}&last=${encodeURIComponent(tags.at(-1) ?? "")}`;
      response.setHeader("link", `<${next}>; rel="next"`);
    }
    response.setHeader("content-type", "application/json");
    return Buffer.from(JSON.stringify({ name: url.pathname, tags }));
  }

  #referrersOf(
    repository: Repository,
    subject: string,
    url: URL,
    response: ServerResponse,
  ): Buffer | undefined {
    const { referrers, filtersReferrers, referrersPageSize } = this.#options;
    if (referrers === false) {
      return undefined;
    }
    const wanted = filtersReferrers === true ? url.searchParams.get("artifactType") : null;
    const all = [...repository.manifests]
      .filter(([, manifest]) => manifest.subject === subject)
      .map(([digest, manifest]) => this.#descriptorOf(digest, manifest))
      .filter((descriptor) => wanted === null || descriptor["artifactType"] === wanted);
    const size = referrersPageSize ?? all.length;
    const from = Number(url.searchParams.get("from") ?? 0);
    if (from + size < all.length) {
      const next = new URL(url);
      next.searchParams.set("from", String(from + size));
      response.setHeader("link", `<${next.pathname}${next.search}>; rel="next"`);
    }
    if (wanted !== null) {
      response.setHeader("oci-filters-applied", "artifactType");
    }
    response.setHeader("content-type", INDEX_MEDIA_TYPE);
    const manifests = all.slice(from, from + size);
    const index = { schemaVersion: 2, mediaType: INDEX_MEDIA_TYPE, manifests };
    return Buffer.from(JSON.stringify(index));
  }

  #descriptorOf(
    digest: string,
    { mediaType, bytes, artifactType, annotations }: StoredManifest,
  ): Readonly<Record<string, unknown>> {
    const { referrersArtifactType: given } = this.#options;
    const type = given === undefined ? artifactType : (given ?? undefined);
    return { mediaType, digest, size: bytes.length, artifactType: type, annotations };
  }

  #repository(name: string): Repository {
    const known = this.#repositories.get(name);
    if (known !== undefined) {
      return known;
    }
    const repository = { blobs: new Map(), manifests: new Map(), tags: new Map() };
    this.#repositories.set(name, repository);
    return repository;
  }
}

/** An artifactType is the config's media type where the manifest has none (image-spec v1.1.1). */
function referrerOf(
  bytes: Buffer,
): Pick<StoredManifest, "subject" | "artifactType" | "annotations"> {
  try {
    const { subject, artifactType, config, annotations } = JSON.parse(bytes.toString()) as {
      readonly subject?: { readonly digest?: string };
      readonly artifactType?: string;
      readonly config?: { readonly mediaType?: string };
      readonly annotations?: unknown;
    };
    return {
      subject: subject?.digest,
      artifactType: artifactType ?? config?.mediaType,
      annotations,
    };
  } catch {
    // A test's garbage: it refers to nothing.
    return { subject: undefined, artifactType: undefined, annotations: undefined };
  }
}

function manifestOf(
  { manifests, tags }: Repository,
  reference: string,
  response: ServerResponse,
): Buffer | undefined {
  const digest = tags.get(reference) ?? reference;
  const manifest = manifests.get(digest);
  if (manifest !== undefined) {
    response.setHeader("content-type", manifest.mediaType);
    response.setHeader("docker-content-digest", digest);
  }
  return manifest?.bytes;
}

function blobOf(
  { blobs }: Repository,
  digest: string,
  response: ServerResponse,
): Buffer | undefined {
  const blob = blobs.get(digest);
  if (blob !== undefined) {
    response.setHeader("content-type", "application/octet-stream");
    response.setHeader("docker-content-digest", digest);
    response.setHeader("accept-ranges", "bytes");
  }
  return blob;
}
