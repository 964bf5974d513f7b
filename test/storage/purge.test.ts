import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Test } from "tap";
import t from "tap";
import { compileGlob } from "../../server/glob.ts";
import { purgeRun } from "../../server/upkeep.ts";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";
import type { PurgeTarget } from "../../storage/purge.ts";
import type { PurgeReport } from "../../storage/purge-removal.ts";
import type { RetentionRule } from "../../storage/retention.ts";
import { readAll, storeBytes } from "./store-contract.ts";

const DAY_MS = 86_400_000;
const START_MS = 1_700_000_000_000;

/** A store whose clock the test sets, with images as pulls leave them. */
class Shelf {
  readonly disk: Disk;
  readonly failed: string[];
  readonly #clock: { nowMs: number };

  private constructor(disk: Disk, failed: string[], clock: { nowMs: number }) {
    this.disk = disk;
    this.failed = failed;
    this.#clock = clock;
  }

  get nowMs(): number {
    return this.#clock.nowMs;
  }

  set nowMs(nowMs: number) {
    this.#clock.nowMs = nowMs;
  }

  static async open(t: Test, path: string = t.testdir()): Promise<Shelf> {
    const failed: string[] = [];
    const clock = { nowMs: START_MS };
    const disk = await openDisk({
      path,
      maxBytes: 1e9,
      verifyReads: "first",
      now: () => clock.nowMs,
      events: {
        evicted: () => undefined,
        corruption: () => undefined,
        failed: (operation, reason) => failed.push(`${operation} ${reason}`),
      },
    });
    t.teardown(() => disk[Symbol.asyncDispose]());
    return new Shelf(disk, failed, clock);
  }

  async blob(repository: string, bytes: Buffer = randomBytes(1000)): Promise<Digest> {
    const digest = digestOf(bytes);
    await storeBytes(this.disk.blobs, digest, bytes);
    const record = { digest, sizeBytes: bytes.byteLength, mediaType: undefined };
    await this.disk.metadata.putContents(repository, [record]);
    return digest;
  }

  /** A manifest that names these, under a tag when there is one. */
  async image(
    repository: string,
    tag: string | undefined,
    layers: readonly Digest[],
  ): Promise<Digest> {
    const document = { note: tag, layers: layers.map((digest) => ({ digest, size: 1000 })) };
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = digestOf(bytes);
    await storeBytes(this.disk.blobs, digest, bytes);
    const record = { digest, sizeBytes: bytes.byteLength, mediaType: "application/m" };
    await this.disk.metadata.putContents(repository, [record]);
    if (tag !== undefined) {
      await this.disk.metadata.putTag(repository, tag, { digest, checkedAtMs: this.nowMs });
    }
    return digest;
  }

  async purge(target: PurgeTarget, isDryRun = false): Promise<PurgeReport> {
    const { report } = await this.disk.purger.purge(target, { ...purgeRun(), isDryRun });
    return report;
  }

  async expire(rules: readonly RetentionRule[]): Promise<PurgeReport> {
    return (await this.disk.purger.expire(rules, purgeRun())).report;
  }

  use(repository: string, ...names: readonly string[]): void {
    for (const name of names) {
      this.disk.uses.used(repository, name, this.nowMs);
    }
  }

  async holds(digest: Digest): Promise<boolean> {
    return (await this.disk.blobs.stat(digest)) !== undefined;
  }

  async knows(repository: string, digest: Digest): Promise<boolean> {
    return (await this.disk.metadata.getContent(repository, digest)) !== undefined;
  }
}

function only(repository: string): Pick<PurgeTarget, "matches"> {
  return { matches: (name) => name === repository };
}

t.test("a repository goes with all that is known of it, and nothing of another", async (t) => {
  const shelf = await Shelf.open(t);
  const { disk } = shelf;
  const [own, shared] = [await shelf.blob("r/a"), await shelf.blob("r/a")];
  await disk.metadata.putContents("r/a-2", [
    { digest: shared, sizeBytes: 1000, mediaType: undefined },
  ]);
  const manifest = await shelf.image("r/a", "v1", [own, shared]);
  await disk.metadata.putContents("r/a proved", [
    { digest: own, sizeBytes: undefined, mediaType: undefined },
  ]);
  await disk.evidence.putEvidence("r/a", manifest, { bytes: Buffer.from("e"), gatheredAtMs: 1 });
  await disk.evidence.putChildren("r/a", manifest, [own]);
  await disk.evidence.putEvidence("r/a-2", shared, { bytes: Buffer.from("e"), gatheredAtMs: 1 });

  const planned = await shelf.purge(only("r/a"), true);
  t.match(planned, { repositories: 1, tags: 1, blobs: 2 });
  t.ok(await shelf.holds(own), "a dry run removes nothing");
  const report = await shelf.purge(only("r/a"));
  t.match(report, { repositories: 1, names: ["r/a"], tags: 1, blobs: 2, failed: 0 });
  t.equal(report.freedBytes, planned.freedBytes);
  t.equal(await disk.metadata.getTag("r/a", "v1"), undefined);
  for (const digest of [own, shared, manifest]) {
    t.notOk(await shelf.knows("r/a", digest));
    t.notOk(await shelf.knows("r/a proved", digest));
  }
  t.equal(await disk.evidence.getEvidence("r/a", manifest), undefined);
  t.same(await disk.evidence.getParents("r/a", own, 8), []);
  t.notOk(await shelf.holds(own));
  t.ok(await shelf.holds(shared), "another repository contains it");
  t.ok(await disk.evidence.getEvidence("r/a-2", shared));
  t.match(await shelf.purge(only("r/a")), { repositories: 0, tags: 0, contents: 0, blobs: 0 });
});

t.test("a tag goes with what no other image of the repository is made of", async (t) => {
  const shelf = await Shelf.open(t);
  const { metadata } = shelf.disk;
  const [base, one, two, three] = [
    await shelf.blob("r/a"),
    await shelf.blob("r/a"),
    await shelf.blob("r/a"),
    await shelf.blob("r/a"),
  ];
  const first = await shelf.image("r/a", "v1", [base, one]);
  await shelf.image("r/a", "v2", [base, two]);
  const byDigest = await shelf.image("r/a", undefined, [three, one]);
  const signature = await shelf.blob("r/a");
  await shelf.image("r/a", `${first.replace(":", "-")}.sig`, [signature]);
  await metadata.putTag("r/a", "same", { digest: first, checkedAtMs: 1 });

  const still = await shelf.purge({ ...only("r/a"), tags: (tag) => tag === "v1" });
  t.match(still, { tags: 1, contents: 0, blobs: 0 }, "another tag names the same image");
  const report = await shelf.purge({ ...only("r/a"), tags: compileGlob("sa*") });
  t.match(report, { tags: 2, blobs: 3 }, "the image, its signature and that one's layer");
  t.notOk(await shelf.holds(first));
  t.notOk(await shelf.holds(signature));
  for (const kept of [base, one, two, three, byDigest]) {
    t.ok(await shelf.holds(kept));
    t.ok(await shelf.knows("r/a", kept));
  }
  t.ok(await metadata.getTag("r/a", "v2"));

  const gone = await shelf.purge({ ...only("r/a"), digest: byDigest });
  t.match(gone, { tags: 0, blobs: 3 }, "by digest, with what was only its own");
  t.notOk(await shelf.holds(three));
  t.ok(await shelf.holds(base));
});

t.test("what was not used for long goes, whether anything names it or not", async (t) => {
  const shelf = await Shelf.open(t);
  const { disk } = shelf;
  const [old, used] = [await shelf.blob("r/a"), await shelf.blob("r/a")];
  await shelf.image("r/a", "old", [old]);
  const image = await shelf.image("r/a", "used", [used]);
  const nameless = randomBytes(500);
  await storeBytes(disk.blobs, digestOf(nameless), nameless);
  shelf.nowMs += 20 * DAY_MS;
  shelf.use("r/a", "used", image, used);
  shelf.nowMs += 15 * DAY_MS;
  const usedBeforeMs = shelf.nowMs - 30 * DAY_MS;
  const report = await shelf.purge({ matches: () => true, usedBeforeMs, withNameless: true });
  t.match(report, { tags: 1, blobs: 3 });
  t.ok(await disk.metadata.getTag("r/a", "used"));
  t.ok(await shelf.holds(image));
  t.ok(await shelf.holds(used));
  t.same(disk.usage().blobs, 2);
});

t.test("retention: the first entry that matches, unused or beyond the newest", async (t) => {
  const all = (): boolean => true;
  const put = async (shelf: Shelf, repository: string): Promise<Record<string, Digest>> => {
    const digests: Record<string, Digest> = {};
    for (const tag of ["v1", "v2", "v3", "dev"]) {
      shelf.nowMs += 1000;
      digests[tag] = await shelf.blob(repository);
      await shelf.image(repository, tag, [digests[tag]]);
    }
    return digests;
  };
  const left = async (shelf: Shelf, repository: string): Promise<string[]> => {
    const found: string[] = [];
    for (const tag of ["v1", "v2", "v3", "dev"]) {
      if (await shelf.disk.metadata.getTag(repository, tag)) {
        found.push(tag);
      }
    }
    return found;
  };
  const isVersion = compileGlob("v*");
  const cases: readonly [string, Omit<RetentionRule, "matches">, string[]][] = [
    ["unused", { unusedMs: 14 * DAY_MS, isNamed: all }, ["v1"]],
    ["newest", { keepTags: 2, isNamed: all }, ["v3", "dev"]],
    ["newest of some", { keepTags: 1, isNamed: isVersion }, ["v3", "dev"]],
    ["both", { unusedMs: 14 * DAY_MS, keepTags: 1, isNamed: isVersion }, ["v1", "v3"]],
  ];
  for (const [name, rule, expected] of cases) {
    await t.test(name, async (t) => {
      const shelf = await Shelf.open(t);
      const layers = await put(shelf, "r/dev/app");
      await put(shelf, "r/prod/app");
      shelf.nowMs += 10 * DAY_MS;
      shelf.use("r/dev/app", "v1", layers["v1"] ?? "");
      shelf.nowMs += 10 * DAY_MS;
      const matches = compileGlob("r/dev/**");
      const never = { matches: all, isNamed: all };
      await shelf.expire([
        { ...rule, matches },
        { ...never, unusedMs: 1000 * DAY_MS },
      ]);
      t.same(await left(shelf, "r/dev/app"), expected);
      for (const tag of ["v1", "v2", "v3", "dev"]) {
        const digest = layers[tag] as Digest;
        t.equal(await shelf.holds(digest), expected.includes(tag), tag);
      }
      t.same(await left(shelf, "r/prod/app"), ["v1", "v2", "v3", "dev"]);
    });
  }
});

t.test(
  "what is being read does not expire; a purge does not take it from its reader",
  async (t) => {
    const shelf = await Shelf.open(t);
    const bytes = randomBytes(3_000_000);
    const digest = await shelf.blob("r/a", bytes);
    const { blobs } = shelf.disk;
    await using reader = await blobs.open(digest);
    shelf.nowMs += 20 * DAY_MS;
    const rule = { matches: () => true, isNamed: () => true, unusedMs: DAY_MS };
    t.match(await shelf.expire([rule]), { blobs: 0, contents: 0 });
    t.ok(await shelf.knows("r/a", digest));
    const chunks: Buffer[] = [];
    for await (const chunk of reader ?? []) {
      if (chunks.length === 0) {
        t.match(await shelf.purge(only("r/a")), { blobs: 1, freedBytes: 3_000_000 });
        t.notOk(await shelf.holds(digest));
      }
      chunks.push(Buffer.from(chunk));
    }
    t.ok(bytes.equals(Buffer.concat(chunks)));
    await storeBytes(blobs, digest, bytes);
    t.ok(bytes.equals((await readAll(blobs, digest)) ?? Buffer.alloc(0)), "and it can come back");
  },
);

t.test("a database of an earlier version keeps what it knows, as used now", async (t) => {
  const path = t.testdir();
  const digest = digestOf(Buffer.from("x"));
  {
    const shelf = await Shelf.open(t, path);
    await shelf.blob("r/a", Buffer.from("x"));
    await shelf.image("r/a", "v1", [digest]);
    await shelf.disk[Symbol.asyncDispose]();
  }
  const file = join(path, "v1", "metadata.sqlite");
  {
    using db = new DatabaseSync(file);
    db.exec("DROP INDEX contents_by_digest");
    db.exec("ALTER TABLE tags DROP COLUMN used_at; ALTER TABLE contents DROP COLUMN used_at");
  }
  const shelf = await Shelf.open(t, path);
  t.ok(await shelf.disk.metadata.getTag("r/a", "v1"));
  t.ok(await shelf.knows("r/a", digest));
  const rule = { matches: () => true, isNamed: () => true, unusedMs: DAY_MS };
  t.match(await shelf.expire([rule]), { tags: 0, blobs: 0 });
  shelf.nowMs += 2 * DAY_MS;
  t.match(await shelf.expire([rule]), { tags: 1, blobs: 2 });
  {
    // What an earlier version does with it after going back.
    using db = new DatabaseSync(file);
    db.prepare("INSERT INTO tags (repository, tag, digest, checked_at) VALUES (?, ?, ?, ?)").run(
      "r/b",
      "v1",
      digest,
      1,
    );
  }
  t.same(shelf.failed, []);
});

t.test("names that anyone may have chosen are taken as they are", async (t) => {
  const shelf = await Shelf.open(t);
  const names = ["r/a%", "r/a_", "r/a'--", "r/__proto__", "r/a", "r/a/b", "r/a.b"];
  for (const name of names) {
    await shelf.image(name, "constructor", [await shelf.blob(name)]);
  }
  t.match(await shelf.purge(only("r/a%")), { repositories: 1, tags: 1, blobs: 2 });
  t.match(await shelf.purge({ ...only("r/__proto__"), tags: (tag) => tag === "constructor" }), {
    repositories: 1,
    tags: 1,
  });
  for (const name of ["r/a_", "r/a'--", "r/a", "r/a/b", "r/a.b"]) {
    t.ok(await shelf.disk.metadata.getTag(name, "constructor"), name);
  }
});
