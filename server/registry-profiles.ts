/** What is known of a registry, so that its name alone configures it. */
export interface RegistryProfile {
  /** Absent: `https://` and the name. */
  readonly url?: string;
  /** Other names that images of it are called by. */
  readonly aliases?: readonly string[];
  /** Other hosts that it answers under, although no image is called by them. */
  readonly otherHosts?: readonly string[];
  /**
   * Whole names of other hosts of the same owner, where it sends clients for a token. A registry's
   * own host needs no row: that is where ECR, ACR, Artifact Registry, Quay, Harbor, Nexus and
   * Artifactory have theirs.
   */
  readonly tokenHosts?: readonly string[];
}

/** By the name that images are called by. */
export const REGISTRY_PROFILES: Readonly<Record<string, RegistryProfile>> = {
  "docker.io": {
    url: "https://registry-1.docker.io",
    aliases: ["index.docker.io", "registry-1.docker.io"],
    otherHosts: ["registry.hub.docker.com"],
    tokenHosts: ["auth.docker.io"],
  },
  "registry.gitlab.com": { tokenHosts: ["gitlab.com"] },
  "docker.elastic.co": { tokenHosts: ["docker-auth.elastic.co"] },
  "registry.connect.redhat.com": { tokenHosts: ["sso.redhat.com"] },
  "registry.digitalocean.com": { tokenHosts: ["api.digitalocean.com"] },
};

const TOKEN_HOSTS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(REGISTRY_PROFILES).flatMap(([name, profile]) =>
    hostsOf(name, profile).map((host) => [host, profile.tokenHosts ?? []]),
  ),
);

/**
 * Hosts beside its own that a registry may send its credential to.
 *
 * @param host - of the registry's url: lower case, without a port. Whole names are compared:
 *   `docker.io.example` and `evil-docker.io` are nobody we know.
 */
export function tokenHostsOf(host: string): readonly string[] {
  return TOKEN_HOSTS.get(host) ?? [];
}

function hostsOf(name: string, { url, aliases = [], otherHosts = [] }: RegistryProfile): string[] {
  const own = url === undefined ? [] : [new URL(url).hostname];
  return [...new Set([name, ...own, ...aliases, ...otherHosts])];
}
