import type { StatementSync } from "node:sqlite";
import type { Database } from "./database.ts";
import type { Digest } from "./digest.ts";
import type {
  ContentRecord,
  MetadataStore,
  RepositoryName,
  TagMove,
  TagRecord,
} from "./metadata-store.ts";
import { addUses } from "./retention-uses.ts";

export const METADATA_SCHEMA = `
  CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS tag_history (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag, digest)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS contents (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER,
    media_type TEXT,
    PRIMARY KEY (repository, digest)
  ) WITHOUT ROWID;
`;

const PUT_TAG = `
  INSERT INTO tags (repository, tag, digest, checked_at, used_at) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at`;
const PUT_HISTORY = `
  INSERT INTO tag_history (repository, tag, digest, first_at, last_at) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET last_at = excluded.last_at`;
const PUT_CONTENT = `
  INSERT INTO contents (repository, digest, size, media_type, used_at) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET used_at = excluded.used_at,
    size = coalesce(excluded.size, size), media_type = coalesce(excluded.media_type, media_type)`;

interface Statements {
  readonly getTag: StatementSync;
  readonly putTag: StatementSync;
  readonly deleteTag: StatementSync;
  readonly seenBefore: StatementSync;
  readonly putHistory: StatementSync;
  readonly getContent: StatementSync;
  readonly putContent: StatementSync;
  readonly forgetSize: StatementSync;
}

/** Names in node:sqlite. Reads take microseconds, so they are not moved off the main thread. */
export class SqliteMetadata implements MetadataStore {
  readonly #database: Database;
  readonly #now: () => number;
  #statements: Statements | undefined;

  constructor(database: Database, now: () => number) {
    this.#database = database;
    this.#now = now;
    database.whenOpen((db) => {
      addUses(db, now());
      this.#statements = {
        getTag: db.prepare("SELECT digest, checked_at FROM tags WHERE repository = ? AND tag = ?"),
        putTag: db.prepare(PUT_TAG),
        deleteTag: db.prepare("DELETE FROM tags WHERE repository = ? AND tag = ?"),
        seenBefore: db.prepare(
          "SELECT 1 FROM tag_history WHERE repository = ? AND tag = ? AND digest = ?",
        ),
        putHistory: db.prepare(PUT_HISTORY),
        getContent: db.prepare(
          "SELECT size, media_type FROM contents WHERE repository = ? AND digest = ?",
        ),
        putContent: db.prepare(PUT_CONTENT),
        forgetSize: db.prepare(
          "UPDATE contents SET size = NULL WHERE repository = ? AND digest = ?",
        ),
      };
    });
  }

  async getTag(repository: RepositoryName, tag: string): Promise<TagRecord | undefined> {
    const row = this.#database.use(() => this.#statements?.getTag.get(repository, tag));
    return row === undefined
      ? undefined
      : { digest: String(row["digest"]) as Digest, checkedAtMs: Number(row["checked_at"]) };
  }

  async putTag(
    repository: RepositoryName,
    tag: string,
    record: TagRecord,
  ): Promise<TagMove | undefined> {
    const before = await this.getTag(repository, tag);
    const isMove = before !== undefined && before.digest !== record.digest;
    const isKnown =
      isMove &&
      this.#database.use(() => this.#statements?.seenBefore.get(repository, tag, record.digest)) !==
        undefined;
    const { digest, checkedAtMs } = record;
    this.#database.transaction(() => {
      this.#statements?.putTag.run(repository, tag, digest, checkedAtMs, checkedAtMs);
      this.#statements?.putHistory.run(repository, tag, digest, checkedAtMs, checkedAtMs);
    });
    if (isMove) {
      return { direction: isKnown ? "rollback" : "forward", from: before.digest };
    }
    return;
  }

  async deleteTag(repository: RepositoryName, tag: string): Promise<void> {
    this.#database.use(() => this.#statements?.deleteTag.run(repository, tag));
  }

  async getContent(repository: RepositoryName, digest: Digest): Promise<ContentRecord | undefined> {
    const row = this.#database.use(() => this.#statements?.getContent.get(repository, digest));
    if (row === undefined) {
      return;
    }
    const size = row["size"];
    const mediaType = row["media_type"];
    return {
      digest,
      sizeBytes: size === null ? undefined : Number(size),
      mediaType: mediaType === null ? undefined : String(mediaType),
    };
  }

  async forgetSize(repository: RepositoryName, digest: Digest): Promise<void> {
    this.#database.use(() => this.#statements?.forgetSize.run(repository, digest));
  }

  async putContents(repository: RepositoryName, records: readonly ContentRecord[]): Promise<void> {
    const nowMs = this.#now();
    this.#database.transaction(() => {
      for (const { digest, sizeBytes = null, mediaType = null } of records) {
        this.#statements?.putContent.run(repository, digest, sizeBytes, mediaType, nowMs);
      }
    });
  }
}
