import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { AIR_GAP_LIMITS } from "../limits.ts";
import { shown } from "../oci/reference.ts";
import { AirGapError } from "./air-gap-error.ts";
import type { TarMember } from "./tar-reader.ts";
import { readTar } from "./tar-reader.ts";

/** The files of an image layout, in an archive or in a folder. Paths are `index.json`, `blobs/…`. */
export interface LayoutSource extends AsyncDisposable {
  /** As the user named it. */
  readonly name: string;
  /** In bytes; undefined when there is no such file. */
  sizeOf(path: string): Promise<number | undefined>;
  /** A chunk belongs to its reader only until it asks for the next one. */
  read(path: string, offset?: number): AsyncIterable<Buffer>;
}

/** @throws AirGapError, or what the system says of the file. */
export async function openLayoutSource(name: string): Promise<LayoutSource> {
  if ((await stat(name)).isDirectory()) {
    return new FolderSource(name);
  }
  const file = await open(name, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) {
      throw new AirGapError("it is neither a file nor a folder: write what comes there to a file");
    }
    return new TarSource(name, file, await readTar(file));
  } catch (error) {
    await file.close();
    if (error instanceof AirGapError) {
      throw new AirGapError(`${name}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/** @throws AirGapError when it is missing, or larger than `bytesMax`. */
export async function readSmall(
  source: LayoutSource,
  path: string,
  bytesMax: number,
): Promise<Buffer> {
  const sizeBytes = await source.sizeOf(path);
  if (sizeBytes === undefined) {
    throw new AirGapError(`${source.name}: it has no ${path}, so it is no OCI image layout`);
  }
  if (sizeBytes > bytesMax) {
    throw new AirGapError(`${source.name}: its ${path} is larger than ${bytesMax} bytes`);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of source.read(path)) {
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

class TarSource implements LayoutSource {
  readonly name: string;
  readonly #file: FileHandle;
  readonly #members: ReadonlyMap<string, TarMember>;

  constructor(name: string, file: FileHandle, members: ReadonlyMap<string, TarMember>) {
    this.name = name;
    this.#file = file;
    this.#members = members;
  }

  async sizeOf(path: string): Promise<number | undefined> {
    return this.#members.get(path)?.sizeBytes;
  }

  async *read(path: string, offset = 0): AsyncGenerator<Buffer> {
    const member = this.#members.get(path);
    if (member === undefined) {
      throw gone(this.name, path);
    }
    const end = member.offset + member.sizeBytes;
    yield* readBetween(this.#file, member.offset + offset, end, () => gone(this.name, path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/** Its paths are ours, so they cannot lead out; links and devices in it are as good as nothing. */
class FolderSource implements LayoutSource {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  async sizeOf(path: string): Promise<number | undefined> {
    await using file = await this.#open(path);
    return file && (await file.stat()).size;
  }

  async *read(path: string, offset = 0): AsyncGenerator<Buffer> {
    await using file = await this.#open(path);
    if (file === undefined) {
      throw gone(this.name, path);
    }
    const { size } = await file.stat();
    yield* readBetween(file, offset, size, () => gone(this.name, path));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #open(path: string): Promise<FileHandle | undefined> {
    const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
    try {
      const file = await open(join(this.name, path), O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
      if ((await file.stat()).isFile()) {
        return file;
      }
      await file.close();
      return;
    } catch (error) {
      const code = error instanceof Error ? Reflect.get(error, "code") : undefined;
      if (code === "ENOENT" || code === "ELOOP" || code === "ENOTDIR" || code === "ENXIO") {
        return;
      }
      throw error;
    }
  }
}

async function* readBetween(
  file: FileHandle,
  first: number,
  end: number,
  shorter: () => Error,
): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(AIR_GAP_LIMITS.readBytes, end - first)));
  let at = first;
  while (at < end) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.byteLength, end - at), at);
    if (bytesRead === 0) {
      throw shorter();
    }
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

function gone(name: string, path: string): AirGapError {
  return new AirGapError(`${name}: ${shown(path)} changed while it was read`);
}
