import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import { digestOf, hexOf, parseDigest } from "../../storage/digest.ts";
import { openS3 } from "../../storage/s3-bucket.ts";
import { startMoto } from "../support/moto.ts";
import { run } from "../support/processes.ts";
import { bucketAt, countEvents, useS3Keys } from "../support/s3-rig.ts";
import { toolOptions } from "../support/tools.ts";
import { startVersitygw } from "../support/versitygw.ts";
import { readAll, storeBytes, testStoreContract } from "./store-contract.ts";

const MIB = 1_048_576;
/** Three parts, the last one short. */
const LARGE = randomBytes(20 * MIB + 12_345);
const LARGE_DIGEST = digestOf(LARGE);
const SMALL = Buffer.from("hello, layer");
const SMALL_DIGEST = digestOf(SMALL);

useS3Keys();
let prefixes = 0;

t.test("on moto", toolOptions("moto_server"), async (t) => {
  const endpoint = await startMoto(t);
  const client = clientOf(t, endpoint);
  await client.send(new CreateBucketCommand({ Bucket: "blobs" }));
  testStoreContract(
    t,
    async (t) => bucketAt(t, { bucket: "blobs", endpoint, prefix: fresh() }).s3.blobs,
  );
  t.test("a blob of several parts", async (t) => {
    const { s3 } = bucketAt(t, { bucket: "blobs", endpoint, prefix: fresh() });
    await storeInBlocks(s3.blobs, LARGE_DIGEST, LARGE);
    t.ok(LARGE.equals((await readAll(s3.blobs, LARGE_DIGEST)) ?? Buffer.alloc(0)));
  });
});

t.test("on versitygw", toolOptions("versitygw"), async (t) => {
  const server = await startVersitygw(t);
  const { url: endpoint, bucket } = server;
  const client = clientOf(t, endpoint);
  const uploadsUnder = async (Prefix: string): Promise<number> => {
    const command = new ListMultipartUploadsCommand({ Bucket: bucket, Prefix });
    return (await client.send(command)).Uploads?.length ?? 0;
  };
  const uploads = (): Promise<number> => uploadsUnder("");
  const open = (t: Test, prefix = fresh()): ReturnType<typeof bucketAt> =>
    bucketAt(t, { bucket, endpoint, prefix });

  /**
   * A part that the server was still taking in may bring back the upload that it belonged to
   * (S3's AbortMultipartUpload says so): that is what sweeping is for.
   */
  const nothingStays = async (t: Test, prefix: string): Promise<void> => {
    const { s3 } = bucketAt(t, { bucket, endpoint, prefix, now: tomorrow });
    while ((await uploadsUnder(prefix)) > 0) {
      await s3.sweep();
    }
  };

  testStoreContract(t, async (t) => open(t).s3.blobs);

  t.test("an object's key is its digest, below the prefix and the layout's version", async (t) => {
    await storeBytes(open(t, "team/").s3.blobs, SMALL_DIGEST, SMALL);
    const file = server.file(`team/v1/blobs/sha256/${hexOf(SMALL_DIGEST)}`);
    t.equal(String(readFileSync(file)), "hello, layer");
  });

  t.test("a blob of several parts, its size announced, unknown or wrong", async (t) => {
    for (const announced of [LARGE.byteLength, "unknown", 5, LARGE.byteLength + MIB] as const) {
      const { s3 } = open(t);
      await storeInBlocks(s3.blobs, LARGE_DIGEST, LARGE, announced);
      t.ok(
        LARGE.equals((await readAll(s3.blobs, LARGE_DIGEST)) ?? Buffer.alloc(0)),
        `${announced}`,
      );
      const range = { first: 7 * MIB, last: 17 * MIB };
      const part = await readAll(s3.blobs, LARGE_DIGEST, range);
      t.ok(LARGE.subarray(range.first, range.last + 1).equals(part ?? Buffer.alloc(0)));
    }
    t.equal(await uploads(), 0);
  });

  t.test("an upload that is under way and left leaves no trace", async (t) => {
    const prefix = fresh();
    const { s3 } = open(t, prefix);
    {
      await using writer = await s3.blobs.ingest(LARGE_DIGEST, LARGE.byteLength);
      await writer.write(LARGE.subarray(0, 19 * MIB), 0);
      while ((await uploadsUnder(prefix)) === 0) {
        await new Promise(setImmediate);
      }
      t.equal(await s3.blobs.stat(LARGE_DIGEST), undefined, "not visible before it is committed");
    }
    await nothingStays(t, prefix);
    t.equal(await s3.blobs.stat(LARGE_DIGEST), undefined);
    t.same(readdirSync(join(t.testdirName, "spool")), []);
  });

  t.test("of sixteen writers of one digest each is done, and one object is there", async (t) => {
    for (const bytes of [SMALL, LARGE.subarray(0, 9 * MIB)]) {
      const digest = digestOf(bytes);
      const prefix = "sixteen/";
      const writers = Array.from({ length: 16 }, () => open(t, prefix).s3.blobs);
      await Promise.all(writers.map((blobs) => storeBytes(blobs, digest, bytes)));
      t.ok(
        bytes.equals((await readAll(writers[0] ?? open(t).s3.blobs, digest)) ?? Buffer.alloc(0)),
      );
    }
    // An answer that is lost may leave an upload; a sweep has the last word.
    await bucketAt(t, { bucket, endpoint, prefix: "sixteen/", now: tomorrow }).s3.sweep();
    t.equal(await uploadsUnder("sixteen/"), 0);
  });

  t.test("bytes that were changed in the bucket are never a whole blob", async (t) => {
    const damages: [string, (file: string) => void][] = [
      ["a flipped bit in the last byte", flipLastBit],
      ["cut", (file) => truncateSync(file, 1000)],
      ["without a byte", (file) => truncateSync(file, 0)],
    ];
    for (const [name, damage] of damages) {
      const prefix = fresh();
      const { s3, counted } = open(t, prefix);
      const bytes = randomBytes(300_000);
      const digest = digestOf(bytes);
      await storeBytes(s3.blobs, digest, bytes);
      damage(server.file(`${prefix}v1/blobs/sha256/${hexOf(digest)}`));
      let given = 0;
      const reading = (async () => {
        await using reader = await s3.blobs.open(digest);
        for await (const chunk of reader ?? []) {
          given += chunk.byteLength;
        }
      })();
      await t.rejects(reading, { code: "content-mismatch" }, name);
      t.ok(given < bytes.byteLength, "its end was held back");
      t.equal(counted.corrupted, 1);
      t.equal(await s3.blobs.stat(digest), undefined, "out of the way");
      await storeBytes(s3.blobs, digest, bytes);
      t.ok(bytes.equals((await readAll(s3.blobs, digest)) ?? Buffer.alloc(0)), "healed");
    }
  });

  t.test(
    "what lies under a blob's name with another size is replaced when it is stored",
    async (t) => {
      const { s3, counted } = open(t);
      const other = Buffer.from("something else, put by hand");
      const prefix = fresh();
      const there = open(t, prefix);
      await storeBytes(there.s3.blobs, SMALL_DIGEST, SMALL);
      writeFileSync(server.file(`${prefix}v1/blobs/sha256/${hexOf(SMALL_DIGEST)}`), other);
      await storeBytes(there.s3.blobs, SMALL_DIGEST, SMALL);
      t.equal(String(await readAll(there.s3.blobs, SMALL_DIGEST)), "hello, layer");
      t.equal(there.counted.corrupted, 1);
      t.equal(counted.corrupted, 0);
      t.equal(await s3.blobs.stat(SMALL_DIGEST), undefined);
    },
  );

  t.test("a copy is put unless it is there", async (t) => {
    const { s3 } = open(t);
    let asked = 0;
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      asked += 1;
      const buffer = Buffer.alloc(MIB); // used again for each chunk, as a disk's reader does
      for (let at = 0; at < LARGE.byteLength; at += MIB) {
        yield buffer.subarray(0, LARGE.copy(buffer, 0, at));
      }
    };
    await s3.put(LARGE_DIGEST, LARGE.byteLength, chunks());
    await s3.put(LARGE_DIGEST, LARGE.byteLength, chunks());
    t.equal(asked, 1);
    t.ok(LARGE.equals((await readAll(s3.blobs, LARGE_DIGEST)) ?? Buffer.alloc(0)));
  });

  t.test("a copy whose bytes fail, or are too few or too many, leaves no trace", async (t) => {
    const prefix = fresh();
    const { s3 } = open(t, prefix);
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield LARGE.subarray(0, 17 * MIB);
      throw new Error("the disk failed");
    };
    await t.rejects(s3.put(LARGE_DIGEST, LARGE.byteLength, failing()), {
      code: "store-unavailable",
    });
    for (const sizeBytes of [LARGE.byteLength - 1, LARGE.byteLength + 1, 100]) {
      await t.rejects(s3.put(LARGE_DIGEST, sizeBytes, once(LARGE)), { code: "content-mismatch" });
    }
    const stop = new AbortController();
    const stopping = async function* (): AsyncGenerator<Uint8Array> {
      yield LARGE.subarray(0, 18 * MIB);
      stop.abort(new Error("the program ends"));
      yield LARGE.subarray(18 * MIB);
    };
    await t.rejects(s3.put(LARGE_DIGEST, LARGE.byteLength, stopping(), stop.signal));
    t.equal(await s3.blobs.stat(LARGE_DIGEST), undefined);
    await nothingStays(t, prefix);
  });

  t.test("bytes from any offset on, for who goes on elsewhere when they break off", async (t) => {
    const { s3 } = open(t);
    t.equal(await s3.openFrom(SMALL_DIGEST, 0), undefined);
    await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
    for (const offset of [0, 7]) {
      const stream = await s3.openFrom(SMALL_DIGEST, offset);
      t.equal(stream?.sizeBytes, 12);
      const chunks = await Array.fromAsync(stream?.chunks ?? []);
      t.equal(String(Buffer.concat(chunks)), "hello, layer".slice(offset));
    }
    const aborted = await s3.openFrom(SMALL_DIGEST, 0);
    aborted?.abort();
    await t.rejects(Array.fromAsync(aborted?.chunks ?? []), { code: "store-unavailable" });
  });

  t.test("a signed url serves whoever has it", async (t) => {
    const { s3 } = open(t);
    await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
    const url = await s3.presign(SMALL_DIGEST, 60);
    const part = await fetch(url, { headers: { range: "bytes=7-" } });
    t.equal(await part.text(), "layer");
    t.equal((await fetch(url.replace(/Signature=./, "Signature=x"))).status, 403);
    t.equal((await fetch(new URL(url).origin + new URL(url).pathname)).status, 403);
  });

  t.test("an upload that somebody left is swept after a day, another's never", async (t) => {
    const leave = (Key: string): Promise<unknown> =>
      client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }));
    const prefix = fresh();
    await leave(`${prefix}v1/blobs/sha256/${hexOf(SMALL_DIGEST)}`);
    await leave(`${prefix}v1/blobs/sha256/${hexOf(LARGE_DIGEST)}`);
    await leave("somebody-else/key");
    t.equal(await open(t, prefix).s3.sweep(), 0);
    t.equal(await bucketAt(t, { bucket, endpoint, prefix, now: tomorrow }).s3.sweep(), 2);
    t.equal(await uploadsUnder(prefix), 0);
    t.equal(await uploadsUnder("somebody-else/"), 1, "the one that is not ours");
  });

  t.test("forty uploads at once all arrive, a few of them at a time", async (t) => {
    const program = new URL("../support/s3-many-uploads.ts", import.meta.url).pathname;
    const spool = join(t.testdirName, "spool");
    const ran = await run(process.execPath, [program, endpoint, spool, "40", "9"]);
    t.equal(ran.code, 0, ran.code === 0 ? "ended well" : ran.output);
    const { digests, baseMiB, peakMiB } = JSON.parse(ran.stdout) as {
      digests: string[];
      baseMiB: number;
      peakMiB: number;
    };
    t.comment(`resident: ${baseMiB} MiB before, ${peakMiB} MiB at most`);
    const { s3 } = open(t, "many/");
    t.equal(new Set(digests).size, 40);
    for (const digest of digests) {
      t.same((await s3.blobs.stat(parseDigest(digest)))?.sizeBytes, 9 * MIB);
    }
    t.equal((await readAll(s3.blobs, parseDigest(digests[0] ?? "")))?.byteLength, 9 * MIB);
    t.equal(await uploadsUnder("many/"), 0);
  });

  t.test(
    "what the bucket refuses is an error that says what to do, without a secret",
    async (t) => {
      const missing = bucketAt(t, { bucket: "no-such-bucket", endpoint });
      await t.rejects(missing.s3.blobs.open(SMALL_DIGEST), {
        code: "store-unavailable",
        message: /^could not open sha256:.*NoSuchBucket \(create the bucket/,
      });
      t.same(missing.counted.failures, ["open NoSuchBucket"]);
      await t.rejects(storeBytes(missing.s3.blobs, SMALL_DIGEST, SMALL), {
        message: /NoSuchBucket/,
      });
      t.equal(missing.s3.isUp, true, "it does answer");
    },
  );
});

t.test("to open a bucket asks nothing of the network", async (t) => {
  const s3 = openS3({
    bucket: "blobs",
    prefix: "",
    endpoint: "http://127.0.0.1:1",
    forcePathStyle: true,
    spoolFolder: join(t.testdir(), "spool"),
    events: countEvents().events,
  });
  t.equal(s3.isUp, true);
  t.equal(existsSync(join(t.testdirName, "spool")), false);
  await s3[Symbol.asyncDispose]();
});

function tomorrow(): number {
  return Date.now() + 25 * 3_600_000;
}

function fresh(): string {
  prefixes += 1;
  return `prefix-${prefixes}/`;
}

function clientOf(t: Test, endpoint: string): S3Client {
  const client = new S3Client({ endpoint, forcePathStyle: true, region: "us-east-1" });
  t.teardown(() => client.destroy());
  return client;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** As a fill does: blocks of 1 MiB that overtake each other. */
async function storeInBlocks(
  store: Parameters<typeof storeBytes>[0],
  digest: Digest,
  bytes: Buffer,
  announced: number | "unknown" = bytes.byteLength,
): Promise<void> {
  await using writer = await store.ingest(digest, announced === "unknown" ? undefined : announced);
  for (let at = 0; at < bytes.byteLength; at += 4 * MIB) {
    const starts = [3, 1, 2, 0].map((block) => at + block * MIB);
    const blocks = starts.map((start) => writer.write(bytes.subarray(start, start + MIB), start));
    await Promise.all(blocks);
  }
  await writer.commit(bytes.byteLength);
}

function flipLastBit(file: string): void {
  const bytes = readFileSync(file);
  const last = bytes.byteLength - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}
