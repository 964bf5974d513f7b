import { createWriteStream, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Writable } from "node:stream";
import type { LogTarget } from "./settings.ts";

/** Lines are collected this long, in milliseconds, so that thousands of them are one write. */
const FLUSH_MS = 100;
/** What may wait for a slow disk, in bytes; past that lines are lost, never pulls. */
const WAITING_BYTES_MAX = 16_777_216;

/** JSON Lines in a file or on the standard output. A logger would cost more than the pull it logs. */
export class LineFile {
  readonly #stream: Writable;
  #lines: string[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @throws when the file's folder cannot be made. */
  constructor(target: LogTarget) {
    if (target !== "stdout") {
      mkdirSync(dirname(target.file), { recursive: true });
    }
    this.#stream =
      target === "stdout"
        ? createWriteStream("", { fd: 1, autoClose: false })
        : createWriteStream(target.file, { flags: "a" });
    // A full disk under the log must not end the program.
    this.#stream.on("error", () => undefined);
  }

  info(line: object): void {
    this.#lines.push(JSON.stringify(line));
    this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
  }

  /** Resolves once everything is with the system, or could not be brought there. */
  close(): Promise<void> {
    this.#flush();
    return new Promise((resolve) => {
      this.#stream.write("", () => resolve());
    });
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = this.#lines;
    this.#lines = [];
    if (lines.length > 0 && this.#stream.writableLength < WAITING_BYTES_MAX) {
      this.#stream.write(`${lines.join("\n")}\n`);
    }
  }
}
