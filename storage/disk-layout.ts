import { join } from "node:path";
import type { Digest } from "./digest.ts";
import { algorithmOf, hexOf, isDigest } from "./digest.ts";

/** The version of everything below it. Other versions beside it are left alone. */
const VERSION = "v1";

/**
 * Where things lie under the data folder:
 *
 *     v1/blobs/sha256/ab/abcd…   committed, named by digest
 *     v1/ingest/…                being written; removed at the next start
 *     v1/quarantine/…            found to differ from their name; kept for a look, newest only
 *     v1/metadata.sqlite         names and access times; rebuilt from the blobs when lost
 *     v1/lock.sqlite             held by the process that uses the folder
 */
export class DiskLayout {
  readonly root: string;

  constructor(dataPath: string) {
    this.root = join(dataPath, VERSION);
  }

  get ingestFolder(): string {
    return join(this.root, "ingest");
  }

  get quarantineFolder(): string {
    return join(this.root, "quarantine");
  }

  get blobsFolder(): string {
    return join(this.root, "blobs");
  }

  get databaseFile(): string {
    return join(this.root, "metadata.sqlite");
  }

  get lockFile(): string {
    return join(this.root, "lock.sqlite");
  }

  blobFolder(digest: Digest): string {
    return join(this.blobsFolder, algorithmOf(digest), hexOf(digest).slice(0, 2));
  }

  blobFile(digest: Digest): string {
    return join(this.blobFolder(digest), hexOf(digest));
  }

  quarantineFile(digest: Digest): string {
    return join(this.quarantineFolder, `${algorithmOf(digest)}-${hexOf(digest)}`);
  }

  /** The digest that a file in a blob folder is named after; undefined for anything else. */
  digestOfFile(algorithm: string, name: string): Digest | undefined {
    const digest = `${algorithm}:${name}`;
    return isDigest(digest) ? digest : undefined;
  }
}
