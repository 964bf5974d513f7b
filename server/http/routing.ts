import type { Source } from "../cache/source.ts";
import { RegistryError } from "../errors.ts";
import { parseRepository, shown, splitRegistry } from "../oci/reference.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { Named } from "./target.ts";

/** The upstreams that are configured: a closed world. */
export interface Upstreams {
  /** By name or alias. Whatever is not configured is undefined, and never dialled. */
  find(name: string): Upstream | undefined;
  readonly default: Upstream | undefined;
}

const DOCKER_HUB = "docker.io";
/** Docker Hub keeps its official images there, and clients leave it out. */
const OFFICIAL_IMAGES = "library/";

/**
 * Which upstream and repository a request means: by `?ns=`, then by a first path segment that
 * looks like a host, then the default. The Host header decides nothing.
 *
 * @throws RegistryError `registry-unknown`, `name-invalid`, or `request-invalid` when the two
 *   disagree.
 */
export function routeTo(target: Named, upstreams: Upstreams): Source {
  const { registry: prefix, rest } = splitRegistry(target.name);
  const byPrefix = prefix === undefined ? undefined : upstreams.find(prefix);
  if (target.ns !== undefined) {
    const upstream = upstreams.find(target.ns);
    if (upstream === undefined) {
      throw notConfigured(target.ns);
    }
    if (byPrefix !== undefined && byPrefix !== upstream) {
      throw new RegistryError(
        "request-invalid",
        `the path says ${byPrefix.name} and ns says ${upstream.name}: leave one of them out`,
      );
    }
    return sourceOf(upstream, byPrefix === undefined ? target.name : rest);
  }
  if (prefix !== undefined) {
    if (byPrefix === undefined) {
      throw notConfigured(prefix);
    }
    return sourceOf(byPrefix, rest);
  }
  if (upstreams.default === undefined) {
    throw new RegistryError(
      "registry-unknown",
      `${shown(target.name)} names no registry and there is no defaultUpstream: ` +
        "put the registry's name first, or configure one",
    );
  }
  return sourceOf(upstreams.default, target.name);
}

function sourceOf(upstream: Upstream, name: string): Source {
  const repository = parseRepository(name);
  const isOfficial = upstream.name === DOCKER_HUB && !repository.includes("/");
  return { upstream, repository: isOfficial ? OFFICIAL_IMAGES + repository : repository };
}

function notConfigured(registry: string): RegistryError {
  return new RegistryError(
    "registry-unknown",
    `the registry ${shown(registry)} is not configured in this proxy: ask for it to be added to ` +
      "upstreams, or use one that is",
  );
}
