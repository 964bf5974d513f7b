import type { Test } from "tap";
import t from "tap";
import { purgeRun } from "../../server/upkeep.ts";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";
import type { RetentionRule } from "../../storage/retention.ts";
import { storeBytes } from "./store-contract.ts";

const DAY_MS = 86_400_000;
const START_MS = 1_700_000_000_000;
const REPOSITORY = "r/a";
const EVERYTHING = { matches: () => true, isNamed: () => true };

interface Clock {
  nowMs: number;
  elapsedMs: number;
}

function open(t: Test, clock: Clock, path: string = t.testdir()): Promise<Disk> {
  const events = {
    evicted: () => undefined,
    corruption: () => undefined,
    failed: (operation: string, reason: string) => t.fail(`${operation} ${reason}`),
  };
  return openDisk({
    path,
    maxBytes: 1e9,
    verifyReads: "first",
    now: () => clock.nowMs,
    elapsed: () => clock.elapsedMs,
    events,
  });
}

/** A manifest under a tag, as a pull leaves it. */
async function addTagged(disk: Disk, tag: string, atMs: number): Promise<Digest> {
  const bytes = Buffer.from(JSON.stringify({ note: tag, layers: [] }));
  const digest = digestOf(bytes);
  await storeBytes(disk.blobs, digest, bytes);
  const record = { digest, sizeBytes: bytes.byteLength, mediaType: "application/m" };
  await disk.metadata.putContents(REPOSITORY, [record]);
  await disk.metadata.putTag(REPOSITORY, tag, { digest, checkedAtMs: atMs });
  return digest;
}

function signatureTag(digest: Digest): string {
  return `${digest.replace(":", "-")}.sig`;
}

async function expire(disk: Disk, rule: Partial<RetentionRule>): Promise<number> {
  const { report } = await disk.purger.expire([{ ...EVERYTHING, ...rule }], purgeRun());
  return report.tags;
}

t.test("a signature is not counted among the tags that stay", async (t) => {
  const clock = { nowMs: START_MS, elapsedMs: 0 };
  await using disk = await open(t, clock);
  const old = await addTagged(disk, "v1", clock.nowMs);
  await addTagged(disk, signatureTag(old), clock.nowMs + 1);
  const image = await addTagged(disk, "v2", clock.nowMs + 2);
  await addTagged(disk, signatureTag(image), clock.nowMs + 3);
  t.equal(await expire(disk, { keepTags: 1 }), 2, "the older one, with its signature");
  t.ok(await disk.metadata.getTag(REPOSITORY, "v2"));
  t.ok(await disk.metadata.getTag(REPOSITORY, signatureTag(image)));
  t.notOk(await disk.metadata.getTag(REPOSITORY, signatureTag(old)));
});

t.test("a signature that nobody asked for stays as long as its image is used", async (t) => {
  const clock = { nowMs: START_MS, elapsedMs: 0 };
  await using disk = await open(t, clock);
  const image = await addTagged(disk, "v1", clock.nowMs);
  const signature = await addTagged(disk, signatureTag(image), clock.nowMs);
  clock.nowMs += 40 * DAY_MS;
  clock.elapsedMs += 40 * DAY_MS;
  disk.uses.used(REPOSITORY, "v1", clock.nowMs);
  disk.uses.used(REPOSITORY, image, clock.nowMs);
  t.equal(await expire(disk, { unusedMs: 30 * DAY_MS }), 0);
  t.ok(await disk.blobs.stat(signature));
  clock.nowMs += 40 * DAY_MS;
  clock.elapsedMs += 40 * DAY_MS;
  t.equal(await expire(disk, { unusedMs: 30 * DAY_MS }), 2, "and goes with it");
  t.notOk(await disk.blobs.stat(signature));
});

t.test("a clock that jumps ahead makes nothing old at once", async (t) => {
  const clock = { nowMs: START_MS, elapsedMs: 0 };
  await using disk = await open(t, clock);
  const image = await addTagged(disk, "v1", clock.nowMs);
  clock.nowMs += 3650 * DAY_MS;
  clock.elapsedMs += 60_000;
  t.equal(await expire(disk, { unusedMs: 30 * DAY_MS }), 0);
  t.ok(await disk.blobs.stat(image));
  clock.elapsedMs += 16 * DAY_MS;
  t.equal(await expire(disk, { unusedMs: 30 * DAY_MS }), 1, "it is believed in time");
});

t.test("weeks in which nothing ran are not held against what was held", async (t) => {
  const path = t.testdir();
  const clock = { nowMs: START_MS, elapsedMs: 0 };
  {
    await using disk = await open(t, clock, path);
    await addTagged(disk, "v1", clock.nowMs);
  }
  clock.nowMs += 60 * DAY_MS;
  clock.elapsedMs = 5;
  await using disk = await open(t, clock, path);
  clock.elapsedMs += 60_000;
  t.equal(await expire(disk, { unusedMs: 30 * DAY_MS }), 0);
});
