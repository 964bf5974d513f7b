import type { FileHandle } from "node:fs/promises";
import { AIR_GAP_LIMITS } from "../limits.ts";
import { shown } from "../oci/reference.ts";
import { AirGapError } from "./air-gap-error.ts";
import type { TarHeader } from "./tar-format.ts";
import { decodeTarHeader, parsePax, TAR_BLOCK_BYTES, tarPadding } from "./tar-format.ts";

/** Where the bytes of an entry stand in the archive. */
export interface TarMember {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** What stands before an entry and changes it. */
interface Overrides {
  readonly path?: string;
  readonly sizeBytes?: number;
}

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/**
 * Reads where everything is, without the content. Only files and folders may be in it: nothing is
 * ever unpacked, but an archive with links or devices was not made to carry images.
 *
 * @throws AirGapError when it is compressed, damaged, cut short, or has what no layout has.
 */
export async function readTar(file: FileHandle): Promise<ReadonlyMap<string, TarMember>> {
  return await new TarReader(file, (await file.stat()).size).read();
}

class TarReader {
  readonly #file: FileHandle;
  readonly #fileBytes: number;
  readonly #members = new Map<string, TarMember>();
  #next: Overrides = {};

  constructor(file: FileHandle, fileBytes: number) {
    this.#file = file;
    this.#fileBytes = fileBytes;
  }

  async read(): Promise<ReadonlyMap<string, TarMember>> {
    let at = 0;
    for (let entries = 0; at < this.#fileBytes; entries += 1) {
      if (entries >= AIR_GAP_LIMITS.tarEntriesMax) {
        throw new AirGapError(`it has more than ${AIR_GAP_LIMITS.tarEntriesMax} entries`);
      }
      const bytes = await this.#bytesAt(at, TAR_BLOCK_BYTES);
      if (at === 0) {
        refuseCompressed(bytes);
      }
      const header = decodeTarHeader(bytes);
      if (header === undefined) {
        return this.#members;
      }
      at = await this.#take(header, at + TAR_BLOCK_BYTES);
    }
    throw new AirGapError("it is cut short: its end is missing");
  }

  /** Answers where the next header is. */
  async #take(header: TarHeader, offset: number): Promise<number> {
    if (header.type === "x" || header.type === "g" || header.type === "L") {
      await this.#takeOverrides(header, offset);
      return offset + header.sizeBytes + tarPadding(header.sizeBytes);
    }
    const { path = header.path, sizeBytes = header.sizeBytes } = this.#next;
    this.#next = {};
    const end = offset + sizeBytes + tarPadding(sizeBytes);
    if (!Number.isSafeInteger(end) || end > this.#fileBytes) {
      throw new AirGapError(`it is cut short: the end of ${shown(path)} is missing`);
    }
    const name = plainPath(path);
    if (header.type === "5") {
      return end;
    }
    if (header.type !== "0" && header.type !== "\0") {
      throw new AirGapError(
        `${shown(path)} in it is a link, a device or worse: no layout has those`,
      );
    }
    if (this.#members.has(name)) {
      throw new AirGapError(`${shown(path)} is in it twice`);
    }
    this.#members.set(name, { offset, sizeBytes });
    return end;
  }

  /** Of pax, and of GNU tar's long names. */
  async #takeOverrides({ type, sizeBytes }: TarHeader, offset: number): Promise<void> {
    if (sizeBytes > AIR_GAP_LIMITS.paxBytesMax) {
      throw new AirGapError(
        `a pax header of it is larger than ${AIR_GAP_LIMITS.paxBytesMax} bytes`,
      );
    }
    const bytes = await this.#bytesAt(offset, sizeBytes);
    if (type === "L") {
      this.#next = { ...this.#next, path: bytes.toString("utf8").replace(/\0.*$/s, "") };
      return;
    }
    const records = parsePax(bytes);
    const size = records.get("size");
    const path = records.get("path");
    if ([...records.keys()].some((key) => key.startsWith("GNU.sparse."))) {
      throw new AirGapError("it has sparse files: write it without them");
    }
    if (type === "g") {
      if (size !== undefined || path !== undefined) {
        throw new AirGapError("a pax header of it gives all entries one name or size");
      }
      return;
    }
    if (size !== undefined && !(/^[0-9]{1,16}$/.test(size) && Number.isSafeInteger(Number(size)))) {
      throw new AirGapError("an entry of it has an impossible size");
    }
    this.#next = {
      ...this.#next,
      ...(path !== undefined && { path }),
      ...(size !== undefined && { sizeBytes: Number(size) }),
    };
  }

  async #bytesAt(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    let read = 0;
    while (read < length) {
      const { bytesRead } = await this.#file.read(bytes, read, length - read, position + read);
      if (bytesRead === 0) {
        throw new AirGapError("it is cut short: its end is missing");
      }
      read += bytesRead;
    }
    return bytes;
  }
}

/** `./a/b` and `a/b/` are `a/b`. */
function plainPath(path: string): string {
  const parts = path.replace(/\/$/, "").split("/");
  const plain = parts[0] === "." ? parts.slice(1) : parts;
  if (path.startsWith("/") || plain.includes("..") || path.includes("\0")) {
    throw new AirGapError(`${shown(path)} in it leads out of it`);
  }
  return plain.join("/");
}

function refuseCompressed(bytes: Buffer): void {
  if (bytes.subarray(0, 2).equals(GZIP) || bytes.subarray(0, 4).equals(ZSTD)) {
    throw new AirGapError("it is compressed: unpack it first, with gunzip or unzstd");
  }
}
