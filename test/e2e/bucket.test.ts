import { randomBytes } from "node:crypto";
import { access, readFile, writeFile } from "node:fs/promises";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { useS3Keys } from "../support/s3-rig.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";
import { toolOptions } from "../support/tools.ts";
import type { Versitygw } from "../support/versitygw.ts";
import { startVersitygw } from "../support/versitygw.ts";

const REPOSITORY = "team/app";
const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";

interface Rig {
  readonly s3: Versitygw;
  readonly upstream: FakeUpstream;
  readonly layer: Digest;
  readonly bytes: Buffer;
  /** With an empty folder of its own each. */
  proxy(options?: { redirect?: boolean }): Promise<TestProxy>;
  /** Resolves once the bucket has it. */
  isKept(digest: Digest): Promise<void>;
}

async function start(t: Test, sizeBytes = 300_000): Promise<Rig> {
  useS3Keys();
  const s3 = await startVersitygw(t);
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const bytes = randomBytes(sizeBytes);
  const layer = upstream.addBlob(REPOSITORY, bytes);
  const config = upstream.addBlob(REPOSITORY, Buffer.from("{}"));
  upstream.addManifest(REPOSITORY, "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: CONFIG_TYPE, digest: config, size: 2 },
    layers: [{ mediaType: LAYER_TYPE, digest: layer, size: sizeBytes }],
  });
  return {
    s3,
    upstream,
    layer,
    bytes,
    proxy: ({ redirect = false } = {}) =>
      startProxy(t, {
        upstreams: [{ urls: [upstream.url] }],
        s3: {
          bucket: s3.bucket,
          prefix: "cache/",
          endpoint: s3.url,
          forcePathStyle: true,
          redirect,
        },
      }),
    isKept: async (digest) => {
      while (!(await isThere(s3.file(keyOf(digest))))) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}

function keyOf(digest: Digest): string {
  return `cache/v1/blobs/${digest.replace(":", "/")}`;
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function pull(proxy: TestProxy, path: string): Promise<Buffer> {
  const response = await fetch(`${proxy.url}/v2/${REPOSITORY}/${path}`);
  const body = Buffer.from(await response.arrayBuffer());
  if (!response.ok) {
    throw new Error(`${path}: ${response.status} ${body}`);
  }
  return body;
}

const needsS3 = toolOptions("versitygw");

t.test("what one has pulled, another takes from the bucket", needsS3, async (t) => {
  const { proxy, upstream, layer, bytes, isKept } = await start(t);
  const first = await proxy();
  await pull(first, "manifests/v1");
  t.ok(bytes.equals(await pull(first, `blobs/${layer}`)));
  await isKept(layer);
  const second = await proxy();
  await pull(second, "manifests/v1");
  const pulls = Array.from({ length: 8 }, () => pull(second, `blobs/${layer}`));
  t.ok((await Promise.all(pulls)).every((one) => bytes.equals(one)));
  t.equal(upstream.getsOf(layer), 1, "the registry sent it once");
  t.equal(
    await second.metric('sluice_pulls_total{upstream="team.example",kind="blob",outcome="hit"}'),
    8,
  );
  await upstream.stop();
  t.ok(bytes.equals(await pull(second, `blobs/${layer}`)), "and it is on its disk, too");
});

t.test("a bucket that is gone costs no pull", needsS3, async (t) => {
  const { proxy, upstream, layer, bytes, s3, isKept } = await start(t);
  const first = await proxy();
  await pull(first, "manifests/v1");
  await pull(first, `blobs/${layer}`);
  await isKept(layer);
  const second = await proxy();
  await s3.stop();
  await pull(second, "manifests/v1");
  t.ok(bytes.equals(await pull(second, `blobs/${layer}`)));
  t.equal(upstream.getsOf(layer), 2);
});

t.test("to know a digest is no right to it, in a bucket either", needsS3, async (t) => {
  const { proxy, upstream, layer, isKept } = await start(t);
  const first = await proxy();
  await pull(first, "manifests/v1");
  await pull(first, `blobs/${layer}`);
  await isKept(layer);
  upstream.addBlob("other/app", Buffer.from("other"));
  const second = await proxy();
  const response = await fetch(`${second.url}/v2/other/app/blobs/${layer}`);
  t.equal(response.status, 404);
});

t.test(
  "other bytes under a digest reach nobody whole, and leave the bucket",
  needsS3,
  async (t) => {
    const { proxy, upstream, layer, bytes, s3, isKept } = await start(t);
    const first = await proxy();
    await pull(first, "manifests/v1");
    await pull(first, `blobs/${layer}`);
    await isKept(layer);
    const file = s3.file(keyOf(layer));
    const flipped = await readFile(file);
    flipped.writeUInt8(flipped.readUInt8(1000) ^ 1, 1000);
    await writeFile(file, flipped);
    const second = await proxy();
    await pull(second, "manifests/v1");
    await t.rejects(pull(second, `blobs/${layer}`), "the body breaks off");
    while (await isThere(file)) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.ok(bytes.equals(await pull(second, `blobs/${layer}`)), "the next one is from the registry");
    t.equal(upstream.getsOf(layer), 2);
  },
);

t.test(
  "clients are sent to the bucket for what is large, with a url that ends",
  needsS3,
  async (t) => {
    const { proxy, upstream, layer, bytes, isKept } = await start(t, 5_000_000);
    const { url, ...one } = await proxy({ redirect: true });
    const manifest = await pull({ ...one, url }, "manifests/v1");
    t.ok(bytes.equals(await pull({ ...one, url }, `blobs/${layer}`)), "from us, at first");
    await isKept(layer);
    const ask = (path: string): Promise<Response> =>
      fetch(`${url}/v2/${path}`, { redirect: "manual", headers: { range: "bytes=10-19" } });
    const sent = await ask(`${REPOSITORY}/blobs/${layer}`);
    t.equal(sent.status, 307);
    const location = sent.headers.get("location") ?? "";
    t.match(location, /X-Amz-Expires=300/);
    t.equal(sent.headers.get("cache-control"), "no-store");
    const part = await fetch(location, { headers: { range: "bytes=10-19" } });
    t.ok(bytes.subarray(10, 20).equals(Buffer.from(await part.arrayBuffer())));
    const small = `${REPOSITORY}/blobs/${upstream.addBlob(REPOSITORY, manifest)}`;
    t.not((await ask(small)).status, 307, "a manifest is never handed out by others");
    t.equal((await ask(`other/app/blobs/${layer}`)).status, 404, "nor what is another's");
  },
);
