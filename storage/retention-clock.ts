import type { StatementSync } from "node:sqlite";
import type { Database } from "./database.ts";

export const RETENTION_CLOCK_SCHEMA = `
  CREATE TABLE IF NOT EXISTS retention_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at_ms INTEGER NOT NULL
  );
`;

/** What was missed is caught up with at this speed, beside what passes. */
const SPEED = 2;

interface Statements {
  readonly get: StatementSync;
  readonly put: StatementSync;
}

/**
 * What ages are measured with. The wall clock alone would let all expire at once when it jumps
 * ahead, and a minute after the start when nobody could use anything for weeks, since we were off.
 * So this one goes on only while we run, twice as fast as time until it has caught up: what is in
 * use is used meanwhile.
 */
export class RetentionClock {
  readonly #database: Database;
  readonly #now: () => number;
  readonly #elapsed: () => number;
  #readAtMs: number;
  #statements: Statements | undefined;

  /** @param elapsed - milliseconds that never jump: only differences count. */
  constructor(database: Database, now: () => number, elapsed: () => number) {
    this.#database = database;
    this.#now = now;
    this.#elapsed = elapsed;
    this.#readAtMs = elapsed();
    database.whenOpen((db) => {
      db.prepare("INSERT INTO retention_clock VALUES (1, ?) ON CONFLICT DO NOTHING").run(
        Math.trunc(now()),
      );
      this.#statements = {
        get: db.prepare("SELECT at_ms FROM retention_clock WHERE id = 1"),
        put: db.prepare("UPDATE retention_clock SET at_ms = ? WHERE id = 1"),
      };
    });
  }

  /** In milliseconds since the epoch, never later than the wall clock. */
  read(): number {
    const elapsedMs = this.#elapsed();
    const saved = this.#database.use(() => this.#statements?.get.get())?.["at_ms"];
    if (typeof saved !== "number") {
      return 0; // nobody knows, so nothing is old
    }
    const at = Math.trunc(Math.min(this.#now(), saved + SPEED * (elapsedMs - this.#readAtMs)));
    this.#readAtMs = elapsedMs;
    this.#database.use(() => this.#statements?.put.run(at));
    return at;
  }
}
