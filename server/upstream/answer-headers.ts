import type { Headers } from "./exchange.ts";

/** One field's value; of several fields of that name, the first. */
export function headerOf(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : value?.[0];
}

/** Digits and nothing else: `undefined` when absent, NaN when malformed. */
export function parseLength(text: string | undefined): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

/** `bytes 10-99/100` (RFC 9110 §14.4). `sizeBytes` is undefined for `bytes 10-99/*`. */
export function parseContentRange(
  text: string | undefined,
): { readonly first: number; readonly last: number; readonly sizeBytes?: number } | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(text ?? "");
  if (match === null) {
    return undefined;
  }
  const [, first = "", last = "", size = ""] = match;
  const range = { first: Number(first), last: Number(last) };
  if (range.last < range.first) {
    return undefined;
  }
  return size === "*" ? range : { ...range, sizeBytes: Number(size) };
}

/** Without its parameters: `application/json; charset=utf-8` is `application/json`. */
export function mediaTypeOf(headers: Headers): string | undefined {
  const value = headerOf(headers, "content-type");
  return value?.split(";", 1)[0]?.trim();
}

/** Seconds from now, never negative; `undefined` when absent or unreadable (RFC 9110 §10.2.3). */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  if (/^\d{1,10}$/.test(text)) {
    return Number(text);
  }
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - nowMs) / 1000));
}

/** `ratelimit-remaining: 98;w=21600`, as Docker Hub says it. */
export function parseRateLimitRemaining(text: string | undefined): number | undefined {
  const match = /^(\d{1,9})(?:;|$)/.exec(text ?? "");
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** The query of the first `rel="next"` link (RFC 8288); its host and path are nobody's business. */
export function nextQueryOf(link: string | undefined): URLSearchParams | undefined {
  const match = /<([^<>\s]{1,4096})>[^,]*;\s*rel="?next"?(?:[\s;,]|$)/i.exec(link ?? "");
  const target = match?.[1];
  if (target === undefined) {
    return undefined;
  }
  return URL.parse(target, "http://link.invalid")?.searchParams;
}

/** For a message or a log: printable ASCII, one space for anything else, bounded. */
export function printable(text: string, lengthMax: number): string {
  const clean = text.replaceAll(/[^\x21-\x7e]+/g, " ").trim();
  return clean.length > lengthMax ? `${clean.slice(0, lengthMax - 3)}...` : clean;
}
