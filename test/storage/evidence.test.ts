import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";

const NAME = "team.example/app";

function digest(text: string): Digest {
  return digestOf(Buffer.from(text));
}

async function openIn(t: Test, path: string, evidenceBytesMax = 1e9): Promise<Disk> {
  const failed = (operation: string, reason: string): void => {
    t.comment(`${operation} ${reason}`);
  };
  const events = { evicted: () => undefined, corruption: () => undefined, failed };
  const limits = { maxBytes: 1e9, evidenceBytesMax, verifyReads: "first" } as const;
  return await openDisk({ path, ...limits, events });
}

t.test("evidence belongs to one repository and digest, and survives a restart", async (t) => {
  const path = t.testdir();
  const record = { bytes: Buffer.from("seen"), gatheredAtMs: 1_800_000_000_123 };
  {
    await using disk = await openIn(t, path);
    await disk.evidence.putEvidence(NAME, digest("a"), {
      bytes: Buffer.from("x"),
      gatheredAtMs: 1,
    });
    await disk.evidence.putEvidence(NAME, digest("a"), record);
  }
  await using disk = await openIn(t, path);
  const found = await disk.evidence.getEvidence(NAME, digest("a"));
  t.equal(Buffer.from(found?.bytes ?? []).toString(), "seen");
  t.equal(found?.gatheredAtMs, record.gatheredAtMs);
  t.equal(await disk.evidence.getEvidence("team.example/other", digest("a")), undefined);
  t.equal(await disk.evidence.getEvidence(NAME, digest("b")), undefined);
});

t.test("the oldest evidence goes when there is too much of it", async (t) => {
  await using disk = await openIn(t, t.testdir(), 400_000);
  const bytes = randomBytes(2000);
  for (let at = 0; at < 512; at += 1) {
    await disk.evidence.putEvidence(NAME, digest(String(at)), { bytes, gatheredAtMs: at });
  }
  t.equal(await disk.evidence.getEvidence(NAME, digest("0")), undefined);
  t.ok(await disk.evidence.getEvidence(NAME, digest("511")));
});

t.test("parents are told the latest first, until they are forgotten", async (t) => {
  const path = t.testdir();
  const [child, other] = [digest("child"), digest("other")];
  {
    await using disk = await openIn(t, path);
    for (const parent of ["one", "two", "three", "one"]) {
      await disk.evidence.putChildren(NAME, digest(parent), [child, other]);
    }
  }
  await using disk = await openIn(t, path);
  const { evidence } = disk;
  const parents = ["one", "three", "two"].map(digest);
  t.strictSame(await evidence.getParents(NAME, child, 8), parents);
  t.strictSame(await evidence.getParents(NAME, child, 2), parents.slice(0, 2));
  t.strictSame(await evidence.getParents("team.example/other", child, 8), []);
  await evidence.deleteChildren(NAME, digest("three"));
  t.strictSame(await evidence.getParents(NAME, other, 8), ["one", "two"].map(digest));
});

t.test("without its database it knows nothing, and fails nobody", async (t) => {
  const path = t.testdir();
  await using disk = await openIn(t, path);
  await disk.evidence.putChildren(NAME, digest("index"), [digest("child")]);
  rmSync(join(path, "v1"), { recursive: true });
  await t.resolves(
    disk.evidence.putEvidence(NAME, digest("a"), { bytes: Buffer.of(1), gatheredAtMs: 1 }),
  );
  await t.resolves(disk.evidence.getEvidence(NAME, digest("a")));
  await t.resolves(disk.evidence.getParents(NAME, digest("child"), 8));
});
