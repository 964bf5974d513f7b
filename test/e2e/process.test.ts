import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { request as requestTls } from "node:https";
import { join } from "node:path";
import t from "tap";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { fetchBytes, open } from "../support/requests.ts";
import { SluiceProcess } from "../support/sluice-process.ts";
import { GOOD_CERTIFICATE, TEST_CA, WRONG_NAME_CERTIFICATE } from "../support/tls-fixture.ts";

const MIB = 1024 * 1024;
const REPOSITORY = "app/web";

t.test(
  "killed in the middle of a download, it starts again and serves nothing wrong",
  async (t) => {
    const upstream = await startFakeUpstream();
    t.teardown(() => upstream.close());
    const folder = t.testdir();
    const config = { upstreams: { "team.example": { url: upstream.url } } };
    const held = randomBytes(2 * MIB);
    const cut = randomBytes(4 * MIB);
    const [heldDigest, cutDigest] = [held, cut].map((b) => upstream.addBlob(REPOSITORY, b));
    const path = (digest: string | undefined): string =>
      `/v2/team.example/${REPOSITORY}/blobs/${digest}`;

    const first = await SluiceProcess.start({ config, folder });
    t.ok(held.equals(await fetchBytes(first.registry + path(heldDigest))));
    while ((await first.metric("sluice_cache_blobs")) < 1) {
      // until it is committed; each look is a request of its own
    }
    const stalled = upstream.on(
      { path: `/v2/${REPOSITORY}/blobs/${cutDigest}` },
      { stallAfterBytes: 3 * MIB },
      1,
    );
    const response = await open(first.registry + path(cutDigest));
    await once(response, "data");
    await first.kill();
    stalled.release();
    const ingest = join(folder, "data", "v1", "ingest");
    t.equal(readdirSync(ingest).length, 1, "half a blob is left");

    await using again = await SluiceProcess.start({ config, folder });
    t.ok(cut.equals(await fetchBytes(again.registry + path(cutDigest))));
    await upstream.stop();
    t.ok(
      held.equals(await fetchBytes(again.registry + path(heldDigest))),
      "what was held still is",
    );
    t.equal(await again.metric("sluice_cache_corruptions_total"), 0);
    while ((await again.metric("sluice_cache_blobs")) < 2) {
      // until what was fetched again is committed, too
    }
    t.equal(readdirSync(ingest).length, 0, "and is gone after the next start");
  },
);

t.test("it drains: not ready at once, still accepting, finishing what it sends", async (t) => {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const bytes = randomBytes(2 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const stalled = upstream.on({ digest }, { stallAfterBytes: MIB });
  await using sluice = await SluiceProcess.start({
    config: { upstreams: { "team.example": { url: upstream.url } } },
  });
  const url = `${sluice.registry}/v2/team.example/${REPOSITORY}/blobs/${digest}`;
  const response = await open(url);
  const body: Buffer[] = [];
  response.on("data", (chunk: Buffer) => body.push(chunk));
  t.equal((await fetch(`${sluice.admin}/readyz`)).status, 200);
  sluice.signal("SIGTERM");
  while ((await fetch(`${sluice.admin}/readyz`)).status !== 503) {
    // the signal is on its way
  }
  t.equal((await fetch(`${sluice.admin}/livez`)).status, 200);
  const late = await fetch(`${sluice.registry}/v2/`);
  t.equal(late.status, 200, "load balancers take their time to notice");
  t.equal(late.headers.get("connection"), "close");
  stalled.release();
  await once(response, "end");
  t.ok(bytes.equals(Buffer.concat(body)));
  t.equal(await sluice.stop(), 0);
});

t.test("a second signal means now", async (t) => {
  await using sluice = await SluiceProcess.start({ config: { upstreams: { "a.example": {} } } });
  sluice.signal("SIGTERM");
  while ((await fetch(`${sluice.admin}/readyz`)).status !== 503) {
    // the signal is on its way
  }
  t.equal(await sluice.stop(), 0);
});

t.test("a changed file is taken over while pulls go on; a wrong one is not", async (t) => {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const manifest = { schemaVersion: 2 };
  upstream.addManifest(REPOSITORY, "v1", manifest, "application/vnd.oci.image.manifest.v1+json");
  const folder = t.testdir();
  const file = join(folder, "sluice.yaml");
  await using sluice = await SluiceProcess.start({
    config: `upstreams:\n  old.example: { url: "${upstream.url}" }\n`,
    folder,
  });
  const pull = async (name: string): Promise<number> =>
    (await fetch(`${sluice.registry}/v2/${name}/${REPOSITORY}/manifests/v1`)).status;
  t.equal(await pull("old.example"), 200);
  t.equal(await pull("new.example"), 403);

  writeFileSync(file, "upstreams:\n  old.example: { url: ftp://nowhere }\n");
  sluice.signal("SIGHUP");
  while ((await sluice.metric("sluice_config_reloads_total", { outcome: "refused" })) === 0) {
    // until it was read
  }
  t.equal(await pull("old.example"), 200, "the old configuration goes on");

  writeFileSync(file, `upstreams:\n  new.example: { url: "${upstream.url}" }\n`);
  sluice.signal("SIGHUP");
  while ((await sluice.metric("sluice_config_reloads_total", { outcome: "applied" })) === 0) {
    // until it was applied
  }
  t.equal(await pull("new.example"), 200);
  t.equal(await pull("old.example"), 403);
  const metrics = await (await fetch(`${sluice.admin}/metrics`)).text();
  t.match(metrics, 'sluice_upstream_up{upstream="new.example"} 1');
  t.notMatch(metrics, 'sluice_upstream_up{upstream="old.example"}', "nobody is alerted of it");
});

t.test("it serves with TLS, and takes a renewed certificate without a restart", async (t) => {
  const folder = t.testdir();
  const files = {
    "tls.crt": WRONG_NAME_CERTIFICATE.cert,
    "tls.key": WRONG_NAME_CERTIFICATE.key,
  };
  await using sluice = await SluiceProcess.start({
    config: {
      tls: { certFile: "tls.crt", keyFile: "tls.key" },
      upstreams: { "a.example": {} },
    },
    files,
    folder,
  });
  const ping = (): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const request = requestTls(`${sluice.registry}/v2/`, { ca: TEST_CA, agent: false });
      request.on("response", (response) => resolve(response.resume().statusCode));
      request.on("error", reject);
      request.end();
    });
  await t.rejects(ping(), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
  writeFileSync(join(folder, "tls.key"), GOOD_CERTIFICATE.key);
  writeFileSync(join(folder, "tls.crt"), GOOD_CERTIFICATE.cert);
  sluice.signal("SIGHUP");
  while ((await sluice.metric("sluice_config_reloads_total", { outcome: "applied" })) === 0) {
    // until it was applied
  }
  t.equal(await ping(), 200);
});

t.test("starting asks no upstream, and needs none", async (t) => {
  const folder = t.testdir();
  await using sluice = await SluiceProcess.start({
    config: "upstreams:\n  docker.io: {}\n",
    folder,
  });
  t.equal((await fetch(`${sluice.registry}/v2/`)).status, 200);
  t.equal((await fetch(`${sluice.admin}/readyz`)).status, 200);
  t.equal(await sluice.metric("sluice_upstream_requests_total"), 0);
});
