import type { SignedSubject } from "./signed-images.ts";
import { OCI_INDEX, OCI_MANIFEST } from "./signed-images.ts";

/** One way to ask a proxy for a manifest. */
export interface Route {
  /** `GET by tag`. */
  readonly name: string;
  readonly method: "GET" | "HEAD";
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What a route came to. */
export interface RouteAnswer {
  readonly route: Route;
  readonly status: number;
  /** With HEAD, the only place for the reason. */
  readonly statusText: string;
  readonly headers: Headers;
  readonly body: Buffer;
}

const DOCKER_TYPES = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");
const METHODS = ["GET", "HEAD"] as const;

/**
 * Every route to an image of `team.example`, which is the default and has the alias
 * `mirror.example`. Without a tag those that take a digest.
 */
export function routesTo(
  { repository, digest }: Pick<SignedSubject, "repository" | "digest">,
  tag?: string,
): readonly Route[] {
  const at = `/v2/${repository}`;
  const alias = `/v2/mirror.example/${repository}`;
  const both = (name: string, path: string): Route[] => METHODS.map((it) => by(it, name, path));
  return [
    ...both("by digest", `${at}/manifests/${digest}`),
    ...both("by digest and alias", `${alias}/manifests/${digest}`),
    ...both("by digest and ns", `${at}/manifests/${digest}?ns=mirror.example`),
    ...both("as a blob", `${at}/blobs/${digest}`),
    ...both("as a blob by ns", `${at}/blobs/${digest}?ns=team.example`),
    ...both("as a blob by its full name", `/v2/team.example/${repository}/blobs/${digest}`),
    by("GET", "the start of the blob", `${at}/blobs/${digest}`, { range: "bytes=0-9" }),
    by("GET", "the end of the blob", `${alias}/blobs/${digest}`, { range: "bytes=5-" }),
    ...(tag === undefined ? [] : routesByTag(at, alias, tag)),
  ];
}

/** Those on which a client says what it takes, or what it has: a refusal comes before either. */
export function pickyRoutesTo(
  { repository, digest }: Pick<SignedSubject, "repository" | "digest">,
  tag: string,
): readonly Route[] {
  const at = `/v2/${repository}/manifests`;
  const types = { "an index": OCI_INDEX, "an image": OCI_MANIFEST, "Docker's types": DOCKER_TYPES };
  return [
    ...Object.entries(types).flatMap(([name, accept]) =>
      METHODS.map((method) => by(method, `by tag for ${name}`, `${at}/${tag}`, { accept })),
    ),
    by("GET", "by digest for a web page", `${at}/${digest}`, { accept: "text/html" }),
    by("GET", "by digest that is held", `${at}/${digest}`, { "if-none-match": `"${digest}"` }),
    by("GET", "by tag that is held", `${at}/${tag}`, { "if-none-match": "*" }),
  ];
}

/** Asks as it is written, with nothing of a browser's added. */
export async function askBy(url: string, route: Route): Promise<RouteAnswer> {
  const { method, path, headers } = route;
  const response = await fetch(`${url}${path}`, { method, headers: { ...headers } });
  const body = Buffer.from(await response.arrayBuffer());
  return {
    route,
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
    body,
  };
}

function routesByTag(at: string, alias: string, tag: string): Route[] {
  return METHODS.flatMap((method) => [
    by(method, "by tag", `${at}/manifests/${tag}`),
    by(method, "by tag and alias", `${alias}/manifests/${tag}`),
    by(method, "by tag and ns", `${at}/manifests/${tag}?ns=mirror.example`),
  ]);
}

function by(
  method: "GET" | "HEAD",
  name: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Route {
  return { name: `${method} ${name}`, method, path, headers };
}
