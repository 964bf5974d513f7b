import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { BlobIndex } from "./blob-index.ts";
import { isErrno } from "./disk-errors.ts";
import type { DiskLayout } from "./disk-layout.ts";
import type { StoreEvents } from "./store-events.ts";
import { reasonOf } from "./store-events.ts";

const ALGORITHMS = ["sha256", "sha512"] as const;

/**
 * Brings the index in line with the folders, in the background after a start: files that it does
 * not know (it was lost, or the process died between a commit and its row), and rows whose file is
 * gone. One folder at a time; a file that is known costs no look.
 */
export async function scanDisk(
  layout: DiskLayout,
  index: BlobIndex,
  options: {
    readonly events: StoreEvents;
    readonly now: () => number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const startedMs = options.now();
  // Of files: their times are the wall clock's. What is newer was committed by us, row and all.
  const startedWallMs = Date.now();
  for (const algorithm of ALGORITHMS) {
    for (let first = 0; first < 256 && !options.signal.aborted; first += 1) {
      const prefix = first.toString(16).padStart(2, "0");
      try {
        await scanFolder(layout, index, { algorithm, prefix, startedMs, startedWallMs });
      } catch (error) {
        options.events.failed("scan", reasonOf(error), error);
        return;
      }
    }
  }
}

/** What an earlier process left half written. Its own name for each start keeps ours out of it. */
export async function removeLeftovers(folder: string, before: readonly string[]): Promise<void> {
  for (const name of before) {
    await rm(join(folder, name), { force: true, recursive: true });
  }
}

export async function listFolder(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) {
      return [];
    }
    throw error;
  }
}

async function scanFolder(
  layout: DiskLayout,
  index: BlobIndex,
  at: {
    readonly algorithm: string;
    readonly prefix: string;
    readonly startedMs: number;
    readonly startedWallMs: number;
  },
): Promise<void> {
  const folder = join(layout.blobsFolder, at.algorithm, at.prefix);
  const onDisk = new Set<string>();
  for (const name of await listFolder(folder)) {
    const digest = layout.digestOfFile(at.algorithm, name);
    if (digest === undefined) {
      continue;
    }
    onDisk.add(digest);
  }
  const first = `${at.algorithm}:${at.prefix}`;
  // "g" sorts after every hex digit, so this ends the range of the prefix.
  const known = new Set<string>(index.between(first, `${first}g`, Number.MAX_SAFE_INTEGER));
  for (const digest of index.between(first, `${first}g`, at.startedMs)) {
    if (!onDisk.has(digest)) {
      index.remove(digest);
    }
  }
  for (const text of onDisk) {
    if (!known.has(text)) {
      const digest = layout.digestOfFile(at.algorithm, text.slice(at.algorithm.length + 1));
      const found = await stat(join(folder, text.slice(at.algorithm.length + 1))).catch(
        () => undefined,
      );
      if (digest !== undefined && found?.isFile() === true && found.mtimeMs < at.startedWallMs) {
        index.add(digest, found.size, Math.round(found.mtimeMs));
      }
    }
  }
}
