import { accessSync, constants, statSync } from "node:fs";
import { resolve } from "node:path";
import type { ConfigDocument } from "./document.ts";
import type { Problem } from "./errors.ts";
import type { Path } from "./nodes.ts";
import { quoteWritten } from "./shape.ts";

/** What the reading of one file shares: where it stands, and what was found wrong so far. */
export class ConfigScope {
  readonly problems: Problem[] = [];
  readonly #document: ConfigDocument;
  readonly #folder: string;

  /** @param folder - what relative paths start from. */
  constructor(document: ConfigDocument, folder: string) {
    this.#document = document;
    this.#folder = folder;
  }

  problem(path: Path, message: string, part?: "key" | "value"): void {
    this.problems.push(this.#document.problem(path, message, part));
  }

  /** The problem that the text at `path` is not what it should be. */
  mismatch(path: Path, expected: string): void {
    this.problem(path, `found ${this.quote(path)}, expected ${expected}`);
  }

  /** The text at `path` as the file has it: never what a variable stands for. */
  quote(path: Path): string {
    return quoteWritten(this.#document.written(path));
  }

  written(path: Path): unknown {
    return this.#document.written(path);
  }

  /** Whether the file has something at `path`, right or wrong. */
  has(path: Path): boolean {
    return this.#document.has(path);
  }

  path(text: string): string {
    return resolve(this.#folder, text);
  }

  /** The path of a file that must be there: found now rather than at the first pull. */
  readableFile(path: Path, text: string | undefined): string | undefined {
    return this.#readable(path, text, "file");
  }

  /** The same for a folder, whose files we may look up. */
  readableFolder(path: Path, text: string | undefined): string | undefined {
    return this.#readable(path, text, "folder");
  }

  #readable(path: Path, text: string | undefined, kind: "file" | "folder"): string | undefined {
    if (text === undefined) {
      return undefined;
    }
    const name = this.path(text);
    try {
      const stats = statSync(name);
      if (kind === "file" ? stats.isFile() : stats.isDirectory()) {
        accessSync(name, kind === "file" ? constants.R_OK : constants.R_OK | constants.X_OK);
        return name;
      }
      this.problem(path, `found ${this.quote(path)} which is not a ${kind}, expected a ${kind}`);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
      const why = code === "ENOENT" ? "does not exist" : `cannot be read (${code})`;
      const found = `found ${this.quote(path)} which ${why}`;
      this.problem(path, `${found}, expected a ${kind} that we may read`);
    }
    return undefined;
  }
}
