import { createHash, randomUUID } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { POLICY_LIMITS } from "../../limits.ts";

/** The last trusted root that a refresh brought. */
export interface LastGood {
  /** A Sigstore TrustedRoot as JSON text, as the TUF repository has it. */
  readonly trustedRoot: string;
  /** SHA-256, hex, of the root that the program brought along when it was written. */
  readonly bundled: string;
}

const FILE_NAME = "trusted-root.json";

/**
 * @returns undefined when nothing was ever kept.
 * @throws Error when there is a file that is not what was written.
 */
export function readLastGood(folder: string): LastGood | undefined {
  const file = join(folder, FILE_NAME);
  // Escaped as a JSON string, a root takes more room than it has bytes: twice is plenty.
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined) {
    return undefined;
  }
  if (size > 2 * POLICY_LIMITS.trustBytesMax) {
    throw new Error(`${file} is too large: ${size} bytes`);
  }
  const kept = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown> | null;
  const trustedRoot = kept?.["trustedRoot"];
  const bundled = kept?.["bundled"];
  if (typeof trustedRoot !== "string" || typeof bundled !== "string") {
    throw new Error(`${file} lacks what was written to it`);
  }
  if (sha256Hex(trustedRoot) !== kept?.["sha256"]) {
    throw new Error(`${file} differs from what was written to it`);
  }
  return { trustedRoot, bundled };
}

/** Either the old file or the new one is there, whenever the power goes. */
export async function saveLastGood(folder: string, lastGood: LastGood): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, FILE_NAME);
  const temporary = `${file}.${randomUUID()}`;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      const { trustedRoot } = lastGood;
      await handle.writeFile(JSON.stringify({ ...lastGood, sha256: sha256Hex(trustedRoot) }));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncFolder(dirname(file));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

export function sha256Hex(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
