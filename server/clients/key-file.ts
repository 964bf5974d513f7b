import { ACCESS_LIMITS } from "../limits.ts";
import type { KeySet, KeySource } from "./key-set.ts";
import { parseKeySet } from "./key-set.ts";
import type { SourceFileOptions } from "./source-file.ts";
import { SourceFile } from "./source-file.ts";

/** A JWK set in a file, followed as it changes. */
export class KeyFile implements KeySource {
  readonly #file: SourceFile<KeySet>;

  /** @throws ClientsError when it cannot be read or parsed. */
  static async open(
    options: Pick<SourceFileOptions<KeySet>, "path" | "now" | "onFault">,
  ): Promise<KeyFile> {
    const file = await SourceFile.open({
      ...options,
      setting: "clients.tokens jwksFile",
      bytesMax: ACCESS_LIMITS.keySetBytesMax,
      parse: parseKeySet,
    });
    return new KeyFile(file);
  }

  private constructor(file: SourceFile<KeySet>) {
    this.#file = file;
  }

  async current(): Promise<KeySet> {
    return await this.#file.read();
  }

  /** What was read a moment ago is all that there is. */
  newer(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve(); // nothing stays open
  }
}
