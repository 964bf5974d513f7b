import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StorageError } from "./errors.ts";

/** SQLITE_BUSY; https://www.sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

/**
 * Holds a folder for this process. A lock of the file system through sqlite: it ends with the
 * process, however that ends, and node has no other way to one.
 *
 * @throws StorageError `store-unavailable` when another process holds it. Any other failure (a
 *   read-only disk) is no reason to refuse: then there is nothing to protect, and undefined is
 *   returned.
 */
export function lockStore(file: string): Disposable | undefined {
  let db: DatabaseSync | undefined;
  try {
    mkdirSync(dirname(file), { recursive: true });
    db = new DatabaseSync(file);
    db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    db?.close();
    if (error instanceof Error && Reflect.get(error, "errcode") === SQLITE_BUSY) {
      throw inUse(dirname(file), error);
    }
    return;
  }
  const held = db;
  return { [Symbol.dispose]: () => held.close() };
}

function inUse(folder: string, cause: Error): StorageError {
  const what = `another process uses ${folder}: stop it, or give this one a folder of its own`;
  return new StorageError("store-unavailable", what, { cause });
}
