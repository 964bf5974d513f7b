import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { ProxyAccess } from "./hosts-file.ts";
import { DEFAULT_FOLDER, folderOf, HOSTS_FILE, isOurs, renderHostsFile } from "./hosts-file.ts";

export interface WrittenHosts {
  readonly written: readonly string[];
  /** What was there already, to the byte. */
  readonly unchanged: readonly string[];
  /** Files of somebody else, left alone. */
  readonly foreign: readonly string[];
}

/** Secrets stand in headers: then only root, as whom containerd runs, may read the file. */
const MODE_OPEN = 0o644;
const MODE_SECRET = 0o600;

/**
 * Writes `_default`, a folder for each registry, and the same file into every folder that is there:
 * containerd looks no further than the first that it finds.
 */
export function writeHosts(options: {
  readonly folder: string;
  readonly registries: readonly string[];
  readonly proxy: ProxyAccess;
  readonly force: boolean;
}): WrittenHosts {
  const { folder, registries, proxy, force } = options;
  mkdirSync(folder, { recursive: true });
  const names = new Set([DEFAULT_FOLDER, ...registries.map(folderOf), ...subfolders(folder)]);
  const text = renderHostsFile(proxy);
  const mode = proxy.headers.length > 0 ? MODE_SECRET : MODE_OPEN;
  const written: string[] = [];
  const unchanged: string[] = [];
  const foreign: string[] = [];
  for (const name of [...names].sort()) {
    const file = join(folder, name, HOSTS_FILE);
    const before = readIfThere(file);
    if (before === text && (statSync(file).mode & 0o777) === mode) {
      unchanged.push(file);
    } else if (before !== undefined && !isOurs(before) && !force) {
      foreign.push(file);
    } else {
      mkdirSync(join(folder, name), { recursive: true });
      replaceFile(file, text, mode);
      written.push(file);
    }
  }
  return { written, unchanged, foreign };
}

/** The folders in a certs.d folder, through symbolic links as containerd sees them. */
export function subfolders(folder: string): string[] {
  return readdirSync(folder).filter((name) =>
    statSync(join(folder, name), { throwIfNoEntry: false })?.isDirectory(),
  );
}

/** containerd reads the file at every pull: it must never meet half of one, which opens a way round. */
function replaceFile(file: string, text: string, mode: number): void {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text, { mode, flush: true });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return undefined;
    }
    throw error;
  }
}
