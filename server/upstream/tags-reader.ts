import { RegistryError } from "../errors.ts";
import { headerOf } from "./answer-headers.ts";
import { readBody } from "./buffered-response.ts";
import type { RegistryRequests, Usable } from "./registry-requests.ts";
import type { ReadPage } from "./tags-page.ts";
import { parseTagsPage } from "./tags-page.ts";
import type { TagsPage, TagsRequest } from "./upstream.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

/** Lists of tags (distribution-spec v1.1.1 §listing-tags). */
export class TagsReader {
  readonly #name: string;
  readonly #requests: RegistryRequests;
  readonly #limits: UpstreamLimits;

  constructor(name: string, requests: RegistryRequests, limits: UpstreamLimits) {
    this.#name = name;
    this.#requests = requests;
    this.#limits = limits;
  }

  /** A page; of a registry whose next page no tag names, all of them, as a list without a next. */
  async list(request: TagsRequest): Promise<TagsPage> {
    const { tags, next, onlyBy } = await this.#page(request, queryOf(request));
    if (onlyBy === undefined) {
      return { tags, next };
    }
    return { tags: await this.#rest(request, tags, onlyBy), next: undefined };
  }

  async #rest(
    request: TagsRequest,
    first: readonly string[],
    query: string,
  ): Promise<readonly string[]> {
    const all = new Set(first);
    const asked = new Set<string>();
    let characters = charactersOf(first);
    let next: string | undefined = query;
    while (next !== undefined) {
      const isTooMany = asked.size >= this.#limits.tagsPagesMax || asked.has(next);
      if (isTooMany || characters > this.#limits.listBytesMax) {
        throw this.#invalid(request, "in too many pages, or in a circle");
      }
      asked.add(next);
      const page: ReadPage = await this.#page(request, `?${next}`);
      characters += charactersOf(page.tags);
      for (const tag of page.tags) {
        all.add(tag);
      }
      next = page.onlyBy;
    }
    return [...all];
  }

  #page(request: TagsRequest, query: string): Promise<ReadPage> {
    const { repository, signal } = request;
    return this.#requests.send(
      {
        kind: "tags",
        method: "GET",
        path: `/v2/${repository}/tags/list${query}`,
        repository,
        subject: `the tags of ${repository}`,
        accept: "application/json",
        firstByteTimeoutMs: this.#limits.manifestFirstByteTimeoutMs,
        unknown: "name-unknown",
        statuses: [200],
        signal,
      },
      (usable) => this.#read(usable, request),
    );
  }

  async #read({ answer, remainingMs }: Usable, request: TagsRequest): Promise<ReadPage> {
    const encoding = headerOf(answer.headers, "content-encoding")?.toLowerCase() ?? "identity";
    if (encoding !== "identity") {
      throw this.#invalid(request, "compressed, although it was asked not to");
    }
    const body = await readBody(answer, {
      bytesMax: this.#limits.listBytesMax,
      timeoutMs: remainingMs,
      from: this.#name,
    });
    const page = parseTagsPage(body, headerOf(answer.headers, "link"));
    if (page === undefined) {
      throw this.#invalid(request, "in a form that is no list of tags");
    }
    return page;
  }

  #invalid({ repository }: TagsRequest, how: string): RegistryError {
    return new RegistryError(
      "upstream-invalid",
      `${this.#name} sent the tags of ${repository} ${how}; look at what answers at its url`,
    );
  }
}

function charactersOf(tags: readonly string[]): number {
  return tags.reduce((sum, tag) => sum + tag.length, 0);
}

function queryOf({ pageSize, last }: TagsRequest): string {
  const query = new URLSearchParams();
  if (pageSize !== undefined) {
    query.set("n", String(pageSize));
  }
  if (last !== undefined) {
    query.set("last", last);
  }
  return query.size === 0 ? "" : `?${query}`;
}
