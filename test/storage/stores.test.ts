import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { appendFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import { digestOf, hexOf, parseDigest } from "../../storage/digest.ts";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";
import { MemoryStore } from "../../storage/memory-store.ts";
import { readAll, storeBytes, testStoreContract } from "./store-contract.ts";

interface Counted {
  evicted: number;
  corrupted: number;
  readonly failed: string[];
}

async function diskIn(
  t: Test,
  path: string,
  options: { maxBytes?: number; verifyReads?: "first" | "always" | "never" } = {},
): Promise<{ disk: Disk; counted: Counted }> {
  const counted: Counted = { evicted: 0, corrupted: 0, failed: [] };
  let clock = 1_000_000;
  const disk = await openDisk({
    path,
    maxBytes: options.maxBytes ?? 1e9,
    verifyReads: options.verifyReads ?? "first",
    now: () => {
      clock += 1;
      return clock;
    },
    events: {
      evicted: () => {
        counted.evicted += 1;
      },
      corruption: () => {
        counted.corrupted += 1;
      },
      failed: (operation, reason) => counted.failed.push(`${operation} ${reason}`),
    },
  });
  t.teardown(() => disk[Symbol.asyncDispose]());
  return { disk, counted };
}

function fileOf(path: string, digest: Digest): string {
  const hex = hexOf(digest);
  return join(path, "v1", "blobs", digest.split(":")[0] ?? "", hex.slice(0, 2), hex);
}

t.test("MemoryStore keeps the store contract", (t) => {
  testStoreContract(t, () => Promise.resolve(new MemoryStore()));
  t.end();
});

t.test("DiskStore keeps the store contract", (t) => {
  testStoreContract(t, async (t) => (await diskIn(t, t.testdir())).disk.blobs);
  t.end();
});

t.test("a digest has one spelling", (t) => {
  const hex = "a".repeat(64);
  t.equal(parseDigest(`sha256:${hex}`), `sha256:${hex}`);
  t.equal(parseDigest(`sha512:${hex}${hex}`), `sha512:${hex}${hex}`);
  for (const wrong of [
    `SHA256:${hex}`,
    `sha256:${hex.toUpperCase()}`,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}a`,
    `sha512:${hex}`,
    `sha1:${hex.slice(0, 40)}`,
    `md5:${hex.slice(0, 32)}`,
    `sha256+b64:${hex}`,
    `sha256:${hex}\n`,
    "",
  ]) {
    t.throws(() => parseDigest(wrong), { code: "digest-invalid", message: /expected sha256:/ });
  }
  t.end();
});

t.test("what was stored is there after a restart, names included", async (t) => {
  const path = t.testdir();
  const bytes = randomBytes(1000);
  const digest = digestOf(bytes);
  {
    const { disk } = await diskIn(t, path);
    await storeBytes(disk.blobs, digest, bytes);
    await disk.metadata.putTag("team.example/app", "v1", { digest, checkedAtMs: 5 });
    await disk[Symbol.asyncDispose]();
  }
  const { disk } = await diskIn(t, path);
  t.ok(bytes.equals((await readAll(disk.blobs, digest)) ?? Buffer.alloc(0)));
  t.same(await disk.metadata.getTag("team.example/app", "v1"), { digest, checkedAtMs: 5 });
  t.same(disk.usage(), { bytes: 1000, blobs: 1 });
});

t.test("a second process is refused, with the folder's name", async (t) => {
  const path = t.testdir();
  await diskIn(t, path);
  await t.rejects(diskIn(t, path), { message: /another process uses .*v1/ });
});

t.test("an index that is lost or damaged is rebuilt from the blobs", async (t) => {
  for (const damage of ["lost", "damaged"]) {
    await t.test(damage, async (t) => {
      const path = t.testdir();
      const bytes = randomBytes(500);
      const digest = digestOf(bytes);
      {
        const { disk } = await diskIn(t, path);
        await storeBytes(disk.blobs, digest, bytes);
        await disk[Symbol.asyncDispose]();
      }
      const file = join(path, "v1", "metadata.sqlite");
      rmSync(`${file}-wal`, { force: true });
      if (damage === "lost") {
        rmSync(file);
      } else {
        writeFileSync(file, randomBytes(8192));
      }
      const { disk } = await diskIn(t, path);
      t.ok(bytes.equals((await readAll(disk.blobs, digest)) ?? Buffer.alloc(0)));
      await disk[Symbol.asyncDispose](); // which waits for the scan
      const again = await diskIn(t, path);
      t.same(again.disk.usage(), { bytes: 500, blobs: 1 });
    });
  }
});

t.test("a file that is not what its name says is never served again", async (t) => {
  const bytes = randomBytes(100_000);
  const digest = digestOf(bytes);
  const damages: [string, (file: string) => Promise<void> | void][] = [
    ["truncated", (file) => truncate(file, 500)],
    ["empty", (file) => truncate(file, 0)],
    ["one byte longer", (file) => appendFile(file, "x")],
  ];
  for (const [name, damage] of damages) {
    await t.test(name, async (t) => {
      const path = t.testdir();
      const { disk, counted } = await diskIn(t, path);
      await storeBytes(disk.blobs, digest, bytes);
      await damage(fileOf(path, digest));
      t.equal(await disk.blobs.open(digest), undefined, "seen before a byte is sent");
      t.equal(counted.corrupted, 1);
      t.equal(await disk.blobs.stat(digest), undefined);
      await storeBytes(disk.blobs, digest, bytes);
      t.ok(bytes.equals((await readAll(disk.blobs, digest)) ?? Buffer.alloc(0)), "healed");
    });
  }
  await t.test("a flipped bit", async (t) => {
    const path = t.testdir();
    const { disk, counted } = await diskIn(t, path);
    await storeBytes(disk.blobs, digest, bytes);
    const flipped = readFileSync(fileOf(path, digest));
    flipped[99_999] = (flipped[99_999] ?? 0) ^ 1;
    writeFileSync(fileOf(path, digest), flipped);
    await t.rejects(readAll(disk.blobs, digest), { code: "content-mismatch" });
    t.equal(counted.corrupted, 1);
    t.equal(await disk.blobs.stat(digest), undefined);
    t.equal(readdirSync(join(path, "v1", "quarantine")).length, 1, "kept for a look");
  });
});

t.test("verifyReads says when a whole read is hashed", async (t) => {
  const bytes = randomBytes(10_000);
  const digest = digestOf(bytes);
  const flip = (path: string): void => {
    const flipped = readFileSync(fileOf(path, digest));
    flipped[0] = (flipped[0] ?? 0) ^ 1;
    writeFileSync(fileOf(path, digest), flipped);
  };
  for (const [verifyReads, isSeen] of [
    ["first", false],
    ["always", true],
    ["never", false],
  ] as const) {
    const path = t.testdir({ [verifyReads]: {} });
    const folder = join(path, verifyReads);
    const { disk } = await diskIn(t, folder, { verifyReads });
    await storeBytes(disk.blobs, digest, bytes);
    await readAll(disk.blobs, digest);
    flip(folder);
    const second = readAll(disk.blobs, digest);
    await (isSeen ? t.rejects(second, { code: "content-mismatch" }) : second);
    await disk[Symbol.asyncDispose]();
  }
});

t.test("the least recently used blobs make way, never one that is being read", async (t) => {
  const path = t.testdir();
  const { disk, counted } = await diskIn(t, path, { maxBytes: 10_000 });
  const blobs = Array.from({ length: 9 }, () => randomBytes(1000));
  const digests = blobs.map((bytes) => digestOf(bytes));
  for (const [at, bytes] of blobs.entries()) {
    await storeBytes(disk.blobs, digestOf(bytes), bytes);
    t.ok(at >= 0);
  }
  const [first, second, third] = digests;
  if (first === undefined || second === undefined || third === undefined) {
    throw new Error("nine blobs were made");
  }
  await readAll(disk.blobs, first); // used again: no longer the oldest
  await using pinned = await disk.blobs.open(second);
  const more = randomBytes(1000);
  await storeBytes(disk.blobs, digestOf(more), more);
  t.equal(counted.evicted, 2, "from over 90 % down to 80 %");
  t.ok(await disk.blobs.stat(first), "used");
  t.ok(await disk.blobs.stat(second), "being read");
  t.equal(await disk.blobs.stat(third), undefined, "the oldest of the others");
  t.ok(pinned !== undefined);
  t.equal(existsSync(fileOf(path, third)), false);
});

t.test(
  "a blob that is too large for the store is refused, and nothing is evicted for it",
  async (t) => {
    const { disk, counted } = await diskIn(t, t.testdir(), { maxBytes: 10_000 });
    const small = randomBytes(5000);
    await storeBytes(disk.blobs, digestOf(small), small);
    const large = digestOf(Buffer.from("large"));
    await t.rejects(disk.blobs.ingest(large, 9000), { code: "store-full" });
    t.equal(counted.evicted, 0);
  },
);

t.test("the folder may be deleted while it is in use", async (t) => {
  const path = t.testdir({ data: {} });
  const data = join(path, "data");
  const { disk } = await diskIn(t, data);
  const bytes = randomBytes(3000);
  const digest = digestOf(bytes);
  await storeBytes(disk.blobs, digest, bytes);
  rmSync(data, { recursive: true });
  t.equal(await disk.blobs.open(digest), undefined, "absent, not an error");
  await storeBytes(disk.blobs, digest, bytes);
  t.ok(bytes.equals((await readAll(disk.blobs, digest)) ?? Buffer.alloc(0)), "stored anew");
});

t.test("a folder that cannot be written is an error of the store that says why", async (t) => {
  const path = t.testdir({ data: "a file where the folder should be" });
  const { disk } = await diskIn(t, join(path, "data"));
  const digest = digestOf(Buffer.from("x"));
  t.equal(await disk.blobs.stat(digest), undefined);
  await t.rejects(disk.blobs.ingest(digest, 1), {
    code: "store-unavailable",
    message: /could not start writing sha256:.*ENOTDIR/,
  });
});

t.test("a tag that comes back to an earlier digest is a rollback", async (t) => {
  const { disk } = await diskIn(t, t.testdir());
  const [one, two] = [digestOf(Buffer.from("1")), digestOf(Buffer.from("2"))];
  const put = (digest: Digest): ReturnType<Disk["metadata"]["putTag"]> =>
    disk.metadata.putTag("r", "v", { digest, checkedAtMs: 1 });
  t.equal(await put(one), undefined);
  t.equal(await put(one), undefined);
  t.same(await put(two), { direction: "forward", from: one });
  t.same(await put(one), { direction: "rollback", from: two });
});
