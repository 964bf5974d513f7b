import type { StatementSync } from "node:sqlite";
import type { Database } from "./database.ts";
import type { Digest } from "./digest.ts";

export const BLOB_INDEX_SCHEMA = `
  CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS blobs_by_use ON blobs (used_at, size);
`;

/** Uses are written together, so that a hit costs a Map entry and not a transaction. */
const USES_MAX = 4096;

export interface IndexedBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

interface Statements {
  readonly get: StatementSync;
  readonly put: StatementSync;
  readonly remove: StatementSync;
  readonly use: StatementSync;
  readonly oldest: StatementSync;
  readonly between: StatementSync;
  readonly after: StatementSync;
  readonly unused: StatementSync;
}

/**
 * What the blob folder holds: sizes and last uses, so that eviction never scans it. It is advice:
 * the file is the truth, and the index is mended wherever the two differ.
 */
export class BlobIndex {
  readonly #database: Database;
  readonly #uses = new Map<Digest, number>();
  #statements: Statements | undefined;
  #bytes = 0;
  #count = 0;

  constructor(database: Database) {
    this.#database = database;
    database.whenOpen((db) => {
      this.#statements = {
        get: db.prepare("SELECT size FROM blobs WHERE digest = ?"),
        put: db.prepare(
          "INSERT INTO blobs (digest, size, added_at, used_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        ),
        remove: db.prepare("DELETE FROM blobs WHERE digest = ?"),
        use: db.prepare("UPDATE blobs SET used_at = ? WHERE digest = ?"),
        oldest: db.prepare("SELECT digest, size FROM blobs ORDER BY used_at LIMIT ? OFFSET ?"),
        between: db.prepare(
          "SELECT digest FROM blobs WHERE digest >= ? AND digest < ? AND added_at < ?",
        ),
        after: db.prepare(
          "SELECT digest, size FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?",
        ),
        unused: db.prepare(
          "SELECT digest, size FROM blobs WHERE used_at < ? ORDER BY used_at LIMIT ? OFFSET ?",
        ),
      };
      const sums = db.prepare("SELECT total(size) AS bytes, count(*) AS count FROM blobs").get();
      this.#bytes = Number(sums?.["bytes"] ?? 0);
      this.#count = Number(sums?.["count"] ?? 0);
    });
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  sizeOf(digest: Digest): number | undefined {
    const row = this.#database.use(() => this.#statements?.get.get(digest));
    return row === undefined ? undefined : Number(row["size"]);
  }

  add(digest: Digest, sizeBytes: number, nowMs: number): void {
    const done = this.#database.use(() =>
      this.#statements?.put.run(digest, sizeBytes, nowMs, nowMs),
    );
    if (done !== undefined && Number(done.changes) > 0) {
      this.#bytes += sizeBytes;
      this.#count += 1;
    }
  }

  remove(digest: Digest): void {
    const sizeBytes = this.sizeOf(digest);
    this.#uses.delete(digest);
    if (sizeBytes === undefined) {
      return;
    }
    if (this.#database.use(() => this.#statements?.remove.run(digest)) !== undefined) {
      this.#bytes -= sizeBytes;
      this.#count -= 1;
    }
  }

  used(digest: Digest, nowMs: number): void {
    this.#uses.set(digest, nowMs);
    if (this.#uses.size >= USES_MAX) {
      this.flush();
    }
  }

  flush(): void {
    if (this.#uses.size === 0) {
      return;
    }
    const uses = [...this.#uses];
    this.#uses.clear();
    this.#database.transaction(() => {
      for (const [digest, atMs] of uses) {
        this.#statements?.use.run(atMs, digest);
      }
    });
  }

  /** The least recently used blobs, oldest first. */
  oldest(limit: number, offset: number): readonly IndexedBlob[] {
    this.flush();
    return blobsOf(this.#database.use(() => this.#statements?.oldest.all(limit, offset)));
  }

  /** Those that were last used before `beforeMs`, oldest first, but the first `offset` of them. */
  unused(beforeMs: number, limit: number, offset: number): readonly IndexedBlob[] {
    this.flush();
    return blobsOf(this.#database.use(() => this.#statements?.unused.all(beforeMs, limit, offset)));
  }

  /** In the order of their digests; "" comes before the first. */
  after(digest: string, limit: number): readonly IndexedBlob[] {
    return blobsOf(this.#database.use(() => this.#statements?.after.all(digest, limit)));
  }

  /** Digests from `first` up to and without `end` that were added before `beforeMs`. */
  between(first: string, end: string, beforeMs: number): readonly Digest[] {
    const rows =
      this.#database.use(() => this.#statements?.between.all(first, end, beforeMs)) ?? [];
    return rows.map((row) => String(row["digest"]) as Digest);
  }
}

function blobsOf(rows: readonly Readonly<Record<string, unknown>>[] = []): IndexedBlob[] {
  return rows.map((row) => ({
    digest: String(row["digest"]) as Digest,
    sizeBytes: Number(row["size"]),
  }));
}
