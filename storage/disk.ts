import { BLOB_INDEX_SCHEMA, BlobIndex } from "./blob-index.ts";
import type { BlobStore } from "./blob-store.ts";
import { Database } from "./database.ts";
import { DiskBudget } from "./disk-budget.ts";
import { DiskLayout } from "./disk-layout.ts";
import { listFolder, removeLeftovers, scanDisk } from "./disk-scan.ts";
import { DiskStore } from "./disk-store.ts";
import type { EvidenceStore } from "./evidence-store.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { Purger } from "./purge.ts";
import { RETENTION_CLOCK_SCHEMA, RetentionClock } from "./retention-clock.ts";
import { NameUses } from "./retention-uses.ts";
import { Scrubber } from "./scrub.ts";
import { EVIDENCE_SCHEMA, SqliteEvidence } from "./sqlite-evidence.ts";
import { METADATA_SCHEMA, SqliteMetadata } from "./sqlite-metadata.ts";
import type { StoreEvents } from "./store-events.ts";
import { reasonOf } from "./store-events.ts";
import { lockStore } from "./store-lock.ts";

const SCHEMA = BLOB_INDEX_SCHEMA + METADATA_SCHEMA + EVIDENCE_SCHEMA + RETENTION_CLOCK_SCHEMA;
const EVIDENCE_BYTES_MAX = 268_435_456;
/** Uses and limits are looked after this often, in milliseconds. */
const UPKEEP_MS = 1000;
/** Uses of names count in days: they are written this seldom, in milliseconds. */
const NAME_USES_MS = 60_000;

export interface DiskOptions {
  readonly path: string;
  readonly maxBytes: number;
  readonly verifyReads: "first" | "always" | "never";
  /** What verdicts are made of is kept up to this size, beside maxBytes. */
  readonly evidenceBytesMax?: number;
  readonly events: StoreEvents;
  readonly now?: () => number;
  /** Milliseconds that never jump; those of `now` where a test sets it. */
  readonly elapsed?: () => number;
}

/** A folder with all that belongs to it: blobs, names, and the byte limit. */
export interface Disk extends AsyncDisposable {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly evidence: EvidenceStore;
  /** Told of each use of a tag, or of a digest of a repository. */
  readonly uses: Pick<NameUses, "used">;
  readonly purger: Purger;
  readonly scrubber: Scrubber;
  /** A new limit; what is too much is evicted within a second. */
  limit(maxBytes: number): void;
  /** What is held, as far as the index knows. */
  usage(): { readonly bytes: number; readonly blobs: number };
}

/**
 * Opens in the time that sqlite takes; what has to be looked through is looked through afterwards.
 *
 * @throws StorageError `store-unavailable` when another process holds the folder.
 */
export async function openDisk(options: DiskOptions): Promise<Disk> {
  const { events, now = Date.now, elapsed = options.now ?? (() => performance.now()) } = options;
  const layout = new DiskLayout(options.path);
  const lock = lockStore(layout.lockFile);
  const leftovers = await listFolder(layout.ingestFolder).catch(() => []);
  const database = new Database(layout.databaseFile, SCHEMA, events);
  const index = new BlobIndex(database);
  const budget = new DiskBudget(options.maxBytes, { layout, index, events });
  const { verifyReads } = options;
  const blobs = new DiskStore({ layout, index, budget, events, verifyReads, now });

  const stop = new AbortController();
  let scanned = removeLeftovers(layout.ingestFolder, leftovers).catch((error: unknown) =>
    events.failed("scan", reasonOf(error), error),
  );
  // A database that had to be made anew while we run knows nothing of what lies on the disk.
  database.whenOpen(() => {
    scanned = scanned
      .then(() => scanDisk(layout, index, { events, now, signal: stop.signal }))
      .catch((error: unknown) => events.failed("scan", reasonOf(error), error));
  });
  const upkeep = setInterval(() => {
    database.checkFile();
    index.flush();
    blobs.tidy().catch((error: unknown) => events.failed("delete", reasonOf(error), error));
    budget.enforce().catch((error: unknown) => events.failed("evict", reasonOf(error), error));
  }, UPKEEP_MS);
  upkeep.unref();
  const metadata = new SqliteMetadata(database, now);
  const uses = new NameUses(database);
  const nameUses = setInterval(() => {
    uses.flushSlowly().catch((error: unknown) => events.failed("metadata", "unknown", error));
  }, NAME_USES_MS);
  nameUses.unref();
  const clock = new RetentionClock(database, now, elapsed);
  const isPinned = budget.isPinned.bind(budget);
  const quarantine = blobs.quarantine.bind(blobs);

  let isOpen = true;
  return {
    blobs,
    metadata,
    evidence: new SqliteEvidence(database, options.evidenceBytesMax ?? EVIDENCE_BYTES_MAX),
    uses,
    purger: new Purger({ database, index, uses, store: blobs, isPinned, clock }),
    scrubber: new Scrubber({ index, layout, events, quarantine }),
    limit: (maxBytes) => {
      budget.maxBytes = maxBytes;
    },
    usage: () => ({ bytes: index.bytes, blobs: index.count }),
    [Symbol.asyncDispose]: async () => {
      if (!isOpen) {
        return;
      }
      isOpen = false;
      clearInterval(upkeep);
      clearInterval(nameUses);
      stop.abort();
      await scanned;
      index.flush();
      uses.flush();
      database[Symbol.dispose]();
      lock?.[Symbol.dispose]();
    },
  };
}
