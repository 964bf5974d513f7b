import { readFile, stat } from "node:fs/promises";

interface Reading<T> {
  readonly mtimeMs: number;
  readonly sizeBytes: number;
  readonly inode: number;
  readonly value: T;
}

/** A small file whose parsed content is kept until the file changes. */
export class WatchedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #last: Reading<T> | undefined;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
  }

  /**
   * A file that cannot be read or parsed any more is answered with what it last held: it may be in
   * the middle of being replaced. Throws when there never was anything.
   */
  async read(): Promise<T> {
    try {
      const { mtimeMs, size: sizeBytes, ino: inode } = await stat(this.#path);
      const last = this.#last;
      const isSame =
        last?.mtimeMs === mtimeMs && last.sizeBytes === sizeBytes && last.inode === inode;
      if (last !== undefined && isSame) {
        return last.value;
      }
      const value = this.#parse(await readFile(this.#path, "utf8"));
      this.#last = { mtimeMs, sizeBytes, inode, value };
      return value;
    } catch (error) {
      if (this.#last === undefined) {
        throw error;
      }
      return this.#last.value;
    }
  }
}
