import type { Digest } from "./digest.ts";
import type { RepositoryName } from "./metadata-store.ts";

/** What was looked at when a manifest was judged, opaque to the store. */
export interface EvidenceRecord {
  readonly bytes: Uint8Array;
  /** In milliseconds since the epoch. */
  readonly gatheredAtMs: number;
}

/**
 * What verdicts are made of. All of it can be gathered again from the upstreams, so a lost record
 * costs a look-up, and no method throws. Nothing here is a verdict: those are reached anew.
 */
export interface EvidenceStore {
  getEvidence(repository: RepositoryName, digest: Digest): Promise<EvidenceRecord | undefined>;
  /** The oldest records go when all of them together are too large. */
  putEvidence(repository: RepositoryName, digest: Digest, record: EvidenceRecord): Promise<void>;
  /** Indexes of the repository that contain the manifest and were allowed once, the latest first. */
  getParents(
    repository: RepositoryName,
    child: Digest,
    countMax: number,
  ): Promise<readonly Digest[]>;
  putChildren(
    repository: RepositoryName,
    parent: Digest,
    children: readonly Digest[],
  ): Promise<void>;
  /** The index is allowed no longer. */
  deleteChildren(repository: RepositoryName, parent: Digest): Promise<void>;
}
