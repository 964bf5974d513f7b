import { RegistryError } from "../errors.ts";
import { tokenHostsOf } from "../registry-profiles.ts";
import type { UpstreamSettings } from "../settings.ts";
import { printable } from "./answer-headers.ts";
import type { TargetPolicy } from "./targets.ts";
import { hostnameOf, hostnameOfEntry } from "./targets.ts";

const SHOWN_LENGTH_MAX = 200;

export interface Realm {
  readonly url: URL;
  /** False: a token may be asked for, but only as nobody. */
  readonly mayHaveCredential: boolean;
}

/** Judges where a challenge sends us for a token: whoever answers a request can name any place. */
export class RealmPolicy {
  readonly #name: string;
  readonly #targets: TargetPolicy;
  readonly #tokenHosts: ReadonlySet<string>;

  constructor(settings: Pick<UpstreamSettings, "name" | "tokenHosts">, targets: TargetPolicy) {
    this.#name = settings.name;
    this.#targets = targets;
    this.#tokenHosts = new Set(settings.tokenHosts.map(hostnameOfEntry));
  }

  /** @throws RegistryError `upstream-invalid` when nothing may be sent there at all. */
  judge(realm: string, registry: URL): Realm {
    const url = URL.parse(realm);
    if (url === null) {
      throw this.#refused(realm, "it is not an absolute url");
    }
    const refusal = this.#targets.refusalOf(url, registry);
    if (refusal !== undefined) {
      throw this.#refused(`${url.origin}${url.pathname}`, refusal);
    }
    url.hash = "";
    return { url, mayHaveCredential: this.#mayHaveCredential(hostnameOf(url), registry) };
  }

  /** The registry's own host on any port, those that are known to belong to it, and configured ones. */
  #mayHaveCredential(hostname: string, registry: URL): boolean {
    const registryHost = hostnameOf(registry);
    return (
      hostname === registryHost ||
      this.#tokenHosts.has(hostname) ||
      tokenHostsOf(registryHost).includes(hostname)
    );
  }

  #refused(realm: string, why: string): RegistryError {
    return new RegistryError(
      "upstream-invalid",
      `${this.#name} asked for a log-in at ${printable(realm, SHOWN_LENGTH_MAX)}, which was not ` +
        `done: ${why}; if this is right, name the host in tokenHosts of its configuration`,
    );
  }
}

/** `repository:library/nginx:pull`, whatever was asked of us: nothing else is ever ours to ask. */
export function pullScopesOf(asked: string | undefined, repository: string): readonly string[] {
  const scopes = new Set<string>();
  for (const scope of (asked ?? "").split(" ").filter((text) => text !== "")) {
    if (isOpaqueScope(scope)) {
      scopes.add(scope);
      continue;
    }
    const name = /^repository(?:\([a-z0-9]+\))?:(.+):[^:]*$/.exec(scope)?.[1];
    if (name !== undefined && (name === repository || name.endsWith(`/${repository}`))) {
      scopes.add(`repository:${name}:pull`);
    }
  }
  return scopes.size === 0 ? [`repository:${repository}:pull`] : [...scopes].slice(0, 4);
}

/** Amazon's public registry has the one scope `aws`. */
function isOpaqueScope(scope: string): boolean {
  return /^[a-z]{1,32}$/.test(scope);
}
