import type { StatementSync } from "node:sqlite";
import type { Database } from "./database.ts";
import type { Digest } from "./digest.ts";
import { isDigest } from "./digest.ts";
import type { RepositoryName } from "./metadata-store.ts";
import { provedName, repositoryOf } from "./metadata-store.ts";

/** Rows that are read or removed at a time: some milliseconds of sqlite at most. */
const PAGE = 256;

export interface TagRow {
  readonly tag: string;
  readonly digest: Digest;
  readonly checkedAtMs: number;
  readonly usedAtMs: number;
}

export interface ContentRow {
  readonly digest: Digest;
  readonly isManifest: boolean;
  readonly usedAtMs: number;
}

const NEXT_REPOSITORY = `
  SELECT min(name) AS name FROM (
    SELECT min(repository) AS name FROM tags WHERE repository > ?1
    UNION ALL SELECT min(repository) FROM contents WHERE repository > ?1
    UNION ALL SELECT min(repository) FROM tag_history WHERE repository > ?1
    UNION ALL SELECT min(repository) FROM evidence WHERE repository > ?1
    UNION ALL SELECT min(repository) FROM edges WHERE repository > ?1)`;
const TAGS = `
  SELECT tag, digest, checked_at, used_at FROM tags
  WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ${PAGE}`;
const CONTENTS = `
  SELECT digest, media_type IS NOT NULL AS is_manifest, used_at FROM contents
  WHERE repository = ? AND digest > ? ORDER BY digest LIMIT ${PAGE}`;
const OF_ONE_CONTENT = [
  "DELETE FROM contents WHERE repository IN (?1, ?2) AND digest = ?3",
  "DELETE FROM evidence WHERE repository IN (?1, ?2) AND digest = ?3",
  "DELETE FROM edges WHERE repository IN (?1, ?2) AND child = ?3",
  "DELETE FROM edges WHERE repository IN (?1, ?2) AND parent = ?3",
];
const OF_ONE_TAG = [
  "DELETE FROM tags WHERE repository = ? AND tag = ?",
  "DELETE FROM tag_history WHERE repository = ? AND tag = ?",
];
/** What tags and contents that went earlier have left of a repository. */
const OF_ALL = [
  "DELETE FROM tag_history WHERE repository = ?1 AND tag IN (SELECT tag FROM tag_history WHERE repository = ?1 LIMIT 256)",
  "DELETE FROM evidence WHERE rowid IN (SELECT rowid FROM evidence WHERE repository = ? LIMIT 256)",
  "DELETE FROM edges WHERE rowid IN (SELECT rowid FROM edges WHERE repository = ? LIMIT 256)",
];

interface Statements {
  readonly next: StatementSync;
  readonly tags: StatementSync;
  readonly contents: StatementSync;
  readonly holders: StatementSync;
  readonly isManifest: StatementSync;
  readonly usedAt: StatementSync;
  readonly ofOneContent: readonly StatementSync[];
  readonly ofOneTag: readonly StatementSync[];
  readonly ofAll: readonly StatementSync[];
}

/** What the database knows of repositories, a page at a time, and how it is made to forget it. */
export class PurgeRows {
  readonly #database: Database;
  #statements: Statements | undefined;

  constructor(database: Database) {
    this.#database = database;
    database.whenOpen((db) => {
      const all = (texts: readonly string[]): StatementSync[] =>
        texts.map((text) => db.prepare(text));
      this.#statements = {
        next: db.prepare(NEXT_REPOSITORY),
        tags: db.prepare(TAGS),
        contents: db.prepare(CONTENTS),
        holders: db.prepare("SELECT repository FROM contents WHERE digest = ?"),
        isManifest: db.prepare(
          "SELECT 1 FROM contents WHERE repository IN (?, ?) AND digest = ? AND media_type IS NOT NULL",
        ),
        usedAt: db.prepare(
          "SELECT max(used_at) AS at FROM contents WHERE repository IN (?, ?) AND digest = ?",
        ),
        ofOneContent: all(OF_ONE_CONTENT),
        ofOneTag: all(OF_ONE_TAG),
        ofAll: all(OF_ALL),
      };
    });
  }

  /** Each repository once, in the order of their names. Rows may go while it is iterated. */
  *repositories(): Generator<RepositoryName, void, undefined> {
    let before: RepositoryName | undefined;
    let at = "";
    for (;;) {
      const row = this.#database.use(() => this.#statements?.next.get(at));
      const name = row?.["name"];
      if (typeof name !== "string") {
        return;
      }
      at = name;
      const repository = repositoryOf(name);
      if (repository !== before) {
        before = repository;
        yield repository;
      }
    }
  }

  *tags(repository: RepositoryName): Generator<TagRow, void, undefined> {
    let after: string | undefined = "";
    while (after !== undefined) {
      const last: string = after;
      const rows = this.#database.use(() => this.#statements?.tags.all(repository, last)) ?? [];
      for (const row of rows) {
        const { tag, digest } = row;
        if (isDigest(digest)) {
          const checkedAtMs = Number(row["checked_at"]);
          yield { tag: String(tag), digest, checkedAtMs, usedAtMs: Number(row["used_at"]) };
        }
      }
      after = rows.length < PAGE ? undefined : String(rows.at(-1)?.["tag"]);
    }
  }

  /** Pages of what a repository contains. What is known twice comes twice. */
  *contents(repository: RepositoryName): Generator<readonly ContentRow[], void, undefined> {
    for (const name of [repository, provedName(repository)]) {
      let after: string | undefined = "";
      while (after !== undefined) {
        const last: string = after;
        const rows = this.#database.use(() => this.#statements?.contents.all(name, last)) ?? [];
        yield rows.map((row) => ({
          digest: String(row["digest"]) as Digest,
          isManifest: row["is_manifest"] === 1,
          usedAtMs: Number(row["used_at"]),
        }));
        after = rows.length < PAGE ? undefined : String(rows.at(-1)?.["digest"]);
      }
    }
  }

  isManifest(repository: RepositoryName, digest: Digest): boolean {
    const row = this.#database.use(() =>
      this.#statements?.isManifest.get(repository, provedName(repository), digest),
    );
    return row !== undefined;
  }

  /** Undefined when the repository is not known to contain it. */
  usedAtMs(repository: RepositoryName, digest: Digest): number | undefined {
    const row = this.#database.use(() =>
      this.#statements?.usedAt.get(repository, provedName(repository), digest),
    );
    const at = row?.["at"];
    return typeof at === "number" ? at : undefined;
  }

  /** The first repository that contains the digest and passes; undefined when none does. */
  holder(
    digest: Digest,
    passes: (repository: RepositoryName) => boolean,
  ): RepositoryName | undefined {
    return this.#database.use(() => {
      for (const row of this.#statements?.holders.iterate(digest) ?? []) {
        const repository = repositoryOf(String(row["repository"]));
        if (passes(repository)) {
          return repository;
        }
      }
      return;
    });
  }

  /** With evidence and edges of theirs. */
  removeContents(repository: RepositoryName, digests: readonly Digest[]): void {
    this.#database.transaction(() => {
      for (const digest of digests) {
        for (const statement of this.#statements?.ofOneContent ?? []) {
          statement.run(repository, provedName(repository), digest);
        }
      }
    });
  }

  /** With their history. */
  removeTags(repository: RepositoryName, tags: readonly string[]): void {
    this.#database.transaction(() => {
      for (const tag of tags) {
        for (const statement of this.#statements?.ofOneTag ?? []) {
          statement.run(repository, tag);
        }
      }
    });
  }

  /** A part of all that is left of a repository; false once nothing was. */
  removeRest(repository: RepositoryName): boolean {
    let removed = 0;
    this.#database.transaction(() => {
      for (const statement of this.#statements?.ofAll ?? []) {
        removed += Number(statement.run(repository).changes);
      }
    });
    return removed > 0;
  }
}
