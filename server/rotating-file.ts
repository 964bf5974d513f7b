import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";

/** What may wait for a slow disk, in bytes; past that lines are lost, never pulls. */
const WAITING_BYTES_MAX = 16_777_216;
/** After a rotation that failed, another one is tried when so many bytes more are written. */
const RETRY_BYTES = 1_048_576;
const NEWLINE = 0x0a;
/** Numbers of ours: not a date that another tool has put behind the name. */
const NUMBER_PATTERN = /^\.([1-9]\d{0,3})$/u;

export interface Rotation {
  /** A file that would grow past it is put aside as FILE.1, what was FILE.1 as FILE.2, and so on. */
  readonly maxBytes: number;
  /** How many are kept beside the one that is written. */
  readonly keep: number;
}

/**
 * A file that batches of lines are appended to, one after the other, without anybody waiting. What
 * cannot be written is lost and counted; the file is opened anew for the next batch.
 */
export class RotatingFile {
  readonly #path: string;
  readonly #rotation: Rotation | undefined;
  readonly #onLost: (lines: number) => void;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #handle: FileHandle | undefined;
  #sizeBytes = 0;
  #rotateAtBytes = Number.POSITIVE_INFINITY;
  /** The file's last line was not brought to its end: the next one must not continue it. */
  #isTorn = false;

  constructor(path: string, rotation: Rotation | undefined, onLost: (lines: number) => void) {
    this.#path = path;
    this.#rotation = rotation;
    this.#onLost = onLost;
    this.reopen();
  }

  /** @param text - whole lines. */
  append(text: string): void {
    const batch = Buffer.from(text);
    if (this.#waitingBytes + batch.length > WAITING_BYTES_MAX) {
      this.#lose(batch);
      return;
    }
    this.#waiting.push(batch);
    this.#waitingBytes += batch.length;
    this.#writing ??= this.#writeAll();
  }

  /** Makes the file when there is none of that name now: an empty batch looks for it, as any does. */
  reopen(): void {
    this.append("");
  }

  /** Resolves once everything has been written, or was lost. Nothing may be appended after it. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#release();
  }

  async #writeAll(): Promise<void> {
    for (let batch = this.#waiting.shift(); batch !== undefined; batch = this.#waiting.shift()) {
      await this.#write(batch);
      this.#waitingBytes -= batch.length;
    }
    this.#writing = undefined;
  }

  async #write(batch: Buffer): Promise<void> {
    let written = 0;
    try {
      const file = await this.#fileFor(batch.length);
      if (this.#isTorn) {
        await file.write("\n");
        this.#isTorn = false;
      }
      while (written < batch.length) {
        const { bytesWritten } = await file.write(batch, written);
        written += bytesWritten;
        this.#sizeBytes += bytesWritten;
      }
    } catch {
      this.#lose(batch.subarray(written));
      await this.#release(); // a full disk or a lost volume may be another one the next time
    }
  }

  #lose(bytes: Uint8Array): void {
    const lines = linesIn(bytes);
    if (lines > 0) {
      this.#onLost(lines);
    }
  }

  async #fileFor(bytes: number): Promise<FileHandle> {
    if (this.#handle !== undefined && !(await this.#isStillNamed(this.#handle))) {
      await this.#release();
    }
    const file = this.#handle ?? (await this.#open());
    if (this.#sizeBytes === 0 || this.#sizeBytes + bytes <= this.#rotateAtBytes) {
      return file;
    }
    await this.#rotate();
    return this.#handle ?? (await this.#open());
  }

  async #open(): Promise<FileHandle> {
    await mkdir(dirname(this.#path), { recursive: true }); // the data folder may go at any time
    const file = await open(this.#path, "a");
    try {
      const status = await file.stat();
      const maxBytes = this.#rotation?.maxBytes ?? Number.POSITIVE_INFINITY;
      this.#isTorn = status.size > 0 && (await this.#lastByte(status.size)) !== NEWLINE;
      this.#sizeBytes = status.size;
      // A pipe, such as /dev/stdout, is never full.
      this.#rotateAtBytes = status.isFile() ? maxBytes : Number.POSITIVE_INFINITY;
      this.#handle = file;
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** A newline when it cannot be told: we may append, but perhaps not read. */
  async #lastByte(sizeBytes: number): Promise<number> {
    const last = Buffer.of(NEWLINE);
    try {
      await using file = await open(this.#path, "r");
      await file.read(last, 0, 1, sizeBytes - 1);
    } catch {
      return NEWLINE;
    }
    return last.readUInt8(0);
  }

  async #release(): Promise<void> {
    const file = this.#handle;
    this.#handle = undefined;
    await file?.close().catch(() => undefined);
  }

  /** Puts the file aside. Where that fails it is written on, which is better than to lose lines. */
  async #rotate(): Promise<void> {
    try {
      await this.#shift();
      await this.#release();
    } catch {
      this.#rotateAtBytes = this.#sizeBytes + RETRY_BYTES;
    }
  }

  /** Not so when another tool has moved it away: then the name stands for another file, or none. */
  async #isStillNamed(file: FileHandle): Promise<boolean> {
    const [ours, named] = await Promise.all([file.stat(), stat(this.#path).catch(() => undefined)]);
    return named !== undefined && named.ino === ours.ino && named.dev === ours.dev;
  }

  async #shift(): Promise<void> {
    const keep = this.#rotation?.keep ?? 0;
    const numbers = await this.#numbersAside();
    for (const number of numbers.toSorted((a, b) => b - a)) {
      const aside = `${this.#path}.${number}`;
      await (number >= keep ? unlink(aside) : rename(aside, `${this.#path}.${number + 1}`));
    }
    await rename(this.#path, `${this.#path}.1`);
  }

  async #numbersAside(): Promise<readonly number[]> {
    const name = basename(this.#path);
    const names = await readdir(dirname(this.#path));
    return names
      .filter((one) => one.startsWith(name))
      .map((one) => Number(NUMBER_PATTERN.exec(one.slice(name.length))?.[1]))
      .filter((number) => !Number.isNaN(number));
  }
}

function linesIn(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) {
    lines += 1;
  }
  return lines;
}
