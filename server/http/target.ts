import type { Digest } from "../../storage/digest.ts";
import { parseDigest } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import { CLIENT_LIMITS } from "../limits.ts";
import type { PullKind } from "../metrics.ts";
import { isTag, parseTag, shown } from "../oci/reference.ts";

export type Reference =
  | { readonly tag: string; readonly digest?: never }
  | { readonly digest: Digest; readonly tag?: never };

/** What a URL asks for, before anybody knows which upstream it means. */
export type Target = { readonly kind: "ping" } | PullTarget;

export type PullTarget =
  | (Named & { readonly kind: "manifest"; readonly reference: Reference })
  | (Named & { readonly kind: "blob"; readonly digest: Digest })
  | (Named & { readonly kind: "tags"; readonly pageSize?: number; readonly last?: string })
  | (Named & {
      readonly kind: "referrers";
      readonly digest: Digest;
      readonly artifactType?: string;
    });

export interface Named {
  readonly kind: PullKind;
  /** As asked: it may begin with the name of an upstream. */
  readonly name: string;
  /** containerd's `?ns=`: the registry that the image is named after. */
  readonly ns: string | undefined;
}

type Query = ReadonlyMap<string, string>;

const PREFIX = "/v2/";
const ROUTE_PATTERN = /^(.+)\/(manifests|blobs|referrers)\/([^/]+)$/;
const TAGS_SUFFIX = "/tags/list";
/** One spelling a name: whatever a path normaliser would change is refused before it is used. */
const ODD_SPELLING = /\/\/|\/\.{1,2}(?:\/|$)|[%\\;#\s]|[^\x21-\x7e]/;
const PAGE_SIZE_PATTERN = /^\d{1,10}$/;
const QUERY_KEYS: Readonly<Record<PullKind, readonly string[]>> = {
  manifest: ["ns"],
  blob: ["ns"],
  tags: ["ns", "n", "last"],
  referrers: ["ns", "artifactType"],
};

/**
 * Parses the raw request target, split from the right since repository names contain slashes
 * (distribution-spec v1.1.1 §endpoints).
 *
 * @throws RegistryError `path-unknown` when the path is not of the API, otherwise `name-invalid`,
 *   `request-invalid` or `pagination-invalid`; StorageError `digest-invalid`.
 */
export function parseTarget(rawUrl: string): Target {
  const question = rawUrl.indexOf("?");
  const rawPath = question < 0 ? rawUrl : rawUrl.slice(0, question);
  // Clients may encode the colon of a digest; nothing else that is encoded has a meaning here.
  const path = rawPath.replace(/%3a/gi, ":");
  if (ODD_SPELLING.test(path) || !path.startsWith("/")) {
    throw new RegistryError(
      "name-invalid",
      `not a spelling that is understood: ${shown(rawPath)}; expected /v2/NAME/manifests/REFERENCE ` +
        "without encoding, empty or relative parts",
    );
  }
  if (!path.startsWith(PREFIX)) {
    throw pathUnknown(path);
  }
  const rest = path.slice(PREFIX.length);
  if (rest === "") {
    return { kind: "ping" };
  }
  if (rest.endsWith("/")) {
    throw new RegistryError("name-invalid", `${shown(rawPath)} ends with a slash: leave it out`);
  }
  const query = parseQuery(question < 0 ? "" : rawUrl.slice(question + 1));
  if (rest.endsWith(TAGS_SUFFIX)) {
    return tagsTarget(rest.slice(0, -TAGS_SUFFIX.length), query);
  }
  const [, name, route, reference] = ROUTE_PATTERN.exec(rest) ?? [];
  if (name === undefined || reference === undefined) {
    throw pathUnknown(path);
  }
  return referenceTarget({ name, route, reference }, query);
}

function referenceTarget(
  parts: { readonly name: string; readonly route: string | undefined; readonly reference: string },
  query: Query,
): Target {
  const { name, reference } = parts;
  if (parts.route === "manifests") {
    return { ...named("manifest", name, query), reference: parse(reference) };
  }
  if (parts.route === "blobs") {
    return { ...named("blob", name, query), digest: parseDigest(reference) };
  }
  const artifactType = query.get("artifactType");
  return {
    ...named("referrers", name, query),
    digest: parseDigest(reference),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

function tagsTarget(name: string, query: Query): Target {
  const pageSize = parsePageSize(query.get("n"));
  const last = query.get("last");
  if (last !== undefined && last !== "" && !isTag(last)) {
    throw new RegistryError("pagination-invalid", `last is not a tag: ${shown(last)}`);
  }
  return {
    ...named("tags", name, query),
    ...(pageSize === undefined ? {} : { pageSize }),
    ...(last === undefined || last === "" ? {} : { last }),
  };
}

function parse(reference: string): Reference {
  return reference.includes(":")
    ? { digest: parseDigest(reference) }
    : { tag: parseTag(reference) };
}

function named<K extends PullKind>(kind: K, name: string, query: Query): Named & { kind: K } {
  for (const key of query.keys()) {
    if (!QUERY_KEYS[kind].includes(key)) {
      throw new RegistryError(
        "request-invalid",
        `${shown(key)} is no query parameter of ${kind}; expected ${QUERY_KEYS[kind].join(", ")}`,
      );
    }
  }
  return { kind, name, ns: query.get("ns") };
}

function parseQuery(text: string): Query {
  const query = new Map<string, string>();
  if (text === "") {
    return query;
  }
  let keys = 0;
  for (const [key, value] of new URLSearchParams(text)) {
    keys += 1;
    if (query.has(key) || keys > CLIENT_LIMITS.queryKeysMax) {
      throw new RegistryError("request-invalid", "a query parameter is given more than once");
    }
    query.set(key, value);
  }
  return query;
}

function parsePageSize(text: string | undefined): number | undefined {
  if (text === undefined) {
    return;
  }
  if (!PAGE_SIZE_PATTERN.test(text)) {
    throw new RegistryError("pagination-invalid", `n is not a number of tags: ${shown(text)}`);
  }
  return Math.min(Number(text), CLIENT_LIMITS.pageMax);
}

function pathUnknown(path: string): RegistryError {
  return new RegistryError(
    "path-unknown",
    `${shown(path)} is not part of the registry API: /v2/, and under /v2/NAME/ manifests, blobs, ` +
      "tags/list and referrers",
  );
}
