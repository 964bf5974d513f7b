import { randomBytes } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Test } from "tap";
import t from "tap";
import type { ObjectStore, StoredBody } from "../../server/cache/bucket.ts";
import { Bucket, BucketFirst } from "../../server/cache/bucket.ts";
import type { BlobBody } from "../../server/upstream/upstream.ts";
import { digestOf } from "../../storage/digest.ts";
import { StorageError } from "../../storage/errors.ts";
import { MemoryStore } from "../../storage/memory-store.ts";
import { storeBytes } from "../storage/store-contract.ts";

const CHUNK_BYTES = 65_536;
const BYTES = randomBytes(CHUNK_BYTES);
const DIGEST = digestOf(BYTES);

/** A bucket as a test wants it: empty, without a right to delete anything. */
class FakeObjects implements ObjectStore {
  readonly isUp = true;
  puts = 0;
  body: StoredBody | undefined;
  readonly blobs = {
    stat: async () => undefined,
    delete: async () => {
      throw new StorageError("store-unavailable", "AccessDenied");
    },
  };

  async openFrom(): Promise<StoredBody | undefined> {
    return this.body;
  }

  async put(): Promise<void> {
    this.puts += 1;
  }

  async presign(): Promise<string> {
    return "http://bucket.example";
  }
}

function bodyOf(chunks: AsyncIterable<Uint8Array>, sizeBytes: number): StoredBody {
  return { sizeBytes, chunks, abort: () => undefined };
}

async function* whole(): AsyncGenerator<Uint8Array> {
  yield BYTES;
}

interface Rig {
  readonly objects: FakeObjects;
  readonly local: MemoryStore;
  readonly bucket: Bucket;
  readonly failures: unknown[];
}

function rig(t: Test, waitMs = 30_000): Rig {
  const objects = new FakeObjects();
  const local = new MemoryStore();
  const failures: unknown[] = [];
  const onFailed = (_operation: string, error: unknown): void => void failures.push(error);
  const bucket = new Bucket({ objects, local, waitMs, onFailed });
  t.teardown(() => bucket[Symbol.asyncDispose]());
  return { objects, local, bucket, failures };
}

const REQUEST = { repository: "team/app", digest: DIGEST, offset: 0 };

function registry(): { asked: number; openBlob(): Promise<BlobBody> } {
  return {
    asked: 0,
    async openBlob() {
      this.asked += 1;
      return {
        sizeBytes: CHUNK_BYTES,
        offset: 0,
        url: "https://team.example",
        pipe: async () => undefined,
        abort: () => undefined,
      };
    },
  };
}

t.test("wrong bytes that may not be deleted are asked for once", async (t) => {
  const { bucket, objects, failures } = rig(t);
  objects.body = bodyOf(whole(), CHUNK_BYTES);
  t.ok(await bucket.open(DIGEST, 0));
  await bucket.drop(DIGEST);
  t.match(failures, [{ message: "AccessDenied" }]);
  t.equal(await bucket.open(DIGEST, 0), undefined, "the registry is asked from now on");
  t.equal(await bucket.redirect(DIGEST, 0), undefined, "nor is anybody sent there");
});

t.test("what has another size than its manifest says comes from the registry", async (t) => {
  const { bucket, objects } = rig(t);
  objects.body = bodyOf(whole(), CHUNK_BYTES - 1);
  const upstream = registry();
  const prove = async (): Promise<void> => undefined;
  const origin = new BucketFirst(bucket, upstream, { sizeBytes: CHUNK_BYTES, prove });
  t.match(await origin.openBlob(REQUEST), { url: "https://team.example" });
  t.equal(upstream.asked, 1);
  t.equal(origin.isOwn, false);
});

t.test("what has gone from the bucket is copied there again", async (t) => {
  const { bucket, objects, local } = rig(t);
  await storeBytes(local, DIGEST, BYTES);
  const kept = async (puts: number): Promise<void> => {
    bucket.keep(DIGEST, CHUNK_BYTES);
    while (objects.puts < puts) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await kept(1);
  t.equal(await bucket.open(DIGEST, 0), undefined);
  await kept(2);
  bucket.forget();
  await kept(3);
  t.equal(objects.puts, 3);
});

t.test("a manifest whose bytes do not come is not waited for", async (t) => {
  const { bucket, objects } = rig(t, 20);
  objects.body = bodyOf(
    {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
    },
    CHUNK_BYTES,
  );
  t.equal(await bucket.read(DIGEST, CHUNK_BYTES), undefined);
});

t.test("a client that left is no failure of the bucket", async (t) => {
  const { bucket, objects, failures } = rig(t);
  objects.openFrom = () => Promise.reject(new Error("aborted"));
  t.equal(await bucket.open(DIGEST, 0, AbortSignal.abort()), undefined);
  t.same(failures, []);
});

t.test("nothing of a large blob is held once it has been passed on", async (t) => {
  const { bucket, objects } = rig(t);
  const passed: WeakRef<Uint8Array>[] = [];
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let count = 0; count < 100; count += 1) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      passed.push(new WeakRef(chunk));
      yield chunk;
    }
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    t.equal(passed[0]?.deref(), undefined);
  }
  objects.body = bodyOf(chunks(), 100 * CHUNK_BYTES);
  const body = await bucket.open(DIGEST, 0);
  await body?.pipe({ start: () => undefined, write: () => true });
  t.equal(passed.length, 100);
});
