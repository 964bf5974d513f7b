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

/** As `nameOf`, told apart by who asks there: one client's refusal is nothing to another. */
export function askedAs(source: Source): string {
  const { account } = source.upstream;
  return account === undefined ? nameOf(source) : `${nameOf(source)} as ${account}`;
}
