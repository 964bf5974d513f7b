import { AirGapError } from "./air-gap-error.ts";
import { encodeTarHeader, TAR_BLOCK_BYTES, tarPadding } from "./tar-format.ts";

/** Takes bytes; they may be reused once it resolves. */
export type WriteBytes = (bytes: Uint8Array) => Promise<void>;

/** Writes an archive from the first byte to the last, and holds none of it. */
export class TarWriter {
  readonly #write: WriteBytes;

  constructor(write: WriteBytes) {
    this.#write = write;
  }

  async folder(path: string): Promise<void> {
    await this.#write(encodeTarHeader({ path: `${path}/`, sizeBytes: 0, type: "5" }));
  }

  /** @throws AirGapError when the content is not as long as was said: the archive is spoiled then. */
  async file(
    path: string,
    sizeBytes: number,
    content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    await this.#write(encodeTarHeader({ path, sizeBytes, type: "0" }));
    let written = 0;
    for await (const chunk of content) {
      written += chunk.byteLength;
      if (written > sizeBytes) {
        break;
      }
      await this.#write(chunk);
    }
    if (written !== sizeBytes) {
      const more = written > sizeBytes ? "more than " : "";
      throw new AirGapError(
        `${path} has ${more}${Math.min(written, sizeBytes)} bytes, not ${sizeBytes}`,
      );
    }
    await this.#write(Buffer.alloc(tarPadding(sizeBytes)));
  }

  async end(): Promise<void> {
    await this.#write(Buffer.alloc(2 * TAR_BLOCK_BYTES));
  }
}
