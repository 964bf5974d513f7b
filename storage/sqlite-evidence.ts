import type { StatementSync } from "node:sqlite";
import { DatabaseSync } from "node:sqlite";
import type { Database } from "./database.ts";
import type { Digest } from "./digest.ts";
import { isDigest } from "./digest.ts";
import { DiskLayout } from "./disk-layout.ts";
import type { EvidenceRecord, EvidenceStore } from "./evidence-store.ts";
import type { RepositoryName } from "./metadata-store.ts";

export const EVIDENCE_SCHEMA = `
  CREATE TABLE IF NOT EXISTS evidence (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    gathered_at INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (repository, digest)
  );
  CREATE INDEX IF NOT EXISTS evidence_age ON evidence (gathered_at);
  CREATE TABLE IF NOT EXISTS edges (
    repository TEXT NOT NULL,
    child TEXT NOT NULL,
    parent TEXT NOT NULL,
    PRIMARY KEY (repository, child, parent)
  );
  CREATE INDEX IF NOT EXISTS edges_parent ON edges (repository, parent);
`;

const PUT_EVIDENCE = `
  INSERT INTO evidence (repository, digest, gathered_at, bytes) VALUES (?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET gathered_at = excluded.gathered_at, bytes = excluded.bytes`;
const PARENTS =
  "SELECT parent FROM edges WHERE repository = ? AND child = ? ORDER BY rowid DESC LIMIT ?";
const DROP_OLDEST = `
  DELETE FROM evidence WHERE rowid IN (SELECT rowid FROM evidence ORDER BY gathered_at LIMIT ?)`;

/** So many records are written between two looks at their size: the sum reads all of them. */
const PUTS_PER_PRUNE = 256;
/** Or records of so much of what may be held: some are a thousand times larger than others. */
const SHARE_PER_PRUNE = 0.1;

interface Statements {
  readonly get: StatementSync;
  readonly put: StatementSync;
  readonly size: StatementSync;
  readonly dropOldest: StatementSync;
  readonly parents: StatementSync;
  readonly putEdge: StatementSync;
  readonly deleteEdges: StatementSync;
}

/** Evidence and edges in the same sqlite file as the names. */
export class SqliteEvidence implements EvidenceStore {
  readonly #database: Database;
  readonly #bytesMax: number;
  #statements: Statements | undefined;
  #puts = 0;
  #putBytes = 0;

  constructor(database: Database, bytesMax: number) {
    this.#database = database;
    this.#bytesMax = bytesMax;
    database.whenOpen((db) => {
      this.#statements = {
        get: db.prepare(
          "SELECT gathered_at, bytes FROM evidence WHERE repository = ? AND digest = ?",
        ),
        put: db.prepare(PUT_EVIDENCE),
        size: db.prepare("SELECT count(*) AS records, sum(length(bytes)) AS bytes FROM evidence"),
        dropOldest: db.prepare(DROP_OLDEST),
        parents: db.prepare(PARENTS),
        putEdge: db.prepare(
          "INSERT OR REPLACE INTO edges (repository, child, parent) VALUES (?, ?, ?)",
        ),
        deleteEdges: db.prepare("DELETE FROM edges WHERE repository = ? AND parent = ?"),
      };
    });
  }

  async getEvidence(
    repository: RepositoryName,
    digest: Digest,
  ): Promise<EvidenceRecord | undefined> {
    const row = this.#database.use(() => this.#statements?.get.get(repository, digest));
    const bytes = row?.["bytes"];
    return bytes instanceof Uint8Array
      ? { bytes, gatheredAtMs: Number(row?.["gathered_at"]) }
      : undefined;
  }

  async putEvidence(
    repository: RepositoryName,
    digest: Digest,
    { bytes, gatheredAtMs }: EvidenceRecord,
  ): Promise<void> {
    this.#database.use(() => this.#statements?.put.run(repository, digest, gatheredAtMs, bytes));
    this.#puts += 1;
    this.#putBytes += bytes.byteLength;
    if (this.#puts >= PUTS_PER_PRUNE || this.#putBytes > this.#bytesMax * SHARE_PER_PRUNE) {
      this.#puts = 0;
      this.#putBytes = 0;
      this.#prune();
    }
  }

  async getParents(
    repository: RepositoryName,
    child: Digest,
    countMax: number,
  ): Promise<readonly Digest[]> {
    const rows = this.#database.use(() =>
      this.#statements?.parents.all(repository, child, countMax),
    );
    // A file can be tampered with, and these become a part of requests.
    return (rows ?? []).map((row) => row["parent"]).filter(isDigest);
  }

  async putChildren(
    repository: RepositoryName,
    parent: Digest,
    children: readonly Digest[],
  ): Promise<void> {
    this.#database.transaction(() => {
      for (const child of children) {
        this.#statements?.putEdge.run(repository, child, parent);
      }
    });
  }

  async deleteChildren(repository: RepositoryName, parent: Digest): Promise<void> {
    this.#database.use(() => this.#statements?.deleteEdges.run(repository, parent));
  }

  /** A share of the records at a time: their sizes are alike, and exactness is worth nothing. */
  #prune(): void {
    this.#database.use(() => {
      const row = this.#statements?.size.get();
      const bytes = Number(row?.["bytes"] ?? 0);
      if (bytes > this.#bytesMax) {
        const share = 1 - (this.#bytesMax * 0.9) / bytes;
        this.#statements?.dropOldest.run(Math.ceil(Number(row?.["records"]) * share));
      }
    });
  }
}

/**
 * What another process, which may be running, has written down: which indexes contain a manifest.
 * Empty when there is no such file, or it cannot be read.
 */
export function readParents(
  dataPath: string,
  { repository, child, countMax }: ParentsQuery,
): readonly Digest[] {
  try {
    using db = new DatabaseSync(new DiskLayout(dataPath).databaseFile, { readOnly: true });
    const rows = db.prepare(PARENTS).all(repository, child, countMax);
    return rows.map((row) => String(row["parent"]) as Digest);
  } catch {
    return [];
  }
}

export interface ParentsQuery {
  readonly repository: RepositoryName;
  readonly child: Digest;
  readonly countMax: number;
}
