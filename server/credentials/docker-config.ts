import { WatchedFile } from "../watched-file.ts";
import type { Credential, CredentialSource, FoundCredential, ImageName } from "./credential.ts";

/** The name under which every Docker client keeps its log-in to Docker Hub. */
const DOCKER_HUB_KEY = "index.docker.io";
const DOCKER_HUB_NAMES = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

/** What Docker writes where there is a token and no user. */
const NO_USERNAME = "<token>";

interface Entry {
  /** `host[:port]`, label by label; `*` matches within a label. */
  readonly host: string;
  readonly path: string;
  readonly credential: Credential;
}

/**
 * `~/.docker/config.json`, the older `.dockercfg`, or a Kubernetes pull secret.
 *
 * Looked up as the kubelet does, so that a file that works there works here.
 * @see https://kubernetes.io/docs/concepts/containers/images/#config-json
 */
export class DockerConfig implements CredentialSource {
  readonly description: string;
  readonly #file: WatchedFile<readonly Entry[]>;

  constructor(path: string) {
    this.description = `dockerConfigFile ${path}`;
    this.#file = new WatchedFile(path, parseDockerConfig);
  }

  async find({ registry, repository }: ImageName): Promise<readonly FoundCredential[]> {
    const host = DOCKER_HUB_NAMES.has(registry) ? DOCKER_HUB_KEY : registry;
    const entries = await this.#file.read();
    return entries
      .filter((entry) => matches(entry, host, `/${repository}`))
      .map(({ credential }) => ({ credential, from: this.description }));
  }
}

/** The most specific key comes first: longer ones sort later, so the order is reversed. */
function parseDockerConfig(text: string): readonly Entry[] {
  const root = objectOf(JSON.parse(text));
  const auths = objectOf(root["auths"] ?? root);
  const entries: Entry[] = [];
  for (const key of Object.keys(auths).toSorted().toReversed()) {
    const credential = credentialOf(objectOf(auths[key]));
    if (credential !== undefined) {
      entries.push({ ...hostAndPathOf(key), credential });
    }
  }
  return entries;
}

function hostAndPathOf(key: string): { readonly host: string; readonly path: string } {
  const bare = key.replace(/^https?:\/\//i, "");
  const slash = bare.indexOf("/");
  const host = (slash === -1 ? bare : bare.slice(0, slash)).toLowerCase();
  const path = slash === -1 ? "" : bare.slice(slash).replace(/^\/v[12](?=\/|$)/, "");
  return {
    host: DOCKER_HUB_NAMES.has(host) ? DOCKER_HUB_KEY : host,
    path: path.replace(/\/+$/, ""),
  };
}

function matches(entry: Entry, host: string, path: string): boolean {
  return hostMatches(entry.host, host) && path.startsWith(entry.path);
}

function hostMatches(pattern: string, host: string): boolean {
  const [patternName = "", patternPort] = pattern.split(":", 2);
  const [name = "", port] = host.split(":", 2);
  if (patternPort !== port) {
    return false;
  }
  const patternLabels = patternName.split(".");
  const labels = name.split(".");
  return (
    patternLabels.length === labels.length &&
    patternLabels.every((label, index) => labelMatches(label, labels[index] ?? ""))
  );
}

function labelMatches(pattern: string, label: string): boolean {
  const escaped = pattern.replaceAll(/[^a-z0-9*]/g, "\\$&").replaceAll(/\*+/g, ".*");
  return new RegExp(`^${escaped}$`).test(label);
}

/** `auth` wins over `username` and `password`, an identity token over all of them. */
function credentialOf(entry: Readonly<Record<string, unknown>>): Credential | undefined {
  const decoded = decodeAuth(textOf(entry["auth"]));
  const username = decoded?.username ?? textOf(entry["username"]);
  const identity = textOf(entry["identitytoken"]);
  if (identity !== undefined) {
    return { kind: "identity", username: username ?? NO_USERNAME, token: identity };
  }
  const registry = textOf(entry["registrytoken"]);
  if (registry !== undefined) {
    return { kind: "registry", token: registry };
  }
  const password = decoded?.password ?? textOf(entry["password"]);
  if (username === undefined || password === undefined) {
    return undefined;
  }
  return { kind: "basic", username, password };
}

/** base64 of `user:password`; the password may hold colons, and some tools pad with NULs. */
function decodeAuth(
  auth: string | undefined,
): { readonly username: string; readonly password: string } | undefined {
  if (auth === undefined) {
    return undefined;
  }
  const text = Buffer.from(auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon === -1) {
    return undefined;
  }
  const password = text.slice(colon + 1).replaceAll("\0", "");
  return { username: text.slice(0, colon), password };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return {};
  }
  return value as Readonly<Record<string, unknown>>;
}
