import type { Digest } from "./digest.ts";

/** What must be true of bytes before they may be named by `digest`. */
export interface Expected {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** Inclusive at both ends, like HTTP's own `bytes=first-last` (RFC 9110 §14.1.2). */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Immutable bytes, named by what they hash to. It knows no repository, tag or media type.
 *
 * A blob is either absent or whole: no reader ever sees bytes that have not been committed.
 * Absence is an answer (`undefined`, `false`); only a failing store throws, always a StorageError.
 */
export interface BlobStore {
  stat(digest: Digest): Promise<Expected | undefined>;
  open(digest: Digest, range?: ByteRange): Promise<BlobReader | undefined>;
  /** `sizeBytes` is what the store may reserve; undefined when the sender did not say. */
  ingest(digest: Digest, sizeBytes: number | undefined): Promise<BlobWriter>;
  delete(digest: Digest): Promise<boolean>;
}

/**
 * One blob, or a part of it, being read. Whoever opened it disposes of it; until then the blob is
 * pinned, so that eviction leaves it alone. It can be iterated once.
 *
 * A chunk belongs to its reader only until it asks for the next one: buffers are reused.
 * Iterating throws a StorageError when the store fails, and `content-mismatch` *before the last
 * chunk* when the bytes turn out to be others than those that were committed.
 */
export interface BlobReader extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** Of the whole blob, whatever the range. */
  readonly sizeBytes: number;
}

/** One write in progress. Disposing of it before `commit` leaves no trace in the store. */
export interface BlobWriter extends AsyncDisposable {
  /**
   * Writes at `position`; resolves once the bytes can be read back. Writes may overlap in time,
   * never in place. The chunk may be reused after it resolves.
   */
  write(chunk: Uint8Array, position: number): Promise<void>;
  /** Reads back what was written, for those who follow a fill. Resolves to the bytes read. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Makes the blob visible, durably. The caller has already proved that the bytes match. */
  commit(sizeBytes: number): Promise<void>;
}
