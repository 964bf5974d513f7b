import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Database } from "./database.ts";
import type { RepositoryName } from "./metadata-store.ts";
import { provedName } from "./metadata-store.ts";

/** A flush writes so many at a time, so that a pull never waits for thousands of rows. */
const SLICE = 256;
/** Names that are remembered until the next flush; beyond it a use is not written down. */
const NAMES_MAX = 50_000;

interface Statements {
  readonly useTag: StatementSync;
  readonly useContent: StatementSync;
}

/**
 * Brings a database of an earlier version up to date. What was there counts as used now: nobody
 * knows when it really was. An earlier version can still use the file afterwards.
 */
export function addUses(db: DatabaseSync, nowMs: number): void {
  const column = db.prepare("SELECT 1 FROM pragma_table_info(?) WHERE name = 'used_at'");
  for (const table of ["tags", "contents"]) {
    if (column.get(table) === undefined) {
      // A constant default: no row is rewritten, however many there are.
      const now = Math.trunc(nowMs);
      db.exec(`ALTER TABLE ${table} ADD COLUMN used_at INTEGER NOT NULL DEFAULT ${now}`);
    }
  }
  db.exec("CREATE INDEX IF NOT EXISTS contents_by_digest ON contents (digest)");
}

/**
 * When tags and contents of a repository were last asked for. A hit costs a Map entry; what is
 * written is exact to the minute, which is enough for what counts in days.
 */
export class NameUses {
  readonly #database: Database;
  /** By repository, then by tag or digest: a digest has a colon, a tag never. */
  #uses = new Map<RepositoryName, Map<string, number>>();
  #count = 0;
  #statements: Statements | undefined;

  constructor(database: Database) {
    this.#database = database;
    database.whenOpen((db) => {
      this.#statements = {
        useTag: db.prepare("UPDATE tags SET used_at = ? WHERE repository = ? AND tag = ?"),
        useContent: db.prepare(
          "UPDATE contents SET used_at = ? WHERE repository IN (?, ?) AND digest = ?",
        ),
      };
    });
  }

  /** `name` is a tag or a digest of the repository. */
  used(repository: RepositoryName, name: string, atMs: number): void {
    let names = this.#uses.get(repository);
    if (names === undefined) {
      names = new Map();
      this.#uses.set(repository, names);
    }
    if (!names.has(name)) {
      if (this.#count >= NAMES_MAX) {
        return;
      }
      this.#count += 1;
    }
    names.set(name, atMs);
  }

  /** Writes all of them at once: before somebody judges by them, and at the end. */
  flush(): void {
    for (const slice of this.#take()) {
      this.#write(slice);
    }
  }

  /** As `flush`, letting pulls in between. */
  async flushSlowly(): Promise<void> {
    for (const slice of this.#take()) {
      this.#write(slice);
      await new Promise(setImmediate);
    }
  }

  *#take(): Generator<readonly Use[], void, undefined> {
    const uses = this.#uses;
    this.#uses = new Map();
    this.#count = 0;
    let slice: Use[] = [];
    for (const [repository, names] of uses) {
      for (const [name, atMs] of names) {
        slice.push({ repository, name, atMs });
        if (slice.length >= SLICE) {
          yield slice;
          slice = [];
        }
      }
    }
    yield slice;
  }

  #write(uses: readonly Use[]): void {
    if (uses.length === 0) {
      return;
    }
    this.#database.transaction(() => {
      for (const { repository, name, atMs } of uses) {
        if (name.includes(":")) {
          this.#statements?.useContent.run(atMs, repository, provedName(repository), name);
        } else {
          this.#statements?.useTag.run(atMs, repository, name);
        }
      }
    });
  }
}

interface Use {
  readonly repository: RepositoryName;
  readonly name: string;
  readonly atMs: number;
}
