import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { digestOf, hexOf } from "../../storage/digest.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { fetchBytes, open } from "../support/requests.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";

const MIB = 1024 * 1024;
const REPOSITORY = "app/web";

async function rig(t: Test): Promise<{ upstream: FakeUpstream; proxy: TestProxy }> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }] });
  return { upstream, proxy };
}

function blobUrl(proxy: TestProxy, digest: string, repository: string = REPOSITORY): string {
  return `${proxy.url}/v2/${repository}/blobs/${digest}`;
}

async function readUpTo(response: IncomingMessage, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Leaving the loop must not end the response: the test reads on.
  const iterator = response.iterator({ destroyOnReturn: false });
  for await (const chunk of iterator as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.byteLength;
    if (length >= bytes) {
      break;
    }
  }
  const all = Buffer.concat(chunks);
  response.unshift(all.subarray(bytes));
  return all.subarray(0, bytes);
}

/** Whether the body came to its announced end. */
async function drained(response: IncomingMessage): Promise<{ bytes: number; complete: boolean }> {
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength;
  });
  await new Promise((resolve) => response.once("close", resolve));
  return { bytes, complete: response.complete };
}

t.test(
  "a cold blob is fetched once, streamed, stored, and then served without the upstream",
  async (t) => {
    const { upstream, proxy } = await rig(t);
    const bytes = randomBytes(3 * MIB + 17);
    const digest = upstream.addBlob(REPOSITORY, bytes);
    t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
    t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
    await upstream.stop();
    t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
    t.equal(upstream.getsOf(digest), 1);
    await proxy.metricBecomes(
      'sluice_pulls_total{upstream="team.example",kind="blob",outcome="miss"}',
      1,
    );
    await proxy.metricBecomes(
      'sluice_pulls_total{upstream="team.example",kind="blob",outcome="hit"}',
      2,
    );
    await proxy.metricBecomes('sluice_cache_bytes{store="disk"}', bytes.byteLength);
  },
);

t.test("sha512 blobs are pulled and verified like any other", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(100_000);
  const digest = digestOf(bytes, "sha512");
  const path = `/v2/${REPOSITORY}/blobs/${digest}`;
  upstream.on({ path }, { status: 200, body: bytes }, 1);
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
  t.equal(upstream.getsOf(digest), 1);
});

t.test("bytes go out while the upstream still sends, except the last ones", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(2 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const stalled = upstream.on({ digest }, { stallAfterBytes: 2 * MIB - 1 });
  const response = await open(blobUrl(proxy, digest));
  t.equal(response.statusCode, 200);
  t.equal(response.headers["content-length"], String(bytes.byteLength));
  const before = await readUpTo(response, 2 * MIB - 65_536);
  t.equal(before.byteLength, 2 * MIB - 65_536, "all but what is held back until it is proved");
  stalled.release();
  const rest = await readUpTo(response, 65_536);
  t.ok(bytes.equals(Buffer.concat([before, rest])));
});

t.test("everybody who asks while it arrives follows one download, from any offset", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(8 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const stalled = upstream.on({ digest }, { stallAfterBytes: 6 * MIB });
  const url = blobUrl(proxy, digest);
  const first = await open(url);
  await readUpTo(first, 5 * MIB);
  const late = await open(url); // its first bytes have left memory: it reads them from the file
  t.ok(bytes.subarray(0, MIB).equals(await readUpTo(late, MIB)));
  const ahead = await open(url, { range: `bytes=${7 * MIB}-` });
  t.equal(ahead.statusCode, 206, "headers do not wait for bytes that are far away");
  t.equal(ahead.headers["content-range"], `bytes ${7 * MIB}-${8 * MIB - 1}/${8 * MIB}`);
  await proxy.metricBecomes("sluice_fill_readers", 3);
  first.destroy(); // a client that leaves is no fault of the fill
  stalled.release();
  const tail = await readUpTo(ahead, MIB);
  t.ok(bytes.subarray(7 * MIB).equals(tail));
  t.equal((await drained(late)).complete, true);
  t.equal(upstream.getsOf(digest), 1);
});

t.test("a crowd that asks at once costs the upstream one request", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const all = await Promise.all(
    Array.from({ length: 50 }, () => fetchBytes(blobUrl(proxy, digest))),
  );
  t.ok(all.every((one) => bytes.equals(one)));
  t.equal(upstream.getsOf(digest), 1);
});

t.test("a broken transfer goes on with Range, and readers do not notice", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(4 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  upstream.on({ digest }, { truncateAfterBytes: MIB }, 1);
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
  const [, resumed] = upstream.seen({ digest });
  t.match(resumed?.headers.range, /^bytes=\d+-$/);
});

t.test("a registry that ignores Range is resumed all the same", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(4 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  upstream.on({ digest }, { truncateAfterBytes: 2 * MIB }, 1);
  upstream.on({ digest }, { ignoreRange: true });
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
});

t.test("a transfer goes on at the next url when the first one is gone", async (t) => {
  const [one, two] = [await startFakeUpstream(), await startFakeUpstream()];
  t.teardown(() => Promise.all([one.close(), two.close()]));
  const proxy = await startProxy(t, { upstreams: [{ urls: [one.url, two.url] }] });
  const bytes = randomBytes(4 * MIB);
  const digest = one.addBlob(REPOSITORY, bytes);
  two.addBlob(REPOSITORY, bytes);
  const stalled = one.on({ digest }, { stallAfterBytes: 2 * MIB });
  const response = await open(blobUrl(proxy, digest));
  const before = await readUpTo(response, MIB);
  await one.stop();
  stalled.release();
  const rest = await readUpTo(response, bytes.byteLength - before.byteLength);
  t.ok(bytes.equals(Buffer.concat([before, rest])));
  t.match(two.seen({ digest })[0]?.headers.range, /^bytes=/);
});

t.test("wrong bytes never complete and are never kept", async (t) => {
  const bytes = randomBytes(2 * MIB);
  const digest = digestOf(bytes);
  const wrong = Buffer.from(bytes);
  wrong[5] = (wrong[5] ?? 0) ^ 1;
  for (const [name, fault] of [
    ["a flipped bit", { status: 200, body: wrong }],
    ["a flipped bit, without a length", { status: 200, body: wrong, chunked: true }],
    ["too short, without a length", { status: 200, body: bytes.subarray(0, MIB), chunked: true }],
    [
      "too long, without a length",
      { status: 200, body: Buffer.concat([bytes, bytes]), chunked: true },
    ],
  ] as const) {
    await t.test(name, async (t) => {
      const { upstream, proxy } = await rig(t);
      upstream.on({ digest }, fault);
      const outcome = await drained(await open(blobUrl(proxy, digest)));
      t.equal(outcome.complete, false);
      t.equal(
        existsSync(join(proxy.dataPath, "v1", "blobs", "sha256", hexOf(digest).slice(0, 2))),
        false,
      );
      t.equal(
        await proxy.metric(
          'sluice_upstream_errors_total{upstream="team.example",reason="mismatch"}',
        ),
        1,
      );
    });
  }
  await t.test("a small blob is a clean 502 that says whose bytes were wrong", async (t) => {
    const { upstream, proxy } = await rig(t);
    const small = digestOf(Buffer.from("small"));
    upstream.on({ digest: small }, { status: 200, body: "SMALL" });
    const response = await fetch(blobUrl(proxy, small));
    t.equal(response.status, 502);
    t.match(await response.json(), { errors: [{ message: /team\.example sent other bytes/ }] });
  });
});

t.test("a size that differs from the manifest's is refused before the download", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  upstream.addManifest(
    REPOSITORY,
    "v1",
    { schemaVersion: 2, layers: [{ mediaType: "x/y", digest, size: 5 }] },
    "application/vnd.oci.image.manifest.v1+json",
  );
  await fetch(`${proxy.url}/v2/${REPOSITORY}/manifests/v1`);
  const response = await fetch(blobUrl(proxy, digest));
  t.equal(response.status, 502);
  t.match(await response.json(), {
    errors: [{ message: /announced 1048576 bytes, its manifest says 5/ }],
  });
});

t.test("ranges and conditions hold on a miss as on a hit", async (t) => {
  const bytes = randomBytes(300_000);
  for (const held of [false, true]) {
    await t.test(held ? "hit" : "miss", async (t) => {
      const { upstream, proxy } = await rig(t);
      const digest = upstream.addBlob(REPOSITORY, bytes);
      const url = blobUrl(proxy, digest);
      if (held) {
        await fetchBytes(url);
      }
      const cases: [header: string, status: number, first: number, end: number][] = [
        ["bytes=0-", 206, 0, 300_000],
        ["bytes=0-0", 206, 0, 1],
        ["bytes=100-199", 206, 100, 200],
        ["bytes=299999-", 206, 299_999, 300_000],
        ["bytes=299990-400000", 206, 299_990, 300_000],
        ["bytes=-10", 206, 299_990, 300_000],
        ["bytes=-400000", 206, 0, 300_000],
        ["bytes=5-2", 200, 0, 300_000],
        ["bytes=0-1,5-6", 200, 0, 300_000],
        ["items=0-5", 200, 0, 300_000],
        ["bytes=abc", 200, 0, 300_000],
      ];
      for (const [range, status, first, end] of cases) {
        const response = await fetch(url, { headers: { range } });
        t.equal(response.status, status, range);
        t.ok(bytes.subarray(first, end).equals(Buffer.from(await response.arrayBuffer())), range);
      }
      for (const range of ["bytes=300000-", "bytes=-0", "bytes=999999999999999-"]) {
        const response = await fetch(url, { headers: { range } });
        t.equal(response.status, 416, range);
        t.equal(response.headers.get("content-range"), "bytes */300000");
        await response.body?.cancel();
      }
      const etag = `"${digest}"`;
      const kept = await fetch(url, { headers: { range: "bytes=1-2", "if-range": etag } });
      t.equal(kept.status, 206);
      const changed = await fetch(url, { headers: { range: "bytes=1-2", "if-range": '"other"' } });
      t.equal(changed.status, 200);
      await changed.body?.cancel();
      for (const match of [etag, `W/${etag}`, `"a", ${etag}`, "*"]) {
        t.equal((await fetch(url, { headers: { "if-none-match": match } })).status, 304, match);
      }
      t.equal(upstream.getsOf(digest), 1);
    });
  }
});

t.test("HEAD answers as GET would, without a download", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(1000);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  for (const held of [false, true]) {
    if (held) {
      await fetchBytes(blobUrl(proxy, digest));
    }
    const head = await fetch(blobUrl(proxy, digest), { method: "HEAD" });
    t.equal(head.status, 200);
    t.equal(head.headers.get("content-length"), "1000");
    t.equal(head.headers.get("docker-content-digest"), digest);
    t.equal(head.headers.get("content-type"), "application/octet-stream");
    t.equal(head.headers.get("oci-namespace"), "team.example");
  }
  t.equal(upstream.getsOf(digest), 1);
});

t.test("to know a digest is no right to it", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(1000);
  const digest = upstream.addBlob("team/private", bytes);
  await fetchBytes(blobUrl(proxy, digest, "team/private"));
  const foreign = await fetch(blobUrl(proxy, digest, "other/public"));
  t.equal(foreign.status, 404, "held, but not in that repository");
  const head = await fetch(blobUrl(proxy, digest, "other/public"), { method: "HEAD" });
  t.equal(head.status, 404);
  upstream.addBlob("other/shares", bytes);
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest, "other/shares"))));
  t.equal(upstream.getsOf(digest), 1, "one HEAD proved it; the bytes were there");
});

t.test("a store that fails costs no pull", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(12 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  rmSync(join(proxy.dataPath, "v1"), { recursive: true });
  writeFileSync(join(proxy.dataPath, "v1"), "a file where the store should be");
  const both = await Promise.all([
    fetchBytes(blobUrl(proxy, digest)),
    fetchBytes(blobUrl(proxy, digest)),
  ]);
  t.ok(both.every((one) => bytes.equals(one)));
  const ready = await fetch(`${proxy.adminUrl}/readyz`);
  t.equal(ready.status, 200);
  t.match(await ready.text(), /degraded\nstore: .*(?:ENOTDIR|EEXIST)/);
  rmSync(join(proxy.dataPath, "v1"));
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))), "and it comes back by itself");
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 1);
  const before = upstream.getsOf(digest);
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))));
  t.equal(upstream.getsOf(digest), before, "held again");
});

t.test("a blob that was damaged on disk is fetched again for whoever asks", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(1000);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  await fetchBytes(blobUrl(proxy, digest));
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 1);
  const hex = hexOf(digest);
  const file = join(proxy.dataPath, "v1", "blobs", "sha256", hex.slice(0, 2), hex);
  writeFileSync(file, randomBytes(1000));
  t.ok(bytes.equals(await fetchBytes(blobUrl(proxy, digest))), "the same request is served");
  t.equal(upstream.getsOf(digest), 2);
  await proxy.metricBecomes('sluice_cache_corruptions_total{store="disk"}', 1);
});

t.test("clients that hang up in the middle of anything leave nothing behind", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(4 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const url = blobUrl(proxy, digest);
  const stalled = upstream.on({ digest }, { stallAfterBytes: 3 * MIB });
  const opened = await Promise.all(
    Array.from({ length: 10 }, (_, at) => open(url, { range: `bytes=${at * 300_000}-` })),
  );
  for (const response of opened) {
    response.destroy();
  }
  const whole = fetchBytes(url);
  stalled.release();
  t.ok(bytes.equals(await whole));
  t.equal(upstream.getsOf(digest), 1);
  t.ok(bytes.equals(await fetchBytes(url)));
  await proxy.metricBecomes("sluice_fills_in_flight", 0);
  t.equal(readdirSync(join(proxy.dataPath, "v1", "ingest")).length, 0);
});

t.test("the pull of an image names what it is made of", async (t) => {
  const { upstream, proxy } = await rig(t);
  const layer = randomBytes(1000);
  const digest = upstream.addBlob(REPOSITORY, layer);
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, layers: [{ mediaType: "x/y", digest, size: 1000 }] }),
  );
  upstream.addManifest(REPOSITORY, "v1", manifest, "application/vnd.oci.image.manifest.v1+json");
  const response = await fetch(`${proxy.url}/v2/${REPOSITORY}/manifests/v1`);
  const sha256 = createHash("sha256").update(manifest).digest("hex");
  t.equal(response.headers.get("docker-content-digest"), `sha256:${sha256}`);
  t.ok(layer.equals(await fetchBytes(blobUrl(proxy, digest))));
  t.equal(upstream.seen({ method: "HEAD" }).length, 0, "no proof was needed beside the manifest");
});
