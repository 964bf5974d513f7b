import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";
import type { Test } from "tap";
import t from "tap";
import { digestOf, hexOf } from "../../storage/digest.ts";
import type { S3Fault, S3FaultProxy, S3Request } from "../support/s3-fault-proxy.ts";
import { s3Answer, startS3FaultProxy } from "../support/s3-fault-proxy.ts";
import type { Bucket } from "../support/s3-rig.ts";
import { bucketAt, useS3Keys } from "../support/s3-rig.ts";
import { toolOptions } from "../support/tools.ts";
import type { Versitygw } from "../support/versitygw.ts";
import { S3_KEYS, startVersitygw } from "../support/versitygw.ts";
import { readAll, storeBytes } from "./store-contract.ts";

const MIB = 1_048_576;
/** Two parts. */
const LARGE = randomBytes(9 * MIB);
const LARGE_DIGEST = digestOf(LARGE);
const SMALL = Buffer.from("hello, layer");
const SMALL_DIGEST = digestOf(SMALL);

useS3Keys();
let prefixes = 0;

interface Faulty extends Bucket {
  readonly server: Versitygw;
  readonly proxy: S3FaultProxy;
  readonly prefix: string;
  /** How many requests of a kind the proxy saw. */
  count(what: string): number;
  uploads(): Promise<number>;
}

t.test("with faults between it and versitygw", toolOptions("versitygw"), async (t) => {
  const server = await startVersitygw(t);
  const proxy = await startS3FaultProxy(t, server.port);
  const client = new S3Client({ endpoint: server.url, forcePathStyle: true, region: "us-east-1" });
  t.teardown(() => client.destroy());

  const faulty = (t: Test, now?: () => number): Faulty => {
    prefixes += 1;
    const prefix = `prefix-${prefixes}/`;
    proxy.fault = () => undefined;
    proxy.seen.length = 0;
    const at = { bucket: server.bucket, endpoint: proxy.url, prefix };
    return {
      ...bucketAt(t, now === undefined ? at : { ...at, now }),
      server,
      proxy,
      prefix,
      count: (what) => proxy.seen.filter((request) => request.what === what).length,
      uploads: async () => {
        const command = new ListMultipartUploadsCommand({ Bucket: server.bucket, Prefix: prefix });
        return (await client.send(command)).Uploads?.length ?? 0;
      },
    };
  };

  t.test("a body that breaks off is taken up where it stopped", async (t) => {
    const { s3, count } = faulty(t);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    const cuts = [3 * MIB, 2 * MIB];
    proxy.fault = () => {
      const cutAfter = cuts.pop();
      return cutAfter === undefined ? undefined : { cutAfter };
    };
    proxy.seen.length = 0;
    t.ok(LARGE.equals((await readAll(s3.blobs, LARGE_DIGEST)) ?? Buffer.alloc(0)));
    t.equal(count("GET"), 3);
    const ifMatch = proxy.seen.map(({ headers }) => headers["if-match"] !== undefined);
    t.same(ifMatch, [false, true, true], "of the same object");
    t.match(proxy.seen[2]?.range, /^bytes=[1-9]\d*-9437183$/);
    cuts.push(1000);
    const part = await readAll(s3.blobs, LARGE_DIGEST, { first: MIB, last: 2 * MIB });
    t.ok(LARGE.subarray(MIB, 2 * MIB + 1).equals(part ?? Buffer.alloc(0)));
  });

  t.test("a body that breaks off three times is an error, before its end", async (t) => {
    const { s3, counted, count } = faulty(t);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    proxy.fault = () => ({ cutAfter: 100_000 });
    await t.rejects(readAll(s3.blobs, LARGE_DIGEST), {
      code: "store-unavailable",
      message: /^could not read sha256:/,
    });
    t.equal(count("GET"), 3);
    t.match(counted.failures, [/^read /]);
  });

  t.test("a byte that changes on the way is seen before the end", async (t) => {
    const { s3, counted } = faulty(t);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    proxy.fault = ({ what }) => (what === "GET" ? { flipAt: 5 * MIB } : undefined);
    await t.rejects(readAll(s3.blobs, LARGE_DIGEST), { code: "content-mismatch" });
    t.equal(counted.corrupted, 1);
  });

  t.test("a copy for a fill breaks off with an error, and says where it had come to", async (t) => {
    const { s3, count } = faulty(t);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    proxy.fault = () => ({ cutAfter: MIB });
    const stream = await s3.openFrom(LARGE_DIGEST, 5);
    let received = 0;
    const reading = (async () => {
      for await (const chunk of stream?.chunks ?? []) {
        received += chunk.byteLength;
      }
    })();
    await t.rejects(reading, { code: "store-unavailable" });
    t.equal(received, MIB);
    t.equal(count("GET"), 1, "to go on is up to who fills");
  });

  t.test("to leave in the middle of a body is nothing that the bucket did", async (t) => {
    const { s3, counted } = faulty(t);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    for (let client = 0; client < 12; client++) {
      const stream = await s3.openFrom(LARGE_DIGEST, 0);
      const chunks = stream?.chunks[Symbol.asyncIterator]();
      await chunks?.next();
      stream?.abort();
      await chunks?.next().catch(() => undefined);
      const reader = await s3.blobs.open(LARGE_DIGEST);
      const reading = reader?.[Symbol.asyncIterator]();
      await reading?.next();
      await reader?.[Symbol.asyncDispose]();
      await reading?.next().catch(() => undefined);
    }
    t.equal(s3.isUp, true);
    t.same(counted.failures, []);
  });

  t.test("what fails once is tried again", async (t) => {
    const faults: [string, S3Fault][] = [
      ["reset", "reset"],
      ["500", s3Answer(500, "InternalError")],
      ["503", s3Answer(503, "SlowDown")],
      ["the answer lost", "lose-answer"],
    ];
    for (const [name, fault] of faults) {
      const { s3, count } = faulty(t);
      // Not each kind: half of all would be a reason not to ask any more.
      proxy.fault = onceEach(({ what }) => (what.startsWith("P") ? fault : undefined));
      await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
      await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
      t.ok(LARGE.equals((await readAll(s3.blobs, LARGE_DIGEST)) ?? Buffer.alloc(0)), name);
      t.equal(String(await readAll(s3.blobs, SMALL_DIGEST)), "hello, layer");
      t.ok(count("PUT part") > 2);
    }
  });

  t.test("a bucket that is overloaded is left alone, and asked again by one", async (t) => {
    let time = Date.now();
    const { s3, counted, count } = faulty(t, () => time);
    await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
    proxy.fault = () => s3Answer(503, "SlowDown");
    proxy.seen.length = 0;
    for (let read = 0; read < 50; read++) {
      await t.rejects(s3.blobs.open(SMALL_DIGEST), { code: "store-unavailable" });
    }
    t.equal(count("GET"), 5);
    t.equal(s3.isUp, false);
    t.equal(counted.failures[0], "open SlowDown");
    time += 5000;
    t.equal(s3.isUp, true);
    proxy.fault = () => undefined;
    const [first, ...others] = await Promise.allSettled(
      Array.from({ length: 10 }, () => readAll(s3.blobs, SMALL_DIGEST)),
    );
    t.equal(first?.status, "fulfilled");
    t.ok(others.every(({ status }) => status === "rejected"));
    t.equal(count("GET"), 6);
    t.equal(String(await readAll(s3.blobs, SMALL_DIGEST)), "hello, layer");
  });

  t.test("a bucket that is gone slows no write, and is an error of the commit", async (t) => {
    const { s3 } = faulty(t);
    proxy.fault = () => "reset";
    await using writer = await s3.blobs.ingest(LARGE_DIGEST, LARGE.byteLength);
    await writer.write(LARGE, 0);
    const into = Buffer.alloc(5);
    t.equal(await writer.read(into, MIB), 5);
    t.ok(into.equals(LARGE.subarray(MIB, MIB + 5)), "who follows reads on");
    await t.rejects(writer.commit(LARGE.byteLength), { code: "store-unavailable" });
    t.equal(s3.isUp, false);
  });

  t.test("one that comes back before the commit has the blob after all", async (t) => {
    let time = Date.now();
    const { s3 } = faulty(t, () => time);
    proxy.fault = () => "reset";
    await using writer = await s3.blobs.ingest(LARGE_DIGEST, LARGE.byteLength);
    await writer.write(LARGE, 0);
    while (s3.isUp) {
      await s3.blobs.stat(LARGE_DIGEST).catch(() => undefined);
    }
    proxy.fault = () => undefined;
    time += 5000;
    await writer.commit(LARGE.byteLength);
    t.same(await s3.blobs.stat(LARGE_DIGEST), {
      digest: LARGE_DIGEST,
      sizeBytes: LARGE.byteLength,
    });
  });

  t.test("a bucket that says it took something is not believed", async (t) => {
    const lies: [string, (request: S3Request) => S3Fault | undefined][] = [
      ["an error in a 200", ({ what }) => answerTo(what, s3Answer(200, "InternalError"))],
      [
        "an ETag, and nothing kept",
        ({ what }) => answerTo(what, { answer: 200, headers: { etag: '"abc"' } }),
      ],
      [
        "a completed upload that is not there",
        ({ what }) =>
          what === "POST complete"
            ? {
                answer: 200,
                body: "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>",
              }
            : answerTo(what, { answer: 200, headers: { etag: '"abc"' } }, "PUT"),
      ],
    ];
    for (const [name, lie] of lies) {
      const { s3, counted, uploads } = faulty(t);
      for (const [digest, bytes] of [
        [SMALL_DIGEST, SMALL],
        [LARGE_DIGEST, LARGE],
      ] as const) {
        proxy.fault = lie;
        await t.rejects(storeBytes(s3.blobs, digest, bytes), { code: "store-unavailable" }, name);
        proxy.fault = () => undefined;
        t.equal(await s3.blobs.stat(digest), undefined);
      }
      t.equal(counted.failures.length, 2);
      if (!name.startsWith("a completed")) {
        t.equal(await uploads(), 0); // of the others nothing tells us that it is not over
      }
    }
  });

  t.test("409 is another writer: it is tried again, until it is there", async (t) => {
    const { s3, count } = faulty(t);
    const conflict = s3Answer(409, "ConditionalRequestConflict");
    proxy.fault = onceEach(({ what }) =>
      what === "PUT" || what === "POST complete" ? conflict : undefined,
    );
    await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    t.equal(count("PUT"), 2);
    t.equal(count("POST complete"), 2);
    t.ok(LARGE.equals((await readAll(s3.blobs, LARGE_DIGEST)) ?? Buffer.alloc(0)));
  });

  t.test("412 is done, and who was second leaves no upload", async (t) => {
    const { s3, count, uploads } = faulty(t);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
    await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
    t.equal(count("POST complete"), 2);
    t.ok(proxy.seen.filter(({ what }) => what === "PUT").every((put) => put.isConditional));
    t.equal(await uploads(), 0);
  });

  t.test("where conditions are unknown the bucket is asked without, from then on", async (t) => {
    for (const status of [501, 400]) {
      const { s3, count } = faulty(t);
      proxy.fault = ({ isConditional }) =>
        isConditional ? s3Answer(status, "NotImplemented") : undefined;
      await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
      await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
      t.ok(LARGE.equals((await readAll(s3.blobs, LARGE_DIGEST)) ?? Buffer.alloc(0)));
      t.equal(count("POST complete"), 2, "with, and without");
      t.equal(count("PUT"), 1);
    }
  });

  t.test("what lies there by hand under another's name is not served", async (t) => {
    const { s3, prefix } = faulty(t);
    await storeBytes(s3.blobs, SMALL_DIGEST, SMALL);
    writeFileSync(server.file(`${prefix}v1/blobs/sha256/${hexOf(SMALL_DIGEST)}`), "hello, lawyer");
    await t.rejects(readAll(s3.blobs, SMALL_DIGEST), { code: "content-mismatch" });
    t.equal(await s3.blobs.stat(SMALL_DIGEST), undefined);
  });

  t.test("no error repeats what the bucket wrote, which may be what it was sent", async (t) => {
    const { s3 } = faulty(t);
    const key = S3_KEYS["AWS_SECRET_ACCESS_KEY"] ?? "";
    proxy.fault = () => s3Answer(403, "Teapot", `StringToSign ${key} Signature=abc`);
    const error: unknown = await s3.blobs.open(SMALL_DIGEST).catch((failure: unknown) => failure);
    t.match(error, { code: "store-unavailable", message: /status-403/ });
    const all = [error, (error as Error).cause].map((at) => `${(at as Error).stack}`).join();
    t.notMatch(all, new RegExp(`${key}|Signature|Teapot`));
  });

  t.test("a bucket that does not answer costs three waits, once", async (t) => {
    const { s3, count } = faulty(t);
    proxy.fault = () => "stall";
    const asking = Array.from({ length: 4 }, () => s3.blobs.stat(SMALL_DIGEST));
    for (const asked of await Promise.allSettled(asking)) {
      t.match(asked, { status: "rejected", reason: { code: "store-unavailable" } });
    }
    t.equal(s3.isUp, false);
    t.ok(count("HEAD") <= 8);
    await t.rejects(s3.blobs.stat(SMALL_DIGEST), { message: /asked again within seconds/ });
  });

  t.test("a server that is killed is an error, and never a hang", async (t) => {
    const { s3 } = faulty(t);
    await storeBytes(s3.blobs, LARGE_DIGEST, LARGE);
    await using reader = await s3.blobs.open(LARGE_DIGEST);
    const chunks = reader?.[Symbol.asyncIterator]();
    await chunks?.next();
    await server.stop();
    const rest = (async () => {
      while ((await chunks?.next())?.done === false) {
        // to the end
      }
    })();
    await t.rejects(rest, { code: "store-unavailable" });
    await t.rejects(s3.blobs.stat(LARGE_DIGEST), { code: "store-unavailable" });
  });
});

/** The fault, for the first request of each kind only. */
function onceEach(
  fault: (request: S3Request) => S3Fault | undefined,
): (request: S3Request) => S3Fault | undefined {
  const had = new Set<string>();
  return (request) => {
    if (had.has(request.what)) {
      return;
    }
    had.add(request.what);
    return fault(request);
  };
}

function answerTo(what: string, fault: S3Fault, ...kinds: readonly string[]): S3Fault | undefined {
  const wanted = kinds.length > 0 ? kinds : ["PUT", "PUT part"];
  return wanted.includes(what) ? fault : undefined;
}
