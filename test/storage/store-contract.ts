import type { Test } from "tap";
import type { BlobStore, ByteRange } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";

/**
 * What every BlobStore promises. Each store's test file calls this with a way to open an empty one,
 * so a promise made in blob-store.ts is tested once and holds for all of them.
 */
export function testStoreContract(t: Test, openEmpty: (t: Test) => Promise<BlobStore>): void {
  const bytes = Buffer.from("hello, layer");
  const digest = digestOf(bytes);

  t.test("a blob that was never stored is an answer, not an error", async (t) => {
    const store = await openEmpty(t);
    t.equal(await store.stat(digest), undefined);
    t.equal(await store.open(digest), undefined);
    t.equal(await store.delete(digest), false);
  });

  t.test("a committed blob reads back whole and in part", async (t) => {
    const store = await openEmpty(t);
    await storeBytes(store, digest, bytes);
    t.same(await store.stat(digest), { digest, sizeBytes: 12 });
    t.equal(String(await readAll(store, digest)), "hello, layer");
    t.equal(String(await readAll(store, digest, { first: 7, last: 11 })), "layer");
    t.equal(String(await readAll(store, digest, { first: 0, last: 0 })), "h");
  });

  t.test("sha512 names a blob as well as sha256", async (t) => {
    const store = await openEmpty(t);
    const long = digestOf(bytes, "sha512");
    await storeBytes(store, long, bytes);
    t.equal(String(await readAll(store, long)), "hello, layer");
    t.equal(await store.stat(digest), undefined, "they are two names");
  });

  t.test("an empty blob can be stored and read", async (t) => {
    const store = await openEmpty(t);
    const nothing = digestOf(Buffer.alloc(0));
    await storeBytes(store, nothing, Buffer.alloc(0));
    t.same(await store.stat(nothing), { digest: nothing, sizeBytes: 0 });
    t.equal((await readAll(store, nothing))?.byteLength, 0);
  });

  t.test("a blob of several chunks survives buffers that are used again", async (t) => {
    const store = await openEmpty(t);
    const large = Buffer.alloc(5_000_001, "x");
    for (let at = 0; at < large.byteLength; at += 4) {
      large.writeUInt32LE(at, Math.min(at, large.byteLength - 4));
    }
    const name = digestOf(large);
    await storeBytes(store, name, large);
    t.ok(large.equals((await readAll(store, name)) ?? Buffer.alloc(0)));
    const part = await readAll(store, name, { first: 1_048_570, last: 3_000_000 });
    t.ok(large.subarray(1_048_570, 3_000_001).equals(part ?? Buffer.alloc(0)));
  });

  t.test("what is being written can be read back, in any order, before it is a blob", async (t) => {
    const store = await openEmpty(t);
    await using writer = await store.ingest(digest, bytes.byteLength);
    await writer.write(bytes.subarray(6), 6);
    await writer.write(bytes.subarray(0, 6), 0);
    const into = Buffer.alloc(5);
    t.equal(await writer.read(into, 7), 5);
    t.equal(String(into), "layer");
    t.equal(await store.open(digest), undefined);
  });

  t.test("a write that is left without a commit leaves no trace", async (t) => {
    const store = await openEmpty(t);
    {
      await using writer = await store.ingest(digest, bytes.byteLength);
      await writer.write(bytes, 0);
    }
    t.equal(await store.stat(digest), undefined);
    t.equal(await store.open(digest), undefined);
  });

  t.test("two writers of the same blob do not disturb each other", async (t) => {
    const store = await openEmpty(t);
    await Promise.all([storeBytes(store, digest, bytes), storeBytes(store, digest, bytes)]);
    t.equal(String(await readAll(store, digest)), "hello, layer");
  });

  t.test("a deleted blob is absent, and whoever reads it reads on", async (t) => {
    const store = await openEmpty(t);
    await storeBytes(store, digest, bytes);
    await using reader = await store.open(digest);
    t.equal(await store.delete(digest), true);
    t.equal(await store.open(digest), undefined);
    const chunks: Buffer[] = [];
    for await (const chunk of reader ?? []) {
      chunks.push(Buffer.from(chunk));
    }
    t.equal(String(Buffer.concat(chunks)), "hello, layer");
  });
}

export async function storeBytes(store: BlobStore, digest: Digest, bytes: Buffer): Promise<void> {
  await using writer = await store.ingest(digest, bytes.byteLength);
  await writer.write(bytes, 0);
  await writer.commit(bytes.byteLength);
}

export async function readAll(
  store: BlobStore,
  digest: Digest,
  range?: ByteRange,
): Promise<Buffer | undefined> {
  await using reader = await store.open(digest, range);
  if (reader === undefined) {
    return;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of reader) {
    chunks.push(Buffer.from(chunk)); // a copy: the store may reuse the chunk for the next one
  }
  return Buffer.concat(chunks);
}
