import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

const BLOCK_BYTES = 512;
const NAME_BYTES_MAX = 100;
const PREFIX_BYTES_MAX = 155;

/** One entry of an archive: a file when it has bytes, a link when it has a target, else a folder. */
export interface TarEntry {
  readonly path: string;
  readonly mode: number;
  readonly bytes?: Uint8Array;
  readonly target?: string;
}

/**
 * A POSIX (ustar) archive. Owners and times are fixed, so that the same entries give the same
 * bytes, and thus the same digests, on every machine.
 */
export function tarOf(entries: Iterable<TarEntry>): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    parts.push(header(entry));
    if (entry.bytes) {
      parts.push(entry.bytes, Buffer.alloc(padding(entry.bytes.byteLength)));
    }
  }
  parts.push(Buffer.alloc(2 * BLOCK_BYTES));
  return Buffer.concat(parts);
}

/** Every entry below `path` (itself included), named relative to `root`, in the order of names. */
export async function entriesBelow(root: string, path: string): Promise<TarEntry[]> {
  const full = join(root, path);
  const stat = await lstat(full);
  const mode = stat.mode & 0o7777;
  if (stat.isSymbolicLink()) {
    return [{ path, mode: 0o777, target: await readlink(full) }];
  }
  if (stat.isFile()) {
    return fits(path) ? [{ path, mode, bytes: await readFile(full) }] : [];
  }
  if (!stat.isDirectory()) {
    return []; // devices and sockets are nothing that an image of ours needs
  }
  const entries: TarEntry[] = [{ path: `${path}/`, mode }];
  for (const name of (await readdir(full)).sort()) {
    entries.push(...(await entriesBelow(root, `${path}/${name}`)));
  }
  return entries;
}

function header(entry: TarEntry): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const [prefix, name] = split(entry.path);
  const size = entry.bytes?.byteLength ?? 0;
  block.write(name, 0, "latin1");
  block.write(octal(entry.mode, 7), 100, "latin1");
  block.write(octal(0, 7), 108, "latin1");
  block.write(octal(0, 7), 116, "latin1");
  block.write(octal(size, 11), 124, "latin1");
  block.write(octal(0, 11), 136, "latin1");
  block.write("        ", 148, "latin1"); // the checksum is taken over blanks
  block.write(typeOf(entry), 156, "latin1");
  block.write(entry.target ?? "", 157, "latin1");
  block.write("ustar\u000000", 257, "latin1");
  block.write(prefix, 345, "latin1");
  let sum = 0;
  for (const byte of block) {
    sum += byte;
  }
  block.write(`${octal(sum, 6)} `, 148, "latin1");
  return block;
}

function typeOf(entry: TarEntry): string {
  if (entry.target !== undefined) {
    return "2";
  }
  return entry.bytes ? "0" : "5";
}

function fits(path: string): boolean {
  const [prefix, name] = split(path);
  const plain = /^[\x20-\x7e]+$/.test(path);
  return plain && name.length <= NAME_BYTES_MAX && prefix.length <= PREFIX_BYTES_MAX;
}

/** ustar holds a long path as two parts around a slash. */
function split(path: string): [prefix: string, name: string] {
  if (path.length <= NAME_BYTES_MAX) {
    return ["", path];
  }
  const cut = path.indexOf("/", path.length - NAME_BYTES_MAX - 1);
  return [path.slice(0, cut), path.slice(cut + 1)];
}

function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, "0")}\0`;
}

function padding(bytes: number): number {
  return (BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES;
}
