import type { Stats } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { CREDENTIAL_LIMITS } from "./limits.ts";

interface Reading<T> {
  readonly stamp: string;
  readonly value: T;
}

/** What is there is not what is expected there; the message holds nothing of its content. */
export class UnfitFileError extends Error {
  override readonly name = "UnfitFileError";
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
   * the middle of being replaced. Links are followed, so that a Kubernetes volume, which swaps one
   * of a folder, is seen to change.
   *
   * @throws what `stat`, `readFile` and the parser throw, and UnfitFileError for what is no file or
   *   larger than CREDENTIAL_LIMITS.fileBytesMax, when there never was anything.
   */
  async read(): Promise<T> {
    try {
      const stats = await stat(this.#path);
      const stamp = stampOf(stats);
      if (this.#last?.stamp === stamp) {
        return this.#last.value;
      }
      this.#requireFit(stats);
      const value = this.#parse(await readFile(this.#path, "utf8"));
      this.#last = { stamp, value };
      return value;
    } catch (error) {
      if (this.#last === undefined) {
        throw error;
      }
      return this.#last.value;
    }
  }

  #requireFit(stats: Stats): void {
    const { fileBytesMax } = CREDENTIAL_LIMITS;
    if (!stats.isFile()) {
      const kind = stats.isDirectory() ? "a folder" : "no regular file";
      throw new UnfitFileError(`${this.#path} is ${kind}; expected a file`);
    }
    if (stats.size > fileBytesMax) {
      throw new UnfitFileError(
        `${this.#path} has ${stats.size} bytes; expected at most ${fileBytesMax}`,
      );
    }
  }
}

/** Who keeps the time of writing still changes the time of the change. */
function stampOf({ mtimeMs, ctimeMs, size, ino }: Stats): string {
  return [mtimeMs, ctimeMs, size, ino].join(" ");
}
