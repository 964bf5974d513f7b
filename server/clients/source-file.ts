import { isUtf8 } from "node:buffer";
import { readFile, stat } from "node:fs/promises";
import { ACCESS_LIMITS } from "../limits.ts";
import { within } from "../within.ts";
import { ClientsError } from "./clients-error.ts";

/** How long a look at it is waited for; then what it held last counts. */
const WAIT_MS = 1000;

export interface SourceFileOptions<T> {
  /** For people: `clients.htpasswdFile`. */
  readonly setting: string;
  readonly path: string;
  readonly bytesMax: number;
  /** @throws ClientsError that says what is wrong with it, without its content. */
  readonly parse: (text: string) => T;
  /** The wall clock in milliseconds. */
  readonly now: () => number;
  readonly onFault: (error: unknown) => void;
}

/**
 * A file that decides who is let in, followed as it changes. One that breaks is told of once, and
 * what it held before stays in force.
 */
export class SourceFile<T> {
  readonly #options: SourceFileOptions<T>;
  #value: T;
  /** Of what was read last, broken or not. */
  #stamp: string;
  #checkedAtMs: number;
  #checking: Promise<void> | undefined;
  #fault: string | undefined;

  /** @throws ClientsError when it cannot be read or parsed. */
  static async open<T>(options: SourceFileOptions<T>): Promise<SourceFile<T>> {
    try {
      const stamp = await stampOf(options.path);
      const text = await readBounded(options.path, options.bytesMax);
      return new SourceFile(options, options.parse(text), stamp);
    } catch (error) {
      throw faultOf(options, error);
    }
  }

  private constructor(options: SourceFileOptions<T>, value: T, stamp: string) {
    this.#options = options;
    this.#value = value;
    this.#stamp = stamp;
    this.#checkedAtMs = options.now();
  }

  /** What it holds, at most a second old. */
  async read(): Promise<T> {
    if (this.#isDue()) {
      this.#checkedAtMs = this.#options.now();
      this.#checking = this.#check().finally(() => {
        this.#checking = undefined;
      });
    }
    if (this.#checking !== undefined) {
      await within(this.#checking, WAIT_MS);
    }
    return this.#value;
  }

  /** Also after a clock that was set back. */
  #isDue(): boolean {
    const ageMs = Math.abs(this.#options.now() - this.#checkedAtMs);
    return this.#checking === undefined && ageMs >= ACCESS_LIMITS.fileCheckMs;
  }

  async #check(): Promise<void> {
    const { path, bytesMax, parse } = this.#options;
    try {
      const stamp = await stampOf(path);
      if (stamp !== this.#stamp) {
        const text = await readBounded(path, bytesMax);
        this.#stamp = stamp;
        this.#value = parse(text);
        this.#fault = undefined;
      }
    } catch (error) {
      this.#tell(faultOf(this.#options, error));
    }
  }

  #tell(fault: ClientsError): void {
    if (fault.message !== this.#fault) {
      this.#fault = fault.message;
      const message = `${fault.message}; until that is mended, what it held before stays in force`;
      this.#options.onFault(new ClientsError(message, { cause: fault.cause }));
    }
  }
}

/**
 * A text file of the configuration.
 *
 * @throws ClientsError when it is no file, too large or not UTF-8; what the system says.
 */
export async function readBounded(path: string, bytesMax: number): Promise<string> {
  const info = await stat(path);
  if (!info.isFile()) {
    throw new ClientsError("it is not a file");
  }
  // The second look: it may have grown since, and what /proc has says that it is empty.
  const bytes = info.size > bytesMax ? undefined : await readFile(path);
  if (bytes === undefined || bytes.byteLength > bytesMax) {
    throw new ClientsError(`it is larger than ${bytesMax} bytes, which is the limit`);
  }
  if (!isUtf8(bytes)) {
    throw new ClientsError("it is not UTF-8");
  }
  return bytes.toString("utf8").replace(/^\ufeff/, "");
}

async function stampOf(path: string): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await stat(path);
  return [ino, size, mtimeMs, ctimeMs].join(" ");
}

function faultOf({ setting, path }: SourceFileOptions<unknown>, cause: unknown): ClientsError {
  return new ClientsError(`${setting} ${path}: ${whyOf(cause)}`, { cause });
}

/** What the system says names no content, and what a parser of ours says does not either. */
export function whyOf(error: unknown): string {
  if (error instanceof ClientsError) {
    return error.message;
  }
  const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
  return `it cannot be read${code}`;
}
