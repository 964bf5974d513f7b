import { join } from "node:path";
import type { Disk } from "../storage/disk.ts";
import { openDisk } from "../storage/disk.ts";
import type { S3 } from "../storage/s3-bucket.ts";
import type { StoreEvents } from "../storage/store-events.ts";
import { BUCKET_LIMITS } from "./limits.ts";
import type { Metrics } from "./metrics.ts";
import type { Readiness } from "./readiness.ts";
import type { StorageSettings } from "./settings.ts";

export interface StoresContext {
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  readonly log: { warn(details: object, message: string): void };
}

/** Where bytes are kept: the disk, and the bucket behind it when there is one. */
export class Stores implements AsyncDisposable {
  readonly disk: Disk;
  readonly bucket: S3 | undefined;
  readonly #sweeping: readonly NodeJS.Timeout[] = [];

  /** @throws StorageError `store-unavailable` when another process holds the folder. */
  static async open(settings: StorageSettings, context: StoresContext): Promise<Stores> {
    const { metrics } = context;
    const { disk: place, verifyReads } = settings;
    const disk = await openDisk({ ...place, verifyReads, events: eventsOf("disk", context) });
    metrics.watchStore("disk", () => disk.usage());
    try {
      return new Stores(disk, await openBucket(settings, eventsOf("s3", context)), context);
    } catch (error) {
      await disk[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(disk: Disk, bucket: S3 | undefined, { log }: StoresContext) {
    this.disk = disk;
    this.bucket = bucket;
    if (bucket !== undefined) {
      const sweep = (): void => {
        bucket.sweep().catch((error: unknown) => {
          log.warn({ err: error }, "uploads that were left in the bucket could not be swept");
        });
      };
      // Early as well: some are started anew each day.
      this.#sweeping = [
        setTimeout(sweep, BUCKET_LIMITS.firstSweepMs).unref(),
        setInterval(sweep, BUCKET_LIMITS.sweepMs).unref(),
      ];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#sweeping) {
      clearTimeout(timer);
    }
    await this.bucket?.[Symbol.asyncDispose]();
    await this.disk[Symbol.asyncDispose]();
  }
}

/** The SDK is loaded for those alone who have a bucket. */
export async function openBucket(
  { s3, disk }: StorageSettings,
  events: StoreEvents,
): Promise<S3 | undefined> {
  if (s3 === undefined) {
    return;
  }
  const { openS3 } = await import("../storage/s3-bucket.ts");
  return openS3({ ...s3, spoolFolder: join(disk.path, "spool"), events });
}

function eventsOf(store: "disk" | "s3", { metrics, readiness, log }: StoresContext): StoreEvents {
  return {
    evicted: () => metrics.evicted(store),
    corruption: () => metrics.corruption(store),
    failed: (operation, reason, cause) => {
      metrics.storeError(store, operation, reason);
      readiness.storeFailed(cause);
      log.warn({ err: cause, store, operation }, "the store failed");
    },
  };
}
