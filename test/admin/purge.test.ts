import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import { hexOf } from "../../storage/digest.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { fetchBytes, open } from "../support/requests.ts";
import { runSluice, SluiceProcess } from "../support/sluice-process.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";

const MIB = 1024 * 1024;

async function startUpstream(t: Test): Promise<FakeUpstream> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  return upstream;
}

function addImage(
  upstream: FakeUpstream,
  repository: string,
  tag: string,
  layer: Buffer,
): { readonly manifest: Digest; readonly layer: Digest } {
  const digest = upstream.addBlob(repository, layer);
  const layers = [{ digest, size: layer.byteLength, mediaType: "application/octet-stream" }];
  return { manifest: upstream.addManifest(repository, tag, { layers }), layer: digest };
}

async function post(
  adminUrl: string,
  body: unknown,
  path = "purge",
): Promise<{ readonly status: number; readonly answer: Readonly<Record<string, unknown>> }> {
  const response = await fetch(`${adminUrl}/api/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const answer = (await response.json()) as Readonly<Record<string, unknown>>;
  return { status: response.status, answer };
}

/** The whole image; the status of its manifest. */
async function pull(proxy: Pick<TestProxy, "url">, image: string, layer: Digest): Promise<number> {
  const [repository, tag] = image.split(":");
  const base = `${proxy.url}/v2/${repository}`;
  const response = await fetch(`${base}/manifests/${tag}`);
  await response.arrayBuffer();
  await fetchBytes(`${base}/blobs/${layer}`);
  return response.status;
}

t.test("after a purge an image is fetched anew, by tag and by digest", async (t) => {
  const upstream = await startUpstream(t);
  const { manifest, layer } = addImage(upstream, "app", "v1", randomBytes(50_000));
  const other = addImage(upstream, "app", "v2", randomBytes(50_000));
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }] });
  await pull(proxy, "app:v1", layer);
  await pull(proxy, "app:v2", other.layer);
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 4);
  await fetchBytes(`${proxy.url}/v2/app/tags/list`);
  t.equal(upstream.getsOf(manifest) + upstream.getsOf(layer), 1, "the manifest came by its tag");

  const dry = await post(proxy.adminUrl, { image: "team.example/app:v1", dryRun: true });
  t.match(dry, { status: 200, answer: { dryRun: true, tags: 1, blobs: 2 } });
  const { status, answer } = await post(proxy.adminUrl, { image: "app:v1" });
  t.match({ status, answer }, { status: 200, answer: { dryRun: false, tags: 1, blobs: 2 } });
  t.ok(Number(answer["freedBytes"]) > 50_000);
  t.equal(await proxy.metric('sluice_cache_blobs{store="disk"}'), 2);

  const tags = upstream.seen({ path: "/v2/app/tags/list" }).length;
  await fetchBytes(`${proxy.url}/v2/app/tags/list`);
  t.equal(upstream.seen({ path: "/v2/app/tags/list" }).length, tags + 1, "lists are forgotten");
  t.equal((await fetch(`${proxy.url}/v2/app/manifests/${manifest}`)).status, 200);
  t.equal(upstream.getsOf(manifest), 1, "nothing of it was left in memory");
  t.equal(await pull(proxy, "app:v1", layer), 200);
  t.equal(upstream.getsOf(layer), 2);
  await pull(proxy, "app:v2", other.layer);
  t.equal(upstream.getsOf(other.layer), 1, "another tag is served as before");
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 4);
  t.match(await post(proxy.adminUrl, { upstream: "team.example" }), {
    answer: { repositories: 1, tags: 2, blobs: 4 },
  });
  t.match(await post(proxy.adminUrl, { olderThanSeconds: 60 }), { answer: { blobs: 0 } });
});

t.test("whoever reads a blob while it is purged gets all of it", async (t) => {
  const upstream = await startUpstream(t);
  const bytes = randomBytes(24 * MIB);
  const { layer } = addImage(upstream, "app", "v1", bytes);
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }] });
  await pull(proxy, "app:v1", layer);
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 2);
  const slow = await open(`${proxy.url}/v2/app/blobs/${layer}`);
  await once(slow, "readable");
  t.match(await post(proxy.adminUrl, { image: "team.example/**" }), { answer: { blobs: 2 } });
  const chunks: Buffer[] = [];
  for await (const chunk of slow) {
    chunks.push(chunk as Buffer);
  }
  t.ok(bytes.equals(Buffer.concat(chunks)));
});

t.test("pulls during purges are right, whatever is purged", async (t) => {
  const upstream = await startUpstream(t);
  const images = Array.from({ length: 8 }, (_, at) => {
    const bytes = randomBytes(200_000);
    return { at, bytes, ...addImage(upstream, `app/${at % 2}`, `v${at}`, bytes) };
  });
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }] });
  let isOver = false;
  const purging = (async () => {
    for (const at of Array.from({ length: 30 }, (_, index) => index % 8)) {
      const asked = at % 3 === 0 ? { image: "team.example/**" } : { image: `app/${at % 2}:v${at}` };
      const { status } = await post(proxy.adminUrl, asked);
      t.ok([200, 409].includes(status));
    }
    isOver = true;
  })();
  const puller = async ({ at, bytes, layer }: (typeof images)[number]): Promise<void> => {
    while (!isOver) {
      const base = `${proxy.url}/v2/app/${at % 2}`;
      const manifest = await fetch(`${base}/manifests/v${at}`);
      await manifest.arrayBuffer();
      if (manifest.status !== 200 || !bytes.equals(await fetchBytes(`${base}/blobs/${layer}`))) {
        throw new Error(`v${at} came wrong, with ${manifest.status}`);
      }
    }
  };
  await Promise.all([purging, ...images.map(puller)]);
  t.same(proxy.complaints, []);
});

t.test("hostile requests are refused, and change nothing", async (t) => {
  const upstream = await startUpstream(t);
  const { layer } = addImage(upstream, "app", "v1", randomBytes(1000));
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }] });
  await pull(proxy, "app:v1", layer);
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 2);
  const wrong: readonly unknown[] = [
    {},
    [],
    "null",
    "{",
    '"team.example/app"',
    '{"__proto__": {"image": "team.example/app"}}',
    '{"constructor": {"prototype": {}}}',
    { image: "" },
    { image: 7 },
    { image: ["team.example/app"] },
    { image: "x".repeat(600) },
    { image: "**" },
    { image: "*" },
    { image: "**:v1" },
    { image: "team.example/../app" },
    { image: "team.example/App" },
    { image: "team.example/app:" },
    { image: "team.example/app:*" },
    { image: "team.example/app@sha256:x" },
    { image: `team.example/app:v1@${layer}` },
    { image: "team.example/app\u0000" },
    { image: "https://team.example/app" },
    { image: "team.example/app", upstream: "team.example" },
    { image: "team.example/app", all: true },
    { image: "team.example/app", dryRun: "yes" },
    { upstream: "team.example/app" },
    { upstream: "%" },
    { olderThanSeconds: 0 },
    { olderThanSeconds: -1 },
    { olderThanSeconds: 1e12 },
    { olderThanSeconds: "30d" },
    { image: "team.example/app:v1", olderThanSeconds: 1 },
  ];
  for (const body of wrong) {
    const { status, answer } = await post(proxy.adminUrl, body);
    t.equal(status, 400, JSON.stringify(body));
    t.match(answer, { error: /\w/ });
  }
  t.equal((await post(proxy.adminUrl, { image: "x".repeat(5000) })).status, 413);
  const form = await fetch(`${proxy.adminUrl}/api/v1/purge`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: "image=team.example/app",
  });
  t.equal(form.status, 415);
  const page = { origin: "https://page.example", "content-type": "application/json" };
  for (const [path, method] of [
    ["purge", "POST"],
    ["scrub", "POST"],
    ["scrub", "GET"],
  ] as const) {
    const body = method === "POST" ? { body: "{}" } : {};
    const url = `${proxy.adminUrl}/api/v1/${path}`;
    t.equal((await fetch(url, { method, headers: page, ...body })).status, 403, path);
  }
  for (const body of [{ bytesPerSecond: 1 }, { bytesPerSecond: 1e15 }, { rate: 1 }, []]) {
    t.equal((await post(proxy.adminUrl, body, "scrub")).status, 400, JSON.stringify(body));
  }
  t.equal(await proxy.metric('sluice_cache_blobs{store="disk"}'), 2);
});

t.test("a scrub heals what is damaged while it is pulled", async (t) => {
  const upstream = await startUpstream(t);
  const bytes = randomBytes(300_000);
  const { layer } = addImage(upstream, "app", "v1", bytes);
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [upstream.url] }],
    verifyReads: "never",
  });
  await pull(proxy, "app:v1", layer);
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 2);
  const hex = hexOf(layer);
  const file = join(proxy.dataPath, "v1", "blobs", "sha256", hex.slice(0, 2), hex);
  writeFileSync(file, Buffer.concat([readFileSync(file).subarray(1), Buffer.from("x")]));
  const state = async (): Promise<Readonly<Record<string, unknown>>> => {
    const response = await fetch(`${proxy.adminUrl}/api/v1/scrub`);
    return (await response.json()) as Readonly<Record<string, unknown>>;
  };
  t.same(await state(), { state: "never" });
  const slow = { bytesPerSecond: 1_048_576 };
  t.equal((await post(proxy.adminUrl, slow, "scrub")).status, 202);
  t.equal((await post(proxy.adminUrl, slow, "scrub")).status, 409, "one at a time");
  while ((await state())["state"] === "running") {
    // Each look is a request of its own.
  }
  t.match(await state(), {
    state: "done",
    report: { blobs: 2, damaged: 1, damagedDigests: [layer], freedBytes: 300_000 },
  });
  t.ok(bytes.equals(await fetchBytes(`${proxy.url}/v2/app/blobs/${layer}`)));
  t.equal(await proxy.metric('sluice_cache_corruptions_total{store="disk"}'), 1);
});

t.test("the command line purges the folder, or has its proxy do it", async (t) => {
  const upstream = await startUpstream(t);
  const { layer } = addImage(upstream, "app", "v1", randomBytes(1000));
  const other = addImage(upstream, "other", "v1", randomBytes(1000));
  const folder = t.testdir();
  // Everything of one configuration, so that both know the folder and the token.
  const config = {
    storage: { disk: { path: join(folder, "data") } },
    upstreams: { "team.example": { url: upstream.url } },
    defaultUpstream: "team.example",
    adminTokenFile: "admin.token",
  };
  const files = { "admin.token": "t0ken-t0ken" };
  const sluice = await SluiceProcess.start({ folder, config, files });
  t.teardown(() => sluice.kill());
  await pull({ url: sluice.registry }, "app:v1", layer);
  await pull({ url: sluice.registry }, "other:v1", other.layer);
  while ((await sluice.metric("sluice_cache_blobs")) < 4) {
    // Until all is committed; each look is a request of its own.
  }
  const args = ["--config", join(folder, "sluice.yaml")];
  const nobody = await runSluice(["purge", "app", ...args]);
  t.equal(nobody.code, 1, "its admin port is not the one of the configuration");
  t.match(nobody.output, /admin API at http:\/\/127\.0\.0\.1:5001 .*--admin says where it is/);
  const admin = [...args, "--admin", sluice.admin];
  writeFileSync(join(folder, "wrong.token"), "wrong");
  const refused = await runSluice([
    ...["purge", "app", ...admin, "--token-file", join(folder, "wrong.token")],
  ]);
  t.equal(refused.code, 1);
  t.match(refused.output, /token/);
  const far = await runSluice(["purge", "app:v1", ...admin]);
  t.same([far.code], [0]);
  t.match(far.stdout, /^team\.example\/app\nremoved 1 tags and 2 blobs of 1 repositories, /);
  t.equal((await runSluice(["scrub", ...admin])).code, 0);
  t.equal(await sluice.metric("sluice_cache_blobs"), 2);
  await sluice.stop();

  const scrubbed = await runSluice(["scrub", ...args, "--json"]);
  t.match(JSON.parse(scrubbed.stdout), { blobs: 2, damaged: 0 });
  const near = await runSluice(["purge", "--upstream", "team.example", ...args, "--json"]);
  t.same([near.code], [0]);
  t.match(JSON.parse(near.stdout), { repositories: 1, tags: 1, blobs: 2 });
  const nothing = await runSluice(["purge", "app:v1", ...args]);
  t.equal(nothing.code, 1);
  t.match(nothing.output, /nothing that is held matches\. Names are/);
  const usage: readonly string[][] = [[], ["app", "--upstream", "x"], ["--older-than", "30"]];
  for (const wrong of usage) {
    t.equal((await runSluice(["purge", ...wrong, ...args])).code, 2, wrong.join(" "));
  }
  t.equal((await runSluice(["scrub", "--rate", "1", ...args])).code, 2);
});
