import type { Digest } from "./digest.ts";

/** `docker.io/library/alpine`: the canonical upstream and the repository. */
export type RepositoryName = string;

const PROVED_SUFFIX = " proved";

/** Under which name that is kept which the registry itself has confirmed of a repository. */
export function provedName(repository: RepositoryName): RepositoryName {
  return repository + PROVED_SUFFIX;
}

/** The repository that something is kept of, whichever of its names it is kept under. */
export function repositoryOf(name: RepositoryName): RepositoryName {
  return name.endsWith(PROVED_SUFFIX) ? name.slice(0, -PROVED_SUFFIX.length) : name;
}

export interface TagRecord {
  readonly digest: Digest;
  /** When the upstream last confirmed it, in milliseconds since the epoch. */
  readonly checkedAtMs: number;
}

/** What a repository is known to contain. */
export interface ContentRecord {
  readonly digest: Digest;
  /** Undefined when nothing said so yet. */
  readonly sizeBytes: number | undefined;
  /** Set for manifests and indexes only, exactly as the upstream sent it. */
  readonly mediaType: string | undefined;
}

export interface TagMove {
  readonly direction: "forward" | "rollback";
  readonly from: Digest;
}

/**
 * Mutable and small: names, and which repository contains which digest. All of it can be learned
 * again from the upstreams, so a lost record is a miss, never an error: no method throws.
 */
export interface MetadataStore {
  getTag(repository: RepositoryName, tag: string): Promise<TagRecord | undefined>;
  /** Answers how the tag moved, when it named another digest before. History is kept. */
  putTag(repository: RepositoryName, tag: string, record: TagRecord): Promise<TagMove | undefined>;
  deleteTag(repository: RepositoryName, tag: string): Promise<void>;
  getContent(repository: RepositoryName, digest: Digest): Promise<ContentRecord | undefined>;
  /** It turned out to be doubtful. */
  forgetSize(repository: RepositoryName, digest: Digest): Promise<void>;
  /** A media type or size that was known is kept where the new record has none. */
  putContents(repository: RepositoryName, records: readonly ContentRecord[]): Promise<void>;
}
