import { join } from "node:path";
import type { Test } from "tap";
import type { S3, S3Options } from "../../storage/s3-bucket.ts";
import { openS3 } from "../../storage/s3-bucket.ts";
import type { StoreEvents } from "../../storage/store-events.ts";
import { S3_KEYS } from "./versitygw.ts";

export interface CountedEvents {
  readonly events: StoreEvents;
  corrupted: number;
  /** `operation reason`, in the order in which they came. */
  readonly failures: string[];
}

export function countEvents(): CountedEvents {
  const counted: CountedEvents = {
    corrupted: 0,
    failures: [],
    events: {
      evicted: () => undefined,
      corruption: () => {
        counted.corrupted += 1;
      },
      failed: (operation, reason) => counted.failures.push(`${operation} ${reason}`),
    },
  };
  return counted;
}

/** What is opened with it finds its keys as a process does: in the environment. */
export function useS3Keys(): void {
  for (const name of Object.keys(process.env)) {
    if (name.startsWith("AWS_")) {
      delete process.env[name];
    }
  }
  Object.assign(process.env, S3_KEYS);
}

export interface Bucket {
  readonly s3: S3;
  readonly counted: CountedEvents;
}

/** Closed with the test. */
export function bucketAt(
  t: Test,
  at: Pick<S3Options, "bucket" | "endpoint"> & Partial<S3Options>,
): Bucket {
  const counted = countEvents();
  const s3 = openS3({
    prefix: "cache/",
    forcePathStyle: true,
    spoolFolder: join(t.testdirName, "spool"),
    events: counted.events,
    ...at,
  });
  t.teardown(() => s3[Symbol.asyncDispose]());
  return { s3, counted };
}
