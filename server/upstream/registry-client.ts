import { digestOf, isDigest } from "../../storage/digest.ts";
import type { Credential } from "../credentials/credential.ts";
import { fingerprintOf } from "../credentials/credential.ts";
import { RegistryError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import type { UpstreamSettings } from "../settings.ts";
import { headerOf, mediaTypeOf, parseContentRange, parseLength } from "./answer-headers.ts";
import { BlobTransfer } from "./blob-transfer.ts";
import { readBody, readErrorBody } from "./buffered-response.ts";
import type { LogIns } from "./credentials.ts";
import { ClientLogIns } from "./credentials.ts";
import type { Answer } from "./exchange.ts";
import { AttemptFailure } from "./failure.ts";
import { isManifestType, MANIFEST_ACCEPT } from "./media-types.ts";
import { ReferrersReader } from "./referrers-reader.ts";
import type { RegistryRequest, RegistryRequests, Usable } from "./registry-requests.ts";
import { TagsReader } from "./tags-reader.ts";
import type {
  BlobBody,
  BlobHeadRequest,
  BlobRequest,
  ClientUpstream,
  FetchedManifest,
  ManifestHead,
  ManifestRequest,
  ReferrersPage,
  ReferrersRequest,
  TagsPage,
  TagsRequest,
  Upstream,
} from "./upstream.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

export interface RegistryClientOptions {
  readonly settings: UpstreamSettings;
  readonly requests: RegistryRequests;
  readonly limits: UpstreamLimits;
  readonly metrics: Metrics;
  readonly hasOwnRights: boolean;
  /** Ours. */
  readonly logIns: LogIns;
  readonly account?: string;
}

const PAGE_TYPE = /^(?:text\/html|application\/xhtml\+xml)$/i;

/** The pull API of one registry (distribution-spec v1.1.1), as answers or RegistryErrors. */
export class RegistryClient implements Upstream {
  readonly name: string;
  readonly tagFreshSeconds: number;
  readonly serveStaleSeconds: number;
  readonly access: UpstreamSettings["access"];
  readonly hasOwnRights: boolean;
  readonly account?: string;
  readonly #options: RegistryClientOptions;
  readonly #requests: RegistryRequests;
  readonly #limits: UpstreamLimits;
  readonly #metrics: Metrics;
  readonly #referrers: ReferrersReader;
  readonly #tags: TagsReader;

  constructor(options: RegistryClientOptions) {
    const { settings, requests, limits, metrics, account } = options;
    this.#options = options;
    this.name = settings.name;
    this.access = settings.access;
    this.hasOwnRights = options.hasOwnRights;
    if (account !== undefined) {
      this.account = account;
    }
    this.tagFreshSeconds = settings.tagFreshSeconds;
    this.serveStaleSeconds = settings.serveStaleSeconds;
    this.#requests = requests;
    this.#limits = limits;
    this.#metrics = metrics;
    this.#referrers = new ReferrersReader(this.name, requests, limits);
    this.#tags = new TagsReader(this.name, requests, limits);
  }

  forClient(credential: Credential | undefined): ClientUpstream {
    const { requests, logIns } = this.#options;
    const account = fingerprintOf(credential);
    const as = (own: LogIns | undefined): Upstream =>
      new RegistryClient({
        ...this.#options,
        requests: requests.as(new ClientLogIns(own, credential), own === undefined),
        account,
      });
    return { proof: as(undefined), pull: as(logIns) };
  }

  fetchManifest(request: ManifestRequest): Promise<FetchedManifest> {
    return this.#requests.send(this.#manifestRequest("GET", request), async (usable) => {
      const { answer, remainingMs } = usable;
      const mediaType = this.#manifestType(answer, request);
      if (mediaType === undefined) {
        throw this.#invalid(subjectOf(request), "without saying of which type it is");
      }
      this.#requireIdentity(answer, subjectOf(request));
      const bytes = await readBody(answer, {
        bytesMax: this.#limits.manifestBytesMax,
        timeoutMs: remainingMs,
        from: this.name,
      });
      this.#metrics.upstreamBytes(this.name, bytes.length);
      return { mediaType, bytes };
    });
  }

  async headManifest(request: ManifestRequest): Promise<ManifestHead> {
    const asked = this.#manifestRequest("HEAD", request);
    const head = await this.#requests.send(
      { ...asked, statuses: [200, 405], keepsAlive: true },
      ({ answer }) => (answer.status === 405 ? undefined : this.#manifestHead(answer, request)),
    );
    if (head !== undefined) {
      return head;
    }
    const { bytes, mediaType } = await this.fetchManifest(request);
    return { mediaType, digest: digestOf(bytes), sizeBytes: bytes.length };
  }

  async headBlob(request: BlobHeadRequest): Promise<{ readonly sizeBytes: number | undefined }> {
    try {
      const head = await this.#requests.send(
        { ...this.#blobRequest(request), method: "HEAD", statuses: [200, 405] },
        ({ answer }) => (answer.status === 405 ? undefined : this.#blobHead(answer, request)),
      );
      return head ?? (await this.#probeBlob(request));
    } catch (error) {
      if (!isRefusedByTarget(error)) {
        throw error;
      }
      // A url that was signed for GET answers a HEAD with 403 (S3).
      return await this.#probeBlob(request);
    }
  }

  openBlob(request: BlobRequest): Promise<BlobBody> {
    const { offset, avoid } = request;
    const asked = this.#blobRequest(request);
    return this.#requests.send(
      offset === 0
        ? { ...asked, avoid }
        : { ...asked, avoid, range: `bytes=${offset}-`, statuses: [200, 206] },
      (usable) => this.#blobBody(usable, request),
    );
  }

  listTags(request: TagsRequest): Promise<TagsPage> {
    return this.#tags.list(request);
  }

  listReferrers(request: ReferrersRequest): Promise<ReferrersPage | undefined> {
    return this.#referrers.list(request);
  }

  #manifestRequest(method: "GET" | "HEAD", request: ManifestRequest): RegistryRequest {
    const { repository, reference, signal } = request;
    return {
      kind: "manifest",
      method,
      path: `/v2/${repository}/manifests/${reference}`,
      repository,
      subject: subjectOf(request),
      accept: MANIFEST_ACCEPT,
      firstByteTimeoutMs: this.#limits.manifestFirstByteTimeoutMs,
      unknown: "manifest-unknown",
      statuses: [200],
      signal,
    };
  }

  #blobRequest({ repository, digest, signal }: BlobHeadRequest): RegistryRequest {
    return {
      kind: "blob",
      method: "GET",
      path: `/v2/${repository}/blobs/${digest}`,
      repository,
      subject: `${repository}@${digest}`,
      accept: "*/*",
      firstByteTimeoutMs: this.#limits.blobFirstByteTimeoutMs,
      unknown: "blob-unknown",
      statuses: [200],
      signal,
    };
  }

  #manifestHead(answer: Answer, request: ManifestRequest): ManifestHead {
    const said = headerOf(answer.headers, "docker-content-digest");
    const sizeBytes = parseLength(headerOf(answer.headers, "content-length"));
    return {
      mediaType: this.#manifestType(answer, request),
      digest: isDigest(said) ? said : undefined,
      sizeBytes: Number.isNaN(sizeBytes) ? undefined : sizeBytes,
    };
  }

  #manifestType(answer: Answer, request: ManifestRequest): string | undefined {
    const mediaType = mediaTypeOf(answer.headers);
    if (mediaType !== undefined && !isManifestType(mediaType)) {
      throw this.#invalid(subjectOf(request), "as something that is no manifest, such as a page");
    }
    return mediaType;
  }

  #blobBody({ answer, endpoint }: Usable, { repository, digest, offset }: BlobRequest): BlobBody {
    const subject = `${repository}@${digest}`;
    this.#requireIdentity(answer, subject);
    const { limits, metrics, name } = {
      limits: this.#limits,
      metrics: this.#metrics,
      name: this.name,
    };
    const sizeBytes = this.#blobSize(answer, { repository, digest });
    const isPartial = answer.status === 206;
    if (isPartial && contentRangeOf(answer)?.first !== offset) {
      throw this.#invalid(subject, "from another position than was asked for");
    }
    const options = { name, subject, endpoint, sizeBytes, limits, metrics };
    return new BlobTransfer(answer, { ...options, offset: isPartial ? offset : 0 });
  }

  /**
   * There are no bytes to compare with the digest: a log-in page that somebody has put in front of
   * the registry must not pass for a proof.
   */
  #blobHead(answer: Answer, request: BlobHeadRequest): { readonly sizeBytes: number | undefined } {
    const { digest, repository } = request;
    const said = headerOf(answer.headers, "docker-content-digest");
    if (said !== digest && PAGE_TYPE.test(mediaTypeOf(answer.headers) ?? "")) {
      throw this.#invalid(`${repository}@${digest}`, "as a page, as if it wanted a log-in there");
    }
    return { sizeBytes: this.#blobSize(answer, request) };
  }

  /** Of the whole blob, whatever part of it is being sent. */
  #blobSize(answer: Answer, { repository, digest }: BlobHeadRequest): number | undefined {
    const lengthBytes = parseLength(headerOf(answer.headers, "content-length"));
    const sizeBytes = answer.status === 206 ? contentRangeOf(answer)?.sizeBytes : lengthBytes;
    if (sizeBytes !== undefined && !(sizeBytes <= this.#limits.blobBytesMax)) {
      throw this.#invalid(`${repository}@${digest}`, "with a size that no blob may have");
    }
    return sizeBytes;
  }

  /** For registries without HEAD: the first byte of a GET proves as much. */
  #probeBlob(request: BlobHeadRequest): Promise<{ readonly sizeBytes: number | undefined }> {
    return this.#requests.send(
      { ...this.#blobRequest(request), range: "bytes=0-0", statuses: [200, 206] },
      async ({ answer }) => {
        const head = this.#blobHead(answer, request);
        await readErrorBody(answer, this.#limits);
        return head;
      },
    );
  }

  /** We ask for the bytes as they are; anything else has another digest. */
  #requireIdentity(answer: Answer, subject: string): void {
    const encoding = headerOf(answer.headers, "content-encoding")?.toLowerCase() ?? "identity";
    if (encoding !== "identity") {
      throw this.#invalid(subject, "compressed, although it was asked not to");
    }
  }

  #invalid(subject: string, how: string): RegistryError {
    return new RegistryError(
      "upstream-invalid",
      `${this.name} sent ${subject} ${how}; look at what answers at its url`,
    );
  }
}

function subjectOf({ repository, reference }: ManifestRequest): string {
  return `${repository}${reference.includes(":") ? "@" : ":"}${reference}`;
}

function contentRangeOf(answer: Answer): ReturnType<typeof parseContentRange> {
  return parseContentRange(headerOf(answer.headers, "content-range"));
}

function isRefusedByTarget(error: unknown): boolean {
  return (
    error instanceof RegistryError &&
    error.cause instanceof AttemptFailure &&
    error.cause.reason === "redirect"
  );
}
