import { createCipheriv, createHash, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { constants, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { TarEntry } from "./tar.ts";
import { entriesBelow, tarOf } from "./tar.ts";

export type Compression = "gzip" | "zstd";

/** An archive, compressed, and the digest of what it was before: an image's configuration names it. */
export interface Layer {
  readonly diffId: string;
  readonly bytes: Uint8Array;
}

/** Raised when the layers change, so that nobody meets older ones in the cache. */
const CACHE_VERSION = "2";

/**
 * How the root file system is cut. The rest of it is thousands of small files. The largest layer
 * comes last: clients that unpack into plain folders copy all the layers below for each one.
 */
const CUTS: readonly (readonly string[])[] = [
  ["etc", "root", "usr/share/perl", "usr/share/bash-completion", "usr/share/common-licenses"],
  ["var/lib/dpkg/status", "var/lib/apt", "usr/share/terminfo"],
  ["bin", "lib", "lib64", "sbin", "usr/sbin", "usr/bin"],
  ["usr/lib"],
];

export function layerOf(entries: Iterable<TarEntry>, compression: Compression): Layer {
  const tar = tarOf(entries);
  return { diffId: digestOf(tar), bytes: compress(tar, compression) };
}

/**
 * The layers of the Debian root file system in the tools folder, kept there once compressed.
 * Without one, layers of the same kind with made-up files.
 */
export async function debianLayers(compression: Compression): Promise<readonly Layer[]> {
  const tools = process.env["SLUICE_TOOLS"] ?? join(homedir(), ".cache", "sluice-tools");
  const root = join(tools, "debian-rootfs");
  if (!existsSync(join(root, ".complete"))) {
    return CUTS.map((cut, at) => layerOf(madeUp(cut, at), compression));
  }
  const cache = join(tools, "test-layers", CACHE_VERSION);
  await mkdir(cache, { recursive: true });
  const layers: Layer[] = [];
  for (const [at, cut] of CUTS.entries()) {
    const file = join(cache, `${at}.${compression}`);
    layers.push(
      (await readCached(file, compression)) ?? (await build(root, cut, file, compression)),
    );
  }
  return layers;
}

async function build(
  root: string,
  cut: readonly string[],
  file: string,
  compression: Compression,
): Promise<Layer> {
  const entries: TarEntry[] = [];
  for (const path of cut.filter((path) => existsSync(join(root, path)))) {
    entries.push(...(await entriesBelow(root, path)));
  }
  const layer = layerOf(entries, compression);
  // Two test files may build at once: each renames a whole file into place.
  const temporary = `${file}.${randomUUID()}`;
  await writeFile(temporary, layer.bytes);
  await rename(temporary, file);
  return layer;
}

async function readCached(file: string, compression: Compression): Promise<Layer | undefined> {
  if (!existsSync(file)) {
    return undefined;
  }
  const bytes = await readFile(file);
  const tar = compression === "gzip" ? gunzipSync(bytes) : zstdDecompressSync(bytes);
  return { diffId: digestOf(tar), bytes };
}

function compress(tar: Uint8Array, compression: Compression): Uint8Array {
  return compression === "gzip"
    ? gzipSync(tar, { level: 1 })
    : zstdCompressSync(tar, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
}

/** Bytes that do not compress, the same on every machine. */
function madeUp(cut: readonly string[], at: number): TarEntry[] {
  const folders = cut.filter((path) => !path.includes("/"));
  const cipher = createCipheriv("aes-256-ctr", Buffer.alloc(32, at), Buffer.alloc(16));
  return [
    ...folders.map((path) => ({ path: `${path}/`, mode: 0o755 })),
    { path: `data-${at}.bin`, mode: 0o644, bytes: cipher.update(Buffer.alloc((at + 1) << 20)) },
  ];
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
