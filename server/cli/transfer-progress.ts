import { Progress, readableBytes } from "./progress.ts";

/** How far a transfer of known size is. */
export class TransferProgress {
  readonly #progress: Progress;
  readonly #isQuiet: boolean;
  #what = "";
  #total = 0;
  #done = 0;

  constructor(options: { readonly isQuiet: boolean }) {
    this.#isQuiet = options.isQuiet;
    this.#progress = new Progress(process.stderr, options);
  }

  /** Work of so many bytes begins. */
  start(what: string, totalBytes: number): void {
    this.#what = what;
    this.#total = totalBytes;
    this.#done = 0;
  }

  add(bytes: number): void {
    this.#done += bytes;
    const sizes = `${readableBytes(this.#done)} of ${readableBytes(this.#total)}`;
    const text = `${this.#what}: ${sizes}`;
    this.#progress.show({ done: this.#done, total: this.#total, text });
  }

  /** What comes next takes a while, and has no size. */
  line(text: string): void {
    this.end();
    if (!this.#isQuiet) {
      process.stderr.write(`${text}\n`);
    }
  }

  end(): void {
    this.#progress.end();
  }
}
