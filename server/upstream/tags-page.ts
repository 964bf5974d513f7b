import { nextQueryOf } from "./answer-headers.ts";
import type { TagsPage } from "./upstream.ts";

export interface ReadPage extends TagsPage {
  /** The query of a next page that no tag names: older Quay has `next_page` and ignores `last`. */
  readonly onlyBy?: string;
}

/** Undefined when the body is no list of tags. A repository without tags may say `null`. */
export function parseTagsPage(body: Buffer, link: string | undefined): ReadPage | undefined {
  const tags = parseTags(body.toString("utf8"));
  if (tags === undefined) {
    return undefined;
  }
  const query = nextQueryOf(link);
  const last = query?.get("last") ?? undefined;
  if (last === undefined || last === "") {
    const onlyBy = query?.has("next_page") ? { onlyBy: query.toString() } : {};
    return { tags, next: undefined, ...onlyBy };
  }
  const size = query?.get("n") ?? "";
  const pageSize = /^[1-9]\d{0,8}$/.test(size) ? Number(size) : undefined;
  return { tags, next: { last, pageSize } };
}

function parseTags(text: string): readonly string[] | undefined {
  try {
    const root: unknown = JSON.parse(text);
    if (typeof root !== "object" || root === null || !("tags" in root)) {
      return undefined;
    }
    const tags: unknown = root.tags ?? [];
    return Array.isArray(tags) && tags.every((tag) => typeof tag === "string") ? tags : undefined;
  } catch {
    return undefined;
  }
}
