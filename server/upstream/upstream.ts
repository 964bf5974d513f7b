import type { Digest } from "../../storage/digest.ts";
import type { Credential } from "../credentials/credential.ts";

/**
 * A registry that we pull from, whatever its number of urls, its log-in or its mood.
 *
 * Every method throws a RegistryError: `manifest-unknown`, `blob-unknown`, `name-unknown` for a
 * 404 of the registry, `upstream-refused` for its 401 and 403 (after our credentials were tried),
 * `upstream-limited` for 429, `upstream-unavailable` when it is down, slow, failing, or its breaker
 * is open, `upstream-invalid` when what it sent breaks the protocol or a limit.
 * Retries, failover between urls, tokens and redirects happen inside, before the first byte.
 */
export interface Upstream {
  readonly name: string;
  /** How long a tag is believed, in seconds. */
  readonly tagFreshSeconds: number;
  /** How long after that it may still be served when the registry fails, in seconds. */
  readonly serveStaleSeconds: number;
  /** `per-client`: what is held of it is served only to whoever may read it there. */
  readonly access: "shared" | "per-client";
  /** Rights differ from repository to repository: that a manifest names a blob proves nothing. */
  readonly hasOwnRights: boolean;
  /** Whom it is asked as, when that is a client: tells apart what is remembered of its refusals. */
  readonly account?: string;
  /** The same registry, asked for a client. Undefined stands for a client without a log-in. */
  forClient(credential: Credential | undefined): ClientUpstream;
  /** The manifest's bytes as they came, not yet compared with any digest. */
  fetchManifest(request: ManifestRequest): Promise<FetchedManifest>;
  /** HEAD: what the registry says of a manifest. Costs no quota at Docker Hub. */
  headManifest(request: ManifestRequest): Promise<ManifestHead>;
  /** HEAD: proof that the repository holds the blob. `sizeBytes` is undefined when not said. */
  headBlob(request: BlobHeadRequest): Promise<{ readonly sizeBytes: number | undefined }>;
  /** GET: resolves with the headers; the body waits until it is piped. */
  openBlob(request: BlobRequest): Promise<BlobBody>;
  listTags(request: TagsRequest): Promise<TagsPage>;
  /** The referrers API alone; `undefined` when the registry does not have it (404, 405, or no index). */
  listReferrers(request: ReferrersRequest): Promise<ReferrersPage | undefined>;
}

export interface ClientUpstream {
  /** Asked with the client's own log-in and nothing else: what it may read. */
  readonly proof: Upstream;
  /** Asked with our log-in, where there is one, else with the client's. */
  readonly pull: Upstream;
}

export interface RepositoryRequest {
  readonly repository: string;
  readonly signal?: AbortSignal;
}

export interface ManifestRequest extends RepositoryRequest {
  /** A tag or a digest. */
  readonly reference: string;
}

export interface FetchedManifest {
  /** Exactly as sent, parameters removed: `application/vnd.oci.image.index.v1+json`. */
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface ManifestHead {
  readonly mediaType: string | undefined;
  /** Docker-Content-Digest, when there is one and it is well formed. */
  readonly digest: Digest | undefined;
  readonly sizeBytes: number | undefined;
}

export interface BlobHeadRequest extends RepositoryRequest {
  readonly digest: Digest;
}

export interface BlobRequest extends BlobHeadRequest {
  /** Where to go on after a broken transfer: `Range: bytes=N-`. 0 asks for the whole. */
  readonly offset: number;
  /** Urls that already failed for this blob are tried last. See BlobBody.url. */
  readonly avoid?: ReadonlySet<string>;
}

/** The answer's body. Exactly one of `pipe` and `abort` is called, once. */
export interface BlobBody {
  /** Of the whole blob, from Content-Length or Content-Range; undefined when not said. */
  readonly sizeBytes: number | undefined;
  /** First byte of the body in the blob: the offset asked for, or 0 when it ignored the Range. */
  readonly offset: number;
  /** Which configured url answered, so that a resume can prefer another. */
  readonly url: string;
  /**
   * Pushes the body. Resolves after the last byte, rejects when the transfer breaks, stalls (30 s)
   * or drips (16 KiB/s over 60 s; paused time does not count), always with `upstream-unavailable`.
   * A chunk belongs to the sink only during the call.
   */
  pipe(sink: BlobSink): Promise<void>;
  /** Ends the transfer; a running `pipe` rejects. */
  abort(reason: Error): void;
}

export interface BlobSink {
  /**
   * Takes a chunk. False asks for a pause until the `resume` that `start` handed over is called.
   * Throwing ends the transfer; `pipe` rejects with what was thrown.
   */
  write(chunk: Buffer): boolean;
  start(resume: () => void): void;
}

export interface TagsRequest extends RepositoryRequest {
  /** At most this many; undefined leaves it to the registry. */
  readonly pageSize?: number;
  /** Exclusive. */
  readonly last?: string;
}

export interface TagsPage {
  readonly tags: readonly string[];
  /** The `last` of the next page, from the Link header; undefined when this is the end. */
  readonly next: { readonly last: string; readonly pageSize: number | undefined } | undefined;
}

export interface ReferrersRequest extends RepositoryRequest {
  readonly digest: Digest;
  /** An answer that is neither a list nor a clear "no such API" is `upstream-invalid`. */
  readonly mustBeSure?: boolean;
}

export interface ReferrersPage {
  /** The descriptors of all pages (5 at most), as sent: objects whose fields are not yet checked. */
  readonly manifests: readonly unknown[];
}
