import type { Test } from "tap";
import t from "tap";
import { digestOf } from "../../storage/digest.ts";
import type { FakeUpstream, FakeUpstreamOptions } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";

const OCI = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const REPOSITORY = "app/web";
const TAG_PATH = `/v2/${REPOSITORY}/manifests/v1`;

interface Rig {
  readonly upstream: FakeUpstream;
  readonly proxy: TestProxy;
  readonly clock: { nowMs: number };
  get(path: string, headers?: Record<string, string>): Promise<Response>;
}

async function rig(
  t: Test,
  options: { fresh?: number; stale?: number; fake?: FakeUpstreamOptions } = {},
): Promise<Rig> {
  const upstream = await startFakeUpstream(options.fake);
  t.teardown(() => upstream.close());
  const clock = { nowMs: Date.now() };
  const proxy = await startProxy(t, {
    upstreams: [
      {
        urls: [upstream.url],
        tagFreshSeconds: options.fresh ?? 30,
        serveStaleSeconds: options.stale ?? 3600,
      },
    ],
    now: () => clock.nowMs,
  });
  const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(proxy.url + path, { headers });
  return { upstream, proxy, clock, get };
}

function manifest(note: string): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI, annotations: { note } }));
}

t.test("a tag is believed while fresh, then confirmed with one HEAD", async (t) => {
  const { upstream, clock, get } = await rig(t);
  upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
  for (let pull = 0; pull < 5; pull += 1) {
    t.equal((await get(TAG_PATH)).status, 200);
  }
  t.equal(upstream.requests.length, 1, "one GET for all");
  clock.nowMs += 31_000;
  await Promise.all(Array.from({ length: 20 }, () => get(TAG_PATH)));
  t.equal(upstream.seen({ method: "HEAD" }).length, 1, "one HEAD for all who wait");
  t.equal(upstream.seen({ method: "GET" }).length, 1, "the bytes are held");
});

t.test("a tag that moved is served new, and counted", async (t) => {
  const { upstream, proxy, clock, get } = await rig(t);
  upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
  const first = (await get(TAG_PATH)).headers.get("docker-content-digest");
  const moved = upstream.addManifest(REPOSITORY, "v1", manifest("two"), OCI);
  t.equal((await get(TAG_PATH)).headers.get("docker-content-digest"), first, "still fresh");
  clock.nowMs += 31_000;
  const response = await get(TAG_PATH);
  t.equal(response.headers.get("docker-content-digest"), moved);
  t.ok(manifest("two").equals(Buffer.from(await response.arrayBuffer())));
  await proxy.metricBecomes(
    'sluice_tag_moves_total{upstream="team.example",direction="forward"}',
    1,
  );
});

t.test("a digest is served for ever, without the upstream and after the tag is gone", async (t) => {
  const { upstream, clock, get } = await rig(t);
  const digest = upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
  await get(TAG_PATH);
  upstream.removeTag(REPOSITORY, "v1");
  await upstream.stop();
  clock.nowMs += 1e9;
  const response = await get(`/v2/${REPOSITORY}/manifests/${digest}`);
  t.equal(response.status, 200);
  t.equal(response.headers.get("warning"), null);
});

t.test("a broken upstream is covered by what is held, with a warning, for so long", async (t) => {
  for (const [name, fault] of [
    ["down", undefined],
    ["failing", { status: 500 }],
    ["at its limit", { status: 429, headers: { "retry-after": "1" } }],
  ] as const) {
    await t.test(name, async (t) => {
      const { upstream, clock, get } = await rig(t, { fresh: 0, stale: 60 });
      upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
      await get(TAG_PATH);
      if (fault === undefined) {
        await upstream.stop();
      } else {
        upstream.on({}, fault);
      }
      clock.nowMs += 30_000;
      const stale = await get(TAG_PATH);
      t.equal(stale.status, 200);
      t.match(stale.headers.get("warning"), /^110 - "response is stale: .*team\.example/);
      clock.nowMs += 40_000;
      const expired = await get(TAG_PATH);
      t.ok([429, 503].includes(expired.status), String(expired.status));
      t.ok(Number(expired.headers.get("retry-after")) > 0);
    });
  }
});

t.test("a slow upstream is covered, too, and nobody waits for it twice", async (t) => {
  const { upstream, clock, get } = await rig(t, { fresh: 0 });
  upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
  await get(TAG_PATH);
  clock.nowMs += 1000;
  const hung = upstream.on({ method: "HEAD" }, { hang: true });
  const first = await get(TAG_PATH);
  t.match(first.headers.get("warning"), /^110 .*does not answer in time/);
  const second = await get(TAG_PATH);
  t.match(second.headers.get("warning"), /^110 /);
  t.equal(hung.count, 1);
  hung.release();
});

t.test("a no of the upstream is never covered", async (t) => {
  for (const [status, expected] of [
    [401, 403],
    [403, 403],
    [404, 404],
  ] as const) {
    const { upstream, clock, get } = await rig(t, { fresh: 0 });
    upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
    t.equal((await get(TAG_PATH)).status, 200);
    upstream.on({}, { status });
    clock.nowMs += 1000;
    t.equal((await get(TAG_PATH)).status, expected, `upstream ${status}`);
  }
});

t.test("a registry that does not answer HEAD, or answers nonsense, is asked by GET", async (t) => {
  for (const fault of [
    { status: 405 },
    { status: 200, body: "", headers: { "content-type": "text/html" } },
  ]) {
    const { upstream, clock, get } = await rig(t, { fresh: 0 });
    upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
    await get(TAG_PATH);
    upstream.on({ method: "HEAD" }, fault);
    const moved = upstream.addManifest(REPOSITORY, "v1", manifest("two"), OCI);
    clock.nowMs += 1000;
    const response = await get(TAG_PATH);
    t.equal(response.headers.get("docker-content-digest"), moved);
    t.equal(response.headers.get("warning"), null);
  }
});

t.test("a no is remembered for seconds, no longer", async (t) => {
  const { upstream, clock, get } = await rig(t);
  for (let asked = 0; asked < 5; asked += 1) {
    t.equal((await get(TAG_PATH)).status, 404);
  }
  t.equal(upstream.requests.length, 1);
  upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
  clock.nowMs += 10_001;
  t.equal((await get(TAG_PATH)).status, 200);
});

t.test("media types come back exactly as they were sent", async (t) => {
  const { upstream, get } = await rig(t);
  for (const type of [
    OCI,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
  ]) {
    const digest = upstream.addManifest(REPOSITORY, "v1", manifest(type), type);
    for (const method of ["GET", "HEAD"]) {
      const path = `/v2/${REPOSITORY}/manifests/${digest}`;
      const response = await fetch((await get(path)).url, { method });
      t.equal(response.headers.get("content-type"), type);
      t.equal(response.headers.get("content-length"), String(manifest(type).byteLength));
    }
  }
});

t.test(
  "a client's Accept is its own: it changes nothing upstream, and nothing by digest",
  async (t) => {
    const { upstream, get } = await rig(t);
    const digest = upstream.addManifest(REPOSITORY, "v1", manifest("index"), INDEX);
    const narrow = await get(TAG_PATH, { accept: OCI });
    t.equal(narrow.status, 404);
    t.match(await narrow.json(), {
      errors: [{ code: "MANIFEST_UNKNOWN", message: /image\.index/ }],
    });
    t.equal((await get(TAG_PATH, { accept: `${OCI}, ${INDEX};q=0.5` })).status, 200);
    t.equal((await get(TAG_PATH, { accept: "*/*" })).status, 200);
    t.equal((await get(`/v2/${REPOSITORY}/manifests/${digest}`, { accept: OCI })).status, 200);
    t.equal(upstream.requests.length, 1);
    t.match(upstream.requests[0]?.headers.accept, /image\.index\.v1.*manifest\.list\.v2/);
  },
);

t.test("a manifest with other bytes than its digest is refused and not kept", async (t) => {
  const { upstream, get } = await rig(t);
  const digest = digestOf(manifest("one"));
  const path = `/v2/${REPOSITORY}/manifests/${digest}`;
  upstream.on(
    { path },
    { status: 200, body: manifest("two"), headers: { "content-type": OCI } },
    1,
  );
  const refused = await get(path);
  t.equal(refused.status, 502);
  t.match(await refused.json(), { errors: [{ message: /sent another manifest/ }] });
});

t.test("what the upstream says of a digest counts for nothing: ours is sent", async (t) => {
  const { upstream, get } = await rig(t);
  const lie = digestOf(Buffer.from("lie"));
  upstream.on(
    { path: TAG_PATH },
    {
      status: 200,
      body: manifest("one"),
      headers: { "content-type": OCI, "docker-content-digest": lie },
    },
  );
  const response = await get(TAG_PATH);
  t.equal(response.headers.get("docker-content-digest"), digestOf(manifest("one")));
});

t.test("manifests that no cache should keep are a clear 502", async (t) => {
  const digest = `sha256:${"a".repeat(64)}`;
  for (const [name, body] of [
    ["HTML", "<html>"],
    ["a list", "[]"],
    ["a negative size", JSON.stringify({ layers: [{ digest, size: -1 }] })],
    ["a size as text", JSON.stringify({ layers: [{ digest, size: "5" }] })],
    ["no size", JSON.stringify({ layers: [{ digest }] })],
    ["a huge size", JSON.stringify({ config: { digest, size: 2 ** 53 } })],
    ["no digest", JSON.stringify({ manifests: [{ size: 5 }] })],
    ["deep nesting", "[".repeat(100_000)],
    ["more than 4 MiB", " ".repeat(4 * 1024 * 1024 + 1)],
  ] as const) {
    const { upstream, get } = await rig(t);
    upstream.on({ path: TAG_PATH }, { status: 200, body, headers: { "content-type": OCI } });
    const response = await get(TAG_PATH);
    t.equal(response.status, 502, name);
  }
});

t.test(
  "tags are listed in order and paged, whatever the registry makes of n and last",
  async (t) => {
    const { upstream, get } = await rig(t);
    for (const tag of ["v2", "v10", "v1", "latest"]) {
      upstream.addManifest(REPOSITORY, tag, manifest(tag), OCI);
    }
    const path = `/v2/${REPOSITORY}/tags/list`;
    t.same(await (await get(path)).json(), {
      name: REPOSITORY,
      tags: ["latest", "v1", "v10", "v2"],
    });
    const page = await get(`${path}?n=2`);
    t.same(await page.json(), { name: REPOSITORY, tags: ["latest", "v1"] });
    t.equal(page.headers.get("link"), `<${path}?n=2&last=v1>; rel="next"`);
    const rest = await get(`${path}?n=2&last=v1`);
    t.same(await rest.json(), { name: REPOSITORY, tags: ["v10", "v2"] });
    t.equal(rest.headers.get("link"), null);
    t.same(await (await get(`${path}?n=0`)).json(), { name: REPOSITORY, tags: [] });
    await upstream.stop();
  },
);

t.test("a registry that ignores paging is paged here", async (t) => {
  const { upstream, get } = await rig(t);
  const path = `/v2/${REPOSITORY}/tags/list`;
  const body = JSON.stringify({ name: REPOSITORY, tags: ["c", "a", "d", "b"] });
  upstream.on({ path }, { status: 200, body, headers: { "content-type": "application/json" } });
  const page = await get(`${path}?n=2&last=a`);
  t.same(await page.json(), { name: REPOSITORY, tags: ["b", "c"] });
  t.equal(page.headers.get("link"), `<${path}?n=2&last=c>; rel="next"`);
});

t.test("lists that were seen are served stale when the upstream is down", async (t) => {
  const { upstream, clock, get } = await rig(t);
  upstream.addManifest(REPOSITORY, "v1", manifest("one"), OCI);
  await get(`/v2/${REPOSITORY}/tags/list`);
  await upstream.stop();
  clock.nowMs += 60_000;
  const stale = await get(`/v2/${REPOSITORY}/tags/list`);
  t.equal(stale.status, 200);
  t.match(stale.headers.get("warning"), /^110 /);
});

for (const referrersApi of [true, false]) {
  t.test(`referrers are found ${referrersApi ? "by the API" : "by the tag"}`, async (t) => {
    const { upstream, get } = await rig(t, { fake: { referrers: referrersApi } });
    const subject = upstream.addManifest(REPOSITORY, "v1", manifest("image"), OCI);
    const size = manifest("image").byteLength;
    const referrer = {
      schemaVersion: 2,
      mediaType: OCI,
      artifactType: "application/vnd.example.sbom",
      subject: { mediaType: OCI, digest: subject, size },
    };
    const digest = upstream.addManifest(REPOSITORY, undefined, referrer, OCI);
    const descriptor = {
      mediaType: OCI,
      digest,
      size: JSON.stringify(referrer).length,
      artifactType: "application/vnd.example.sbom",
    };
    if (!referrersApi) {
      const index = { schemaVersion: 2, mediaType: INDEX, manifests: [descriptor] };
      upstream.addManifest(REPOSITORY, subject.replace(":", "-"), index, INDEX);
    }
    const path = `/v2/${REPOSITORY}/referrers/${subject}`;
    const response = await get(path);
    t.equal(response.headers.get("content-type"), INDEX);
    t.match(await response.json(), { schemaVersion: 2, manifests: [{ digest }] });
    const none = await get(`${path}?artifactType=application/other`);
    t.equal(none.headers.get("oci-filters-applied"), "artifactType");
    t.match(await none.json(), { manifests: [] });
    const one = await get(`${path}?artifactType=application/vnd.example.sbom`);
    t.match(await one.json(), { manifests: [{ digest }] });
    const unknown = await get(`/v2/${REPOSITORY}/referrers/sha256:${"0".repeat(64)}`);
    t.equal(unknown.status, 200, "an unknown digest has none");
    t.same(await unknown.json(), { schemaVersion: 2, mediaType: INDEX, manifests: [] });
  });
}
