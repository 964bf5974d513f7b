import { isLoopbackHost } from "../loopback.ts";
import type { UpstreamSettings } from "../settings.ts";
import { isRegistryName } from "./addresses.ts";
import type { ConfigDraft, ListDraft, UpstreamDraft } from "./draft.ts";
import type { Path } from "./nodes.ts";
import type { ConfigScope } from "./scope.ts";
import { readAuth } from "./upstream-auth.ts";
import type { WellKnownUpstream } from "./well-known-upstreams.ts";
import { CUSTOMARY_DEFAULT, WELL_KNOWN_UPSTREAMS } from "./well-known-upstreams.ts";

const TAG_FRESH_SECONDS = 30;
const SERVE_STALE_SECONDS = 86_400;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { "https:": "443", "http:": "80" };

/** The upstreams of a file; the well-known ones when it names none. */
export function readUpstreams(scope: ConfigScope, draft: ConfigDraft): UpstreamSettings[] {
  const section: Readonly<Record<string, UpstreamDraft>> =
    draft.upstreams ?? Object.fromEntries(Object.keys(WELL_KNOWN_UPSTREAMS).map((n) => [n, {}]));
  const claimed = claimNames(scope, section);
  return Object.entries(section).map(([name, upstream]) =>
    readUpstream({ scope, name, upstream, claimed }),
  );
}

/** @returns the name of the configured default, or the customary one when it is configured. */
export function readDefaultUpstream(
  scope: ConfigScope,
  draft: ConfigDraft,
  upstreams: readonly UpstreamSettings[],
): string | undefined {
  const names = upstreams.map(({ name }) => name);
  const wanted = draft.defaultUpstream;
  if (wanted === undefined) {
    return names.find((name) => name === CUSTOMARY_DEFAULT);
  }
  const alias = upstreams.find(({ aliases }) => aliases.includes(wanted));
  if (alias !== undefined) {
    scope.mismatch(["defaultUpstream"], `the name of the registry, ${alias.name}`);
  } else if (!names.includes(wanted)) {
    scope.mismatch(["defaultUpstream"], `one of the configured upstreams: ${names.join(", ")}`);
  }
  return wanted;
}

/** Every spelling in use, lower-case, so that no two upstreams can be meant by one. */
function claimNames(
  scope: ConfigScope,
  section: Readonly<Record<string, UpstreamDraft>>,
): ReadonlySet<string> {
  const owners = new Map<string, string>();
  const claim = (spelling: string, owner: string, path: Path, part: "key" | "value") => {
    const before = owners.get(spelling.toLowerCase());
    if (before === undefined) {
      owners.set(spelling.toLowerCase(), owner);
      return;
    }
    const found = part === "key" ? JSON.stringify(spelling) : scope.quote(path);
    scope.problem(
      path,
      `found ${found}, which ${before} is called already, expected a name once`,
      part,
    );
  };
  for (const name of Object.keys(section)) {
    claim(name, name, ["upstreams", name], "key");
  }
  for (const [name, { aliases }] of Object.entries(section)) {
    for (const [index, alias] of (aliases ?? []).entries()) {
      if (alias !== undefined) {
        claim(alias, name, ["upstreams", name, "aliases", index], "value");
      }
    }
  }
  return new Set(owners.keys());
}

interface UpstreamSource {
  readonly scope: ConfigScope;
  readonly name: string;
  readonly upstream: UpstreamDraft;
  readonly claimed: ReadonlySet<string>;
}

function readUpstream({ scope, name, upstream, claimed }: UpstreamSource): UpstreamSettings {
  const path = ["upstreams", name];
  const known = wellKnown(name, upstream);
  const insecure = upstream.insecure ?? false;
  const urls = readUrls(scope, [...path, "url"], { url: upstream.url, insecure }) ?? [
    known.url ?? `https://${name}`,
  ];
  checkName(scope, name, urls);
  const hosts = (key: "aliases" | "tokenHosts" | "redirectHosts") =>
    readHosts(scope, [...path, key], upstream[key]);
  const caFile = scope.readableFile([...path, "caFile"], upstream.caFile);
  const auth = readAuth(scope, upstream.auth, { name, urls });
  return {
    name,
    aliases: hosts("aliases") ?? known.aliases?.filter((alias) => !claimed.has(alias)) ?? [],
    urls,
    insecure,
    ...(caFile !== undefined && { caFile }),
    ...(auth !== undefined && { auth }),
    tokenHosts: hosts("tokenHosts") ?? known.tokenHosts ?? [],
    redirectHosts: hosts("redirectHosts") ?? [],
    tagFreshSeconds: upstream.tagFreshSeconds ?? TAG_FRESH_SECONDS,
    serveStaleSeconds: upstream.serveStaleSeconds ?? SERVE_STALE_SECONDS,
    access: upstream.access ?? "shared",
  };
}

/** With a url of its own it is another server under that name: only the other names still hold. */
function wellKnown(name: string, { url }: UpstreamDraft): WellKnownUpstream {
  const known = Object.hasOwn(WELL_KNOWN_UPSTREAMS, name) ? WELL_KNOWN_UPSTREAMS[name] : undefined;
  return url === undefined ? (known ?? {}) : { aliases: known?.aliases ?? [] };
}

/** A port that the scheme has anyway would make two names of one registry. */
function checkName(scope: ConfigScope, name: string, urls: readonly string[]): void {
  const protocol = urls[0]?.startsWith("http:") ? "http:" : "https:";
  const [host, port] = name.split(":");
  if (port !== undefined && port === DEFAULT_PORTS[protocol]) {
    const message = `found name "${name}", expected ${host}: ${port} is the port of ${protocol} anyway`;
    scope.problem(["upstreams", name], message, "key");
  } else if (!isRegistryName(name) && name === name.toLowerCase()) {
    scope.problem(["upstreams", name], `found name "${name}", expected a port up to 65535`, "key");
  }
}

function readHosts(
  scope: ConfigScope,
  path: Path,
  list: ListDraft | undefined,
): readonly string[] | undefined {
  return list?.filter((host, index): host is string => {
    if (host !== undefined && !isRegistryName(host)) {
      scope.mismatch([...path, index], "a lower-case host, with :port if it has one");
    }
    return host !== undefined;
  });
}

function readUrls(
  scope: ConfigScope,
  path: Path,
  { url, insecure }: { readonly url: UpstreamDraft["url"]; readonly insecure: boolean },
): readonly string[] | undefined {
  if (url === undefined) {
    return undefined;
  }
  const places: readonly (readonly [Path, string | undefined])[] =
    typeof url === "string" ? [[path, url]] : url.map((text, index) => [[...path, index], text]);
  const urls: string[] = [];
  for (const [place, text] of places) {
    const origin = text === undefined ? undefined : readUrl(scope, place, { text, insecure });
    if (origin !== undefined && urls.includes(origin)) {
      scope.mismatch(place, "each url once");
    }
    urls.push(...(origin === undefined ? [] : [origin]));
  }
  return urls;
}

function readUrl(
  scope: ConfigScope,
  path: Path,
  { text, insecure }: { readonly text: string; readonly insecure: boolean },
): string | undefined {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\/[^/\\]/u.test(text) || /[\s\\]/u.test(text)) {
    scope.mismatch(path, "a url such as https://registry.example");
    return undefined;
  }
  const refusal = refuseUrl(url, insecure);
  if (refusal !== undefined) {
    scope.mismatch(path, refusal);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/u, "")}`;
}

/** What is expected of a url instead of what it has; undefined when it will do. */
function refuseUrl(url: URL, insecure: boolean): string | undefined {
  if (url.username !== "" || url.password !== "") {
    return "a url without user name and password: they belong in auth";
  }
  if (/[?#]/u.test(url.href)) {
    return "a url without ? and #";
  }
  if (/\/v2\/?$/u.test(url.pathname)) {
    return "a url without /v2, which is added to it";
  }
  if (url.protocol === "http:" && !insecure && !isLoopbackHost(url.hostname)) {
    return "https, or insecure: true beside it to allow plain http to another machine";
  }
  return undefined;
}
