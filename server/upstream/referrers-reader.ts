import { RegistryError } from "../errors.ts";
import { headerOf, mediaTypeOf, nextQueryOf } from "./answer-headers.ts";
import { readBody, readErrorBody } from "./buffered-response.ts";
import type { Answer } from "./exchange.ts";
import { INDEX_ACCEPT, isManifestType } from "./media-types.ts";
import type { RegistryRequests, Usable } from "./registry-requests.ts";
import type { ReferrersPage, ReferrersRequest } from "./upstream.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

interface Page {
  readonly manifests: readonly unknown[];
  readonly next: string | undefined;
}

/** How registries without the referrers API say so. */
const ABSENT_STATUSES: readonly number[] = [303, 400, 404, 405, 406, 410, 501];

/** The referrers API (distribution-spec v1.1.1 §listing-referrers), page by page. */
export class ReferrersReader {
  readonly #name: string;
  readonly #requests: RegistryRequests;
  readonly #limits: UpstreamLimits;

  constructor(name: string, requests: RegistryRequests, limits: UpstreamLimits) {
    this.#name = name;
    this.#requests = requests;
    this.#limits = limits;
  }

  async list(request: ReferrersRequest): Promise<ReferrersPage | undefined> {
    const manifests: unknown[] = [];
    const asked = new Set<string>();
    let query = "";
    while (asked.size < this.#limits.referrersPagesMax && !asked.has(query)) {
      asked.add(query);
      const page = await this.#page(request, query);
      if (page === undefined) {
        return query === "" ? undefined : { manifests };
      }
      manifests.push(...page.manifests);
      if (page.next === undefined) {
        break;
      }
      query = page.next;
    }
    return { manifests };
  }

  #page(request: ReferrersRequest, query: string): Promise<Page | undefined> {
    const { repository, digest, signal, mustBeSure = false } = request;
    const subject = `the referrers of ${repository}@${digest}`;
    return this.#requests.send(
      {
        kind: "referrers",
        method: "GET",
        path: `/v2/${repository}/referrers/${digest}${query}`,
        repository,
        subject,
        accept: INDEX_ACCEPT,
        firstByteTimeoutMs: this.#limits.manifestFirstByteTimeoutMs,
        unknown: "manifest-unknown",
        statuses: [200, ...ABSENT_STATUSES],
        acceptsAnyRedirected: true,
        signal,
      },
      async (usable) => {
        const page = await this.#read(usable);
        if (page === undefined && mustBeSure && !isClearNo(usable)) {
          const { status } = usable.answer;
          const message = `${this.#name} answered ${status}, and no list, when asked for ${subject}`;
          throw new RegistryError("upstream-invalid", message);
        }
        return page;
      },
    );
  }

  async #read({ answer, remainingMs }: Usable): Promise<Page | undefined> {
    const isIdentity = (headerOf(answer.headers, "content-encoding") ?? "identity") === "identity";
    if (answer.status !== 200 || !isIndexType(answer) || !isIdentity) {
      await readErrorBody(answer, this.#limits);
      return undefined;
    }
    const body = await readBody(answer, {
      bytesMax: this.#limits.listBytesMax,
      timeoutMs: remainingMs,
      from: this.#name,
    });
    const manifests = parseManifests(body.toString("utf8"));
    if (manifests === undefined) {
      return undefined;
    }
    const next = nextQueryOf(headerOf(answer.headers, "link"));
    return { manifests, next: next === undefined || next.size === 0 ? undefined : `?${next}` };
  }
}

/**
 * "There is no such API": said by the status, or by sending us to a page of the registry's website,
 * whatever that answers (GHCR). An API behind a redirect that fails says nothing.
 */
function isClearNo({ answer, isRedirected }: Usable): boolean {
  const { status } = answer;
  if (!isRedirected) {
    return status !== 200;
  }
  const isFailing = status === 429 || status >= 500;
  return !(isFailing && mediaTypeOf(answer.headers) === "application/json");
}

function isIndexType({ headers }: Answer): boolean {
  return isManifestType(mediaTypeOf(headers) ?? "");
}

function parseManifests(text: string): readonly unknown[] | undefined {
  try {
    const root: unknown = JSON.parse(text);
    if (typeof root !== "object" || root === null || !("manifests" in root)) {
      return undefined;
    }
    const manifests: unknown = root.manifests ?? [];
    return Array.isArray(manifests) ? manifests : undefined;
  } catch {
    return undefined;
  }
}
