import type { Registry } from "../cache/cache.ts";
import type { Source } from "../cache/source.ts";
import { CLIENT_LIMITS } from "../limits.ts";
import type { TagsPage } from "../upstream/upstream.ts";
import type { Headers } from "./answers.ts";
import { sendWhole, warnings } from "./answers.ts";
import type { Exchange } from "./exchange.ts";

export interface TagsQuery {
  /** As asked, at most CLIENT_LIMITS.pageMax. */
  readonly pageSize?: number;
  readonly last?: string;
  /** As the client spelled it, for the link to the next page. */
  readonly name: string;
  readonly ns: string | undefined;
}

/** GET of a page of tags (distribution-spec v1.1.1 §listing-tags). */
export async function answerTags(
  exchange: Exchange,
  registry: Registry,
  source: Source,
  query: TagsQuery,
): Promise<void> {
  const { pageSize, last } = query;
  const found = await registry.tags(source, {
    ...(pageSize === undefined || pageSize === 0 ? {} : { pageSize }),
    ...(last === undefined ? {} : { last }),
  });
  exchange.outcome = found.outcome;
  const page = paged(found.list, query);
  const headers: Headers = {
    "content-type": "application/json",
    ...warnings(found.staleBecause),
  };
  if (page.next !== undefined) {
    headers["link"] = `<${nextUrl(query, page.next)}>; rel="next"`;
  }
  const body = JSON.stringify({ name: source.repository, tags: page.tags });
  sendWhole(exchange, headers, Buffer.from(body));
}

interface Page {
  readonly tags: readonly string[];
  readonly next: { readonly last: string; readonly pageSize: number | undefined } | undefined;
}

/**
 * The page that was asked for. Registries that page themselves are believed, order and all; those
 * that ignore `n` and `last` (docker-registry 2.8) sent everything, so it is cut here.
 */
export function paged(sent: TagsPage, query: TagsQuery): Page {
  const { pageSize, last } = query;
  if (pageSize === 0) {
    return { tags: [], next: undefined };
  }
  if (sent.next !== undefined && (pageSize === undefined || sent.tags.length <= pageSize)) {
    return { tags: sent.tags, next: sent.next };
  }
  const sorted = [...sent.tags].sort(byBytes);
  const after = last === undefined ? sorted : sorted.filter((tag) => byBytes(tag, last) > 0);
  const max = pageSize ?? Number.POSITIVE_INFINITY;
  const tags = after.length > max ? after.slice(0, max) : after;
  const end = tags.at(-1);
  const hasMore = tags.length < after.length || sent.next !== undefined;
  return { tags, next: hasMore && end !== undefined ? { last: end, pageSize } : undefined };
}

/** Always relative and always ours: a registry's link may lead anywhere. */
function nextUrl(query: TagsQuery, next: NonNullable<Page["next"]>): string {
  const parameters = new URLSearchParams();
  const pageSize = next.pageSize ?? query.pageSize;
  if (pageSize !== undefined) {
    parameters.set("n", String(Math.min(pageSize, CLIENT_LIMITS.pageMax)));
  }
  parameters.set("last", next.last);
  if (query.ns !== undefined) {
    parameters.set("ns", query.ns);
  }
  return `/v2/${query.name}/tags/list?${parameters}`;
}

/** The specification's order ("lexical", that is ASCII), not the locale's. */
function byBytes(a: string, b: string): number {
  if (a === b) {
    return 0;
  }
  return a < b ? -1 : 1;
}
