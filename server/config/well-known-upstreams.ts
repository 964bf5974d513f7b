import type { RegistryProfile } from "../registry-profiles.ts";
import { REGISTRY_PROFILES } from "../registry-profiles.ts";

/** What a public registry is configured with when only its name is given. */
export type WellKnownUpstream = Pick<RegistryProfile, "url" | "aliases" | "tokenHosts">;

/** The registry that image names without one belong to, for every client. */
export const CUSTOMARY_DEFAULT = "docker.io";

const NAMES: readonly string[] = [
  "docker.io",
  "ghcr.io",
  "quay.io",
  "registry.k8s.io",
  "gcr.io",
  "mcr.microsoft.com",
  "public.ecr.aws",
  "registry.gitlab.com",
  "nvcr.io",
  "docker.elastic.co",
  "lscr.io",
  "cgr.dev",
  "registry.access.redhat.com",
];

/** The upstreams of a configuration without an `upstreams` section. */
export const WELL_KNOWN_UPSTREAMS: Readonly<Record<string, WellKnownUpstream>> = Object.fromEntries(
  NAMES.map((name) => [name, REGISTRY_PROFILES[name] ?? {}]),
);
