import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestOf, isDigest } from "../../storage/digest.ts";
import type { Credential } from "../credentials/credential.ts";
import { RegistryError } from "../errors.ts";
import { isReferrersTag } from "../oci/artefacts.ts";
import { MEDIA_TYPES } from "../oci/media-types.ts";
import type {
  BlobBody,
  BlobHeadRequest,
  BlobRequest,
  BlobSink,
  ClientUpstream,
  FetchedManifest,
  ManifestHead,
  ManifestRequest,
  ReferrersPage,
  TagsPage,
  TagsRequest,
  Upstream,
} from "../upstream/upstream.ts";
import type { Layout } from "./layout.ts";

/** Which digest an image's tag stands for, by `upstream/repository:tag`. */
export type LayoutTags = ReadonlyMap<string, Digest>;

/**
 * A file in place of a registry: what is pulled from it lands in the store under the registry's own
 * name, by the code of every other pull. It has no referrers API, but the tags that stand in for it:
 * so a store that was filled from it knows of signatures without the registry.
 */
export class LayoutUpstream implements Upstream {
  readonly name: string;
  readonly tagFreshSeconds: number;
  readonly serveStaleSeconds: number;
  readonly access = "shared";
  readonly hasOwnRights: boolean;
  readonly #layout: Layout;
  readonly #tags: LayoutTags;

  constructor(real: Upstream, layout: Layout, tags: LayoutTags) {
    this.name = real.name;
    this.tagFreshSeconds = real.tagFreshSeconds;
    this.serveStaleSeconds = real.serveStaleSeconds;
    this.hasOwnRights = real.hasOwnRights;
    this.#layout = layout;
    this.#tags = tags;
  }

  forClient(_credential: Credential | undefined): ClientUpstream {
    return { proof: this, pull: this };
  }

  async fetchManifest({ repository, reference }: ManifestRequest): Promise<FetchedManifest> {
    const digest = this.#digestOf(repository, reference);
    const found = digest && (await this.#layout.manifest(digest));
    if (digest !== undefined && found !== undefined) {
      this.#refuseOtherBytes(digest, found.bytes);
      return found;
    }
    const list = this.#listOfReferrers(reference);
    if (list === undefined) {
      throw this.#without("manifest-unknown", repository, reference);
    }
    return { bytes: list, mediaType: MEDIA_TYPES.ociIndex };
  }

  async headManifest(request: ManifestRequest): Promise<ManifestHead> {
    const { bytes, mediaType } = await this.fetchManifest(request);
    const { reference } = request;
    const digest = isDigest(reference) ? reference : digestOf(bytes);
    return { mediaType, digest, sizeBytes: bytes.byteLength };
  }

  async headBlob({ repository, digest }: BlobHeadRequest): Promise<{ readonly sizeBytes: number }> {
    const sizeBytes = await this.#layout.sizeOf(digest);
    if (sizeBytes === undefined) {
      throw this.#without("blob-unknown", repository, digest);
    }
    return { sizeBytes };
  }

  async openBlob(request: BlobRequest): Promise<BlobBody> {
    const { sizeBytes } = await this.headBlob(request);
    const { digest, offset } = request;
    return new LayoutBody(this.#layout.read(digest, offset), { sizeBytes, offset });
  }

  async listTags({ repository }: TagsRequest): Promise<TagsPage> {
    const start = `${this.name}/${repository}:`;
    const tags = [...this.#tags.keys()].filter((key) => key.startsWith(start));
    return { tags: tags.map((key) => key.slice(start.length)).toSorted(), next: undefined };
  }

  async listReferrers(): Promise<ReferrersPage | undefined> {
    return;
  }

  /** A tag is pulled for what it names, not for whatever lies under that name. */
  #refuseOtherBytes(digest: Digest, bytes: Buffer): void {
    const actual = digestOf(bytes, algorithmOf(digest));
    if (actual !== digest) {
      const what = `${this.#layout.name} has other bytes for ${digest}: they hash to ${actual}`;
      throw new RegistryError("upstream-invalid", what);
    }
  }

  #digestOf(repository: string, reference: string): Digest | undefined {
    if (isDigest(reference)) {
      return reference;
    }
    const name = `${this.name}/${repository}`;
    return this.#tags.get(`${name}:${reference}`) ?? this.#layout.artefact(name, reference);
  }

  /** Of referrers that stand in the file by themselves, as oras writes them. */
  #listOfReferrers(tag: string): Buffer | undefined {
    const subject = isReferrersTag(tag) ? tag.replace("-", ":") : undefined;
    return isDigest(subject) ? this.#layout.referrers(subject) : undefined;
  }

  #without(
    code: "manifest-unknown" | "blob-unknown",
    repository: string,
    reference: string,
  ): RegistryError {
    const what = `${this.name}/${repository}${isDigest(reference) ? "@" : ":"}${reference}`;
    return new RegistryError(code, `${this.#layout.name} does not have ${what}`);
  }
}

class LayoutBody implements BlobBody {
  readonly sizeBytes: number;
  readonly offset: number;
  readonly url = "file";
  readonly #chunks: AsyncIterable<Buffer>;
  #aborted: Error | undefined;
  #resume: (() => void) | undefined;

  constructor(
    chunks: AsyncIterable<Buffer>,
    { sizeBytes, offset }: { readonly sizeBytes: number; readonly offset: number },
  ) {
    this.#chunks = chunks;
    this.sizeBytes = sizeBytes;
    this.offset = offset;
  }

  async pipe(sink: BlobSink): Promise<void> {
    sink.start(() => this.#resume?.());
    for await (const chunk of this.#chunks) {
      if (this.#aborted !== undefined) {
        throw this.#aborted;
      }
      if (!sink.write(chunk)) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#resume = resolve;
        await promise;
      }
    }
  }

  abort(reason: Error): void {
    this.#aborted = reason;
    this.#resume?.();
  }
}
