import { createWriteStream, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Writable } from "node:stream";
import type { Rotation } from "./rotating-file.ts";
import { RotatingFile } from "./rotating-file.ts";
import type { LogTarget } from "./settings.ts";

/** Lines are collected this long, in milliseconds, so that thousands of them are one write. */
const FLUSH_MS = 100;
/** What may wait for a slow reader of the standard output, in bytes. */
const WAITING_BYTES_MAX = 16_777_216;

export interface LineFileOptions {
  /** Only of a file. Without it the file grows until another tool moves it away. */
  readonly rotation?: Rotation;
  /** Told each time that lines could not be written. */
  readonly onLost?: (lines: number) => void;
}

/** Where batches of whole lines go. */
interface Output {
  append(text: string): void;
  reopen(): void;
  close(): Promise<void>;
}

/** JSON Lines in a file or on the standard output. A logger would cost more than the pull it logs. */
export class LineFile {
  readonly #output: Output;
  #lines: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #lost = 0;

  /** @throws when the file's folder cannot be made. */
  constructor(target: LogTarget, options: LineFileOptions = {}) {
    const onLost = (lines: number): void => {
      this.#lost += lines;
      options.onLost?.(lines);
    };
    if (target === "stdout") {
      this.#output = new StandardOutput(onLost);
    } else {
      mkdirSync(dirname(target.file), { recursive: true });
      this.#output = new RotatingFile(target.file, options.rotation, onLost);
    }
  }

  /** Lines that could not be written since the start. */
  get lost(): number {
    return this.#lost;
  }

  info(line: object): void {
    this.write(JSON.stringify(line));
  }

  /** @param line - one, without its end. */
  write(line: string): void {
    this.#lines.push(line);
    this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
  }

  /** For SIGHUP: lines from now on go to a file of that name, also when another was moved away. */
  reopen(): void {
    this.#flush();
    this.#output.reopen();
  }

  /** Resolves once everything is with the system, or could not be brought there. */
  close(): Promise<void> {
    this.#flush();
    return this.#output.close();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = this.#lines;
    this.#lines = [];
    if (lines.length > 0) {
      this.#output.append(`${lines.join("\n")}\n`);
    }
  }
}

/** A pipe that somebody reads, or not. */
class StandardOutput implements Output {
  readonly #stream: Writable = createWriteStream("", { fd: 1, autoClose: false });
  readonly #onLost: (lines: number) => void;

  constructor(onLost: (lines: number) => void) {
    this.#onLost = onLost;
    // Nobody who reads must not end the program.
    this.#stream.on("error", () => undefined);
  }

  append(text: string): void {
    const lines = text.split("\n").length - 1;
    if (this.#stream.writableLength >= WAITING_BYTES_MAX) {
      this.#onLost(lines);
      return;
    }
    this.#stream.write(text, (error) => {
      if (error) {
        this.#onLost(lines);
      }
    });
  }

  reopen(): void {}

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#stream.write("", () => resolve());
    });
  }
}
