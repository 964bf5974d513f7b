import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { Upkeep } from "../../server/upkeep.ts";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";
import { storeBytes } from "../storage/store-contract.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { fetchBytes } from "../support/requests.ts";
import { SluiceProcess } from "../support/sluice-process.ts";

const DAY_MS = 86_400_000;
const NOTHING = (): void => undefined;

async function openStore(t: Test, path: string, now?: () => number): Promise<Disk> {
  const events = { evicted: NOTHING, corruption: NOTHING, failed: NOTHING };
  const options = { path, maxBytes: 1e9, verifyReads: "first" as const, events };
  const disk = await openDisk({ ...options, ...(now !== undefined && { now }) });
  t.teardown(() => disk[Symbol.asyncDispose]());
  return disk;
}

async function fill(disk: Disk, repository: string, count: number): Promise<readonly Digest[]> {
  const digests: Digest[] = [];
  for (const bytes of Array.from({ length: count }, () => randomBytes(2000))) {
    const digest = digestOf(bytes);
    await storeBytes(disk.blobs, digest, bytes);
    await disk.metadata.putContents(repository, [
      { digest, sizeBytes: bytes.byteLength, mediaType: undefined },
    ]);
    digests.push(digest);
  }
  return digests;
}

t.test("retention follows the configuration, counts what goes, and tells the memory", async (t) => {
  let nowMs = 1e12;
  const disk = await openStore(t, t.testdir(), () => nowMs);
  await fill(disk, "team.example/dev/a", 3);
  await fill(disk, "team.example/prod/a", 3);
  let evicted = 0;
  const forgotten: string[] = [];
  let days = 30;
  await using upkeep = new Upkeep({
    disk,
    retention: () => [{ match: ["team.example/dev/**"], unusedDays: days }],
    forget: async (repositories) => {
      forgotten.push(...repositories);
    },
    onEvicted: () => {
      evicted += 1;
    },
    log: { info: NOTHING, error: (details) => t.fail(JSON.stringify(details)) },
  });
  nowMs += 20 * DAY_MS;
  t.match(await upkeep.expire(), { blobs: 0 });
  t.same([evicted, forgotten], [0, []]);
  days = 14; // a reload
  const [report, same] = await Promise.all([upkeep.expire(), upkeep.expire()]);
  t.match(report, { repositories: 1, blobs: 3, freedBytes: 6000 });
  t.equal(same, report, "one at a time");
  t.same([evicted, forgotten], [3, ["team.example/dev/a"]]);
  t.equal(disk.usage().blobs, 3);
});

t.test("what stands behind the disk forgets a blob as well", async (t) => {
  const disk = await openStore(t, t.testdir());
  const digests = await fill(disk, "team.example/a", 2);
  const behind = await openStore(t, join(t.testdir({ behind: {} }), "behind"));
  await fill(behind, "team.example/other", 1);
  await using upkeep = new Upkeep({
    disk,
    behind: [behind.blobs],
    retention: () => [],
    forget: () => Promise.resolve(),
    onEvicted: NOTHING,
    log: { info: NOTHING, error: NOTHING },
  });
  const [first = digests[0]] = digests;
  const bytes = Buffer.from("held by the bucket alone");
  const evictedHere = digestOf(bytes);
  await storeBytes(behind.blobs, evictedHere, bytes);
  await disk.metadata.putContents("team.example/a", [
    { digest: evictedHere, sizeBytes: undefined, mediaType: undefined },
  ]);
  t.match(await upkeep.purge({ matches: () => true }, false), { blobs: 3 });
  t.equal(await behind.blobs.stat(evictedHere), undefined);
  t.equal(first && (await disk.blobs.stat(first)), undefined);
  t.equal(behind.usage().blobs, 1, "and nothing else");
});

t.test(
  "killed in the middle of a purge, the store is sound and the rest can be purged",
  async (t) => {
    const upstream = await startFakeUpstream();
    t.teardown(() => upstream.close());
    const kept = randomBytes(100_000);
    const layer = upstream.addBlob("app", kept);
    const folder = t.testdir();
    const disk = await openStore(t, join(folder, "data"));
    await fill(disk, "team.example/junk", 600);
    await disk[Symbol.asyncDispose]();
    const config = { upstreams: { "team.example": { url: upstream.url } } };
    const purge = (admin: string): Promise<Response> =>
      fetch(`${admin}/api/v1/purge`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ image: "team.example/junk" }),
      });

    const first = await SluiceProcess.start({ config, folder });
    const path = `/v2/team.example/app/blobs/${layer}`;
    t.ok(kept.equals(await fetchBytes(first.registry + path)));
    while ((await first.metric("sluice_cache_blobs")) !== 601) {
      // Until it is committed and all are found; each look is a request of its own.
    }
    const cut = purge(first.admin).catch(() => undefined);
    while ((await first.metric("sluice_cache_blobs")) > 590) {
      // Until some are gone.
    }
    await first.kill();
    await cut;

    await using second = await SluiceProcess.start({ config, folder });
    t.ok(kept.equals(await fetchBytes(second.registry + path)));
    t.equal(upstream.getsOf(layer), 1, "what was not purged is still there");
    const answer = await purge(second.admin);
    t.equal(answer.status, 200);
    while ((await second.metric("sluice_cache_blobs")) !== 1) {
      // Rows whose files had gone are mended in the background.
    }
    await second.stop();
    const after = await openStore(t, join(folder, "data"));
    t.match(await after.scrubber.run({ bytesPerSecond: 1e9 }), {
      blobs: 1,
      damaged: 0,
      missing: 0,
    });
  },
);
