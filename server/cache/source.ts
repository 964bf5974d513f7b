import type { RepositoryName } from "../../storage/metadata-store.ts";
import type { Upstream } from "../upstream/upstream.ts";

/** Where something is pulled from: what a request's host and path came down to. */
export interface Source {
  readonly upstream: Upstream;
  /** Without the upstream: `library/alpine`. */
  readonly repository: string;
}

/** `docker.io/library/alpine`: the one name under which everything about it is kept. */
export function nameOf(source: Source): RepositoryName {
  return `${source.upstream.name}/${source.repository}`;
}
