import { isDeepStrictEqual } from "node:util";
import type { AuditSink } from "./audit.ts";
import { LineFile } from "./line-file.ts";
import type { AuditSettings } from "./policy-settings.ts";

/** Where decisions go now: a file, the standard output, or nowhere. A reload may change it. */
export class AuditLog implements AuditSink {
  readonly #onLost: (lines: number) => void;
  #settings: AuditSettings | undefined;
  #file: LineFile | undefined;

  constructor(onLost: (lines: number) => void) {
    this.#onLost = onLost;
  }

  get isOff(): boolean {
    return this.#file === undefined;
  }

  /** @throws when the file's folder cannot be made; the file before stays. */
  apply(settings: AuditSettings | undefined): void {
    if (isDeepStrictEqual(settings, this.#settings)) {
      return;
    }
    const before = this.#file;
    this.#file = settings && this.#open(settings);
    this.#settings = settings;
    before?.close().catch(() => undefined); // what it could not write it has counted
  }

  write(line: string): void {
    this.#file?.write(line);
  }

  reopen(): void {
    this.#file?.reopen();
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  #open({ target, maxBytes, keep }: AuditSettings): LineFile {
    return new LineFile(target, { rotation: { maxBytes, keep }, onLost: this.#onLost });
  }
}
