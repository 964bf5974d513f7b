import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import { digestOf, hexOf } from "../../storage/digest.ts";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";
import { readAll, storeBytes } from "./store-contract.ts";

const FAST = 10_000_000_000;

interface Held {
  readonly disk: Disk;
  readonly path: string;
  readonly digests: readonly Digest[];
  corrupted: number;
}

async function hold(t: Test, blobs: readonly Buffer[]): Promise<Held> {
  const path = t.testdir();
  const events = {
    evicted: () => undefined,
    corruption: () => {
      held.corrupted += 1;
    },
    failed: () => undefined,
  };
  const disk = await openDisk({ path, maxBytes: 1e9, verifyReads: "never", events });
  t.teardown(() => disk[Symbol.asyncDispose]());
  for (const bytes of blobs) {
    await storeBytes(disk.blobs, digestOf(bytes), bytes);
  }
  const held: Held = { disk, path, digests: blobs.map((one) => digestOf(one)), corrupted: 0 };
  return held;
}

function fileOf(path: string, digest: Digest | undefined): string {
  const hex = hexOf(digest as Digest);
  return join(path, "v1", "blobs", "sha256", hex.slice(0, 2), hex);
}

function flip(file: string): void {
  const bytes = readFileSync(file);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

t.test("what differs from its name is found, and the next pull fetches it", async (t) => {
  const blobs = [700_000, 0, 1, 1000, 300_000].map((size) => randomBytes(size));
  const held = await hold(t, blobs);
  const { disk, path, digests } = held;
  flip(fileOf(path, digests[0]));
  writeFileSync(fileOf(path, digests[3]), "short");
  rmSync(fileOf(path, digests[4]));
  const look = { bytesPerSecond: FAST };

  const planned = await disk.scrubber.run({ ...look, isDryRun: true });
  t.match(planned, { blobs: 5, damaged: 2, missing: 1, failed: 0, freedBytes: 701_000 });
  t.equal(held.corrupted, 0, "a dry run touches nothing");
  const steps: number[] = [];
  const report = await disk.scrubber.run({ ...look, onProgress: (r) => steps.push(r.blobs) });
  t.same(report, { ...planned, totalBlobs: 5 });
  t.same(new Set(report.damagedDigests), new Set([digests[0], digests[3]]));
  t.same(steps, [1, 2, 3, 4, 5]);
  t.equal(held.corrupted, 2);
  t.equal(readdirSync(join(path, "v1", "quarantine")).length, 1, "the newest, for a look");
  t.match(disk.usage(), { blobs: 2, bytes: 1 });

  const [first = Buffer.alloc(0)] = blobs;
  await storeBytes(disk.blobs, digestOf(first), first);
  t.ok(first.equals((await readAll(disk.blobs, digestOf(first))) ?? Buffer.alloc(0)));
  t.match(await disk.scrubber.run(look), { blobs: 3, damaged: 0, missing: 0 });
});

t.test("a scrub ends when it is told to, with what it saw so far", async (t) => {
  const { disk } = await hold(t, [randomBytes(1_000_000), randomBytes(1_000_001)]);
  const stop = new AbortController();
  // At this rate the rest would take weeks.
  const running = disk.scrubber.run({ bytesPerSecond: 1, signal: stop.signal });
  stop.abort();
  t.match(await running, { damaged: 0, totalBlobs: 2 });
  t.equal(disk.usage().blobs, 2);
});
