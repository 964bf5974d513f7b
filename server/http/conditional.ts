import type { Digest } from "../../storage/digest.ts";

/** Strong, since a digest names exactly these bytes (RFC 9110 §8.8.3). */
export function etagOf(digest: Digest): string {
  return `"${digest}"`;
}

/** If-None-Match (RFC 9110 §13.1.2): a weak comparison against a list, or `*`. */
export function isNotModified(header: string | undefined, digest: Digest): boolean {
  if (header === undefined) {
    return false;
  }
  const etag = etagOf(digest);
  return header.split(",").some((item) => {
    const candidate = item.trim();
    return candidate === "*" || candidate === etag || candidate === `W/${etag}`;
  });
}

/** If-Range (RFC 9110 §13.1.5): only the strong tag of these very bytes lets a Range stand. */
export function mayUseRange(header: string | undefined, digest: Digest): boolean {
  return header === undefined || header.trim() === etagOf(digest);
}

/** Whether an Accept header (RFC 9110 §12.5.1) takes a media type; none takes everything. */
export function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined || header.trim() === "") {
    return true;
  }
  const [type] = mediaType.split("/");
  return header.split(",").some((item) => {
    const [range = "", ...parameters] = item.split(";").map((part) => part.trim().toLowerCase());
    const isRefused = parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter));
    return !isRefused && ["*/*", `${type}/*`, mediaType.toLowerCase()].includes(range);
  });
}
