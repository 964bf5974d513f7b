/** What is known of a public registry, so that its name alone configures it. */
export interface WellKnownUpstream {
  /** Absent: `https://` and the name. */
  readonly url?: string;
  readonly aliases?: readonly string[];
  /** Where it sends clients for a token when that is not its own host. */
  readonly tokenHosts?: readonly string[];
}

/** The registry that image names without one belong to, for every client. */
export const CUSTOMARY_DEFAULT = "docker.io";

/** The upstreams of a configuration without an `upstreams` section. */
export const WELL_KNOWN_UPSTREAMS: Readonly<Record<string, WellKnownUpstream>> = {
  "docker.io": {
    url: "https://registry-1.docker.io",
    aliases: ["index.docker.io", "registry-1.docker.io"],
    tokenHosts: ["auth.docker.io"],
  },
  "ghcr.io": {},
  "quay.io": {},
  "registry.k8s.io": {},
  "gcr.io": {},
  "mcr.microsoft.com": {},
  "public.ecr.aws": {},
  "registry.gitlab.com": { tokenHosts: ["gitlab.com"] },
  "nvcr.io": {},
  "docker.elastic.co": { tokenHosts: ["docker-auth.elastic.co"] },
  "lscr.io": {},
  "cgr.dev": {},
  "registry.access.redhat.com": {},
};
