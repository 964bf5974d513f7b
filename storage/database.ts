import { existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { StoreEvents } from "./store-events.ts";
import { reasonOf } from "./store-events.ts";

/**
 * NORMAL with WAL survives a crash of the process without loss and one of the machine without
 * damage; what is lost then is asked of the upstream again.
 */
const PRAGMAS = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA busy_timeout = 1000;
  PRAGMA cache_size = -16384;
  PRAGMA temp_store = MEMORY;
`;

/** How long a database that could not be opened is left alone, in milliseconds. */
const REOPEN_AFTER_MS = 5000;

/**
 * A sqlite file that may be lost, deleted or damaged at any time: it holds nothing that cannot be
 * learned again. Every use goes through `use`, which answers `undefined` while there is none.
 */
export class Database {
  readonly #file: string;
  readonly #schema: string;
  readonly #events: StoreEvents;
  readonly #onOpen: ((db: DatabaseSync) => void)[] = [];
  #db: DatabaseSync | undefined;
  #closedUntilMs = 0;
  #isDisposed = false;

  constructor(file: string, schema: string, events: StoreEvents) {
    this.#file = file;
    this.#schema = schema;
    this.#events = events;
    this.#open();
  }

  /** Runs now when the file is open, and again after each time that it had to be opened anew. */
  whenOpen(prepare: (db: DatabaseSync) => void): void {
    this.#onOpen.push(prepare);
    if (this.#db !== undefined) {
      this.use(prepare);
    }
  }

  /** What `action` returns; undefined when the database is not to be had. Never throws. */
  use<T>(action: (db: DatabaseSync) => T): T | undefined {
    if (this.#db === undefined && !this.#reopen()) {
      return;
    }
    const db = this.#db;
    if (db === undefined) {
      return;
    }
    try {
      return action(db);
    } catch (error) {
      this.#fail(error);
      return;
    }
  }

  /** All of `action`, or none of it. */
  transaction(action: (db: DatabaseSync) => void): boolean {
    const done = this.use((db) => {
      db.exec("BEGIN IMMEDIATE");
      try {
        action(db);
        db.exec("COMMIT");
        return true;
      } catch (error) {
        if (db.isTransaction) {
          db.exec("ROLLBACK");
        }
        throw error;
      }
    });
    return done === true;
  }

  /** Notices that the file was deleted under us, so that the next use makes a new one. */
  checkFile(): void {
    if (this.#db !== undefined && !existsSync(this.#file)) {
      this.#close();
      this.#closedUntilMs = 0;
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#close();
  }

  #reopen(): boolean {
    if (this.#isDisposed || Date.now() < this.#closedUntilMs) {
      return false;
    }
    this.#open();
    return this.#db !== undefined;
  }

  #open(): void {
    try {
      this.#db = this.#openFile();
    } catch (error) {
      this.#events.failed("metadata", reasonOf(error), error);
      this.#closedUntilMs = Date.now() + REOPEN_AFTER_MS;
      return;
    }
    for (const prepare of this.#onOpen) {
      this.use(prepare);
    }
  }

  #openFile(): DatabaseSync {
    mkdirSync(dirname(this.#file), { recursive: true });
    try {
      return this.#connect();
    } catch (error) {
      if (!isDamaged(error)) {
        throw error;
      }
      this.#events.failed("metadata", "SQLITE_CORRUPT", error);
      removeDatabase(this.#file);
      return this.#connect();
    }
  }

  #connect(): DatabaseSync {
    const db = new DatabaseSync(this.#file);
    try {
      db.exec(PRAGMAS);
      db.exec(this.#schema);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #fail(error: unknown): void {
    this.#events.failed("metadata", reasonOf(error), error);
    this.#close();
    if (isDamaged(error)) {
      removeDatabase(this.#file);
    } else {
      this.#closedUntilMs = Date.now() + REOPEN_AFTER_MS;
    }
  }

  #close(): void {
    try {
      this.#db?.close();
    } catch (error) {
      this.#events.failed("metadata", reasonOf(error), error);
    }
    this.#db = undefined;
  }
}

/** SQLITE_CORRUPT (11) and SQLITE_NOTADB (26); https://www.sqlite.org/rescode.html */
function isDamaged(error: unknown): boolean {
  if (!(error instanceof Error)) {
    return false;
  }
  const code: unknown = Reflect.get(error, "errcode");
  return typeof code === "number" && [11, 26].includes(code % 256);
}

function removeDatabase(file: string): void {
  for (const suffix of ["", "-wal", "-shm"]) {
    rmSync(file + suffix, { force: true });
  }
}
