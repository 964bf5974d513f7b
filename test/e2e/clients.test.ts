import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Client } from "../support/clients.ts";
import { CLIENTS, imageOf, pullOnce, runRegctl } from "../support/clients.ts";
import { CountingProxy } from "../support/counting-proxy.ts";
import { expectEachBlobOnce, expectPull } from "../support/e2e-expectations.ts";
import type { Item } from "../support/e2e-items.ts";
import { SBOM_TYPE, SCAN_TYPE } from "../support/e2e-items.ts";
import type { RiggedSluice } from "../support/e2e-rig.ts";
import { Rig } from "../support/e2e-rig.ts";
import { run } from "../support/processes.ts";
import { toolOptions } from "../support/tools.ts";

const REGISTRIES = ["docker-registry", "distribution-3"];

t.setTimeout(300_000);

t.test("real clients pull real images", toolOptions(...REGISTRIES), async (t) => {
  const rig = await Rig.start();
  t.teardown(() => rig[Symbol.asyncDispose]());

  for (const client of CLIENTS) {
    t.test(
      `${client.name} pulls cold, warm, and without upstreams`,
      toolOptions(client.name),
      (t) => pullThreeTimes(t, rig, client),
    );
  }

  t.test("a client shows why it cannot pull", async (t) => {
    const sluice = await rig.sluice();
    t.teardown(() => sluice[Symbol.asyncDispose]());
    const refused = await rig.sluice({ password: "wrong" });
    t.teardown(() => refused[Symbol.asyncDispose]());
    for (const client of CLIENTS) {
      t.test(client.name, toolOptions(client.name), async (t) => {
        await expectNotFound(t, rig, client, sluice);
        await expectDenied(t, rig, client, refused);
      });
    }
  });

  t.test(
    "four clients at once fetch each blob once",
    toolOptions("crane", "skopeo", "regctl", "oras"),
    async (t) => {
      await using sluice = await rig.sluice();
      const item = rig.item("app/web");
      const clients = CLIENTS.filter((client) => client.name !== "podman");
      await Promise.all(clients.map((client) => expectPull(t, rig, { client, item, sluice })));
      expectEachBlobOnce(t, sluice, item, "everything");
    },
  );

  t.test(
    "an upstream that breaks off is not noticed by a client",
    toolOptions("crane"),
    async (t) => {
      await using sluice = await rig.sluice();
      const item = rig.item("app/web");
      sluice.cutOnce(largestBlob(item), 1_000_000);
      await expectPull(t, rig, { client: clientNamed("crane"), item, sluice });
      const ranges = sluice.served().flatMap((passed) => passed.range ?? []);
      t.same(ranges.filter((range) => /^bytes=[1-9]\d*-/.test(range)).length, 1, "one resumption");
    },
  );

  t.test("regctl resumes where its connection broke", toolOptions("regctl"), async (t) => {
    await using sluice = await rig.sluice();
    await using wire = await CountingProxy.start(sluice.process.registry);
    const item = rig.item("app/web");
    wire.cutOnce(largestBlob(item), 1_000_000);
    const client = clientNamed("regctl");
    await expectPull(t, rig, { client, item, sluice, host: wire.host });
    const resumed = wire.take().filter((passed) => passed.range !== undefined);
    t.same(
      resumed.map((passed) => passed.status),
      [206],
      "its second request was answered from where it stopped",
    );
    expectEachBlobOnce(t, sluice, item, "everything");
  });

  t.test("oras unpacks a Helm chart", toolOptions("oras"), async (t) => {
    await using sluice = await rig.sluice();
    const item = rig.item("charts/demo");
    const folder = join(rig.folder, "chart");
    await mkdir(folder);
    const image = imageOf(rig.request(item, sluice.host, "chart"));
    const { code, output } = await run("oras", ["pull", "--no-tty", "--plain-http", image], {
      cwd: folder,
    });
    t.equal(code, 0, output);
    const chart = await readFile(join(folder, "demo-1.0.0.tgz"));
    t.same(chart, Buffer.from(item.artifact.blobs[1]?.bytes ?? []));
  });

  t.test(
    "clients find referrers that the upstream keeps by tag",
    toolOptions("oras", "regctl"),
    async (t) => {
      await using sluice = await rig.sluice();
      for (const item of [rig.item("app/web"), rig.item("app/multi")]) {
        const image = imageOf(rig.request(item, sluice.host, "referrers"));
        const discover = ["discover", "--plain-http", "--format", "json"];
        const oras = await run("oras", [...discover, image]);
        t.same(typesIn(oras.output), [SBOM_TYPE, SCAN_TYPE], oras.output);
        const filtered = await run("oras", [...discover, "--artifact-type", SCAN_TYPE, image]);
        t.same(typesIn(filtered.output), [SCAN_TYPE], filtered.output);
        const regctl = await runRegctl(sluice.host, [
          "artifact",
          "list",
          "--format",
          "body",
          image,
        ]);
        t.same(typesIn(regctl.output), [SBOM_TYPE, SCAN_TYPE], regctl.output);
      }
    },
  );
});

/** Cold: each blob once. Warm: no blob at all. Without upstreams: the same bytes. */
async function pullThreeTimes(t: Test, rig: Rig, client: Client): Promise<void> {
  await using sluice = await rig.sluice();
  const items = rig.items.filter((item) => item.isImage || client.takesArtifacts);
  rig.takeTokenScopes();
  for (const item of items) {
    await expectPull(t, rig, { client, item, sluice, round: "cold" });
    expectEachBlobOnce(t, sluice, item, client.keeps);
  }
  for (const item of items) {
    await expectPull(t, rig, { client, item, sluice, round: "warm" });
  }
  const asked = sluice.served().filter((passed) => passed.method === "GET");
  t.same(asked, [], "the warm round fetched nothing");
  const scopes = items
    .filter((item) => item.upstream === "token.example")
    .map((item) => `repository:${item.repository}:pull`);
  t.same(rig.takeTokenScopes(), scopes, "one token a repository, and none that could push");
  await sluice.stopUpstreams();
  for (const item of items) {
    await expectPull(t, rig, { client, item, sluice, round: "without upstreams" });
  }
}

async function expectNotFound(
  t: Test,
  rig: Rig,
  client: Client,
  sluice: RiggedSluice,
): Promise<void> {
  const request = rig.request(rig.item("app/legacy"), sluice.host, client.name);
  const { ran } = await pullOnce(client, { ...request, tag: "no-such-tag" });
  t.not(ran.code, 0, "a tag that does not exist");
  t.match(ran.output, /not found|unknown/i);
}

async function expectDenied(
  t: Test,
  rig: Rig,
  client: Client,
  refused: RiggedSluice,
): Promise<void> {
  for (const item of [rig.item("app/legacy"), rig.item("app/multi")]) {
    const { ran } = await pullOnce(client, rig.request(item, refused.host, client.name));
    t.not(ran.code, 0, "a wrong password");
    t.match(ran.output, /denied/i);
    const reason = new RegExp(`${item.upstream}.*(?:credential|password)`, "s");
    t.match(ran.output, reason, "whose credential was refused");
  }
}

function clientNamed(name: string): Client {
  const client = CLIENTS.find((client) => client.name === name);
  if (!client) {
    throw new Error(`no client is called ${name}`);
  }
  return client;
}

function largestBlob(item: Item): RegExp {
  const sizes = item.artifact.blobs.toSorted((a, b) => b.bytes.byteLength - a.bytes.byteLength);
  return new RegExp(`/blobs/${sizes[0]?.digest}`);
}

/** The artifact types named in JSON, whatever its shape, without the subject's own. */
function typesIn(json: string): string[] {
  const found = [...json.matchAll(/"artifactType":\s*"([^"]+)"/g)].map((match) => match[1] ?? "");
  return [...new Set(found)].sort();
}
