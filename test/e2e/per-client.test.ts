import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";

const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  "alice:a-secret": ["a/app", "both/app"],
  "bob:b-secret": ["b/app", "both/app"],
  ":": ["public/app"],
};
const ALICE = basic("alice:a-secret");
const BOB = basic("bob:b-secret");

interface Rig {
  readonly proxy: TestProxy;
  readonly upstream: FakeUpstream;
  readonly layers: Readonly<Record<string, Digest>>;
  readonly digests: Readonly<Record<string, Digest>>;
  ask(path: string, authorization?: string): Promise<Response>;
}

async function start(t: Test, now?: () => number): Promise<Rig> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const layers: Record<string, Digest> = {};
  const digests: Record<string, Digest> = {};
  for (const repository of ["a/app", "b/app", "both/app", "public/app"]) {
    const layer = upstream.addBlob(repository, Buffer.from(`layer of ${repository}`.padEnd(17)));
    const config = upstream.addBlob(repository, Buffer.from("{}"));
    layers[repository] = layer;
    digests[repository] = upstream.addManifest(repository, "v1", imageOf(config, layer));
  }
  const may = (login: string, repository: string): boolean =>
    [...(RIGHTS[login] ?? []), ...(RIGHTS[":"] ?? [])].includes(repository);
  await upstream.requireAuth({ scheme: "basic", may });
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [upstream.url], access: "per-client" }],
    ...(now !== undefined && { now }),
  });
  const ask = (path: string, authorization?: string): Promise<Response> =>
    fetch(
      `${proxy.url}/v2/${path}`,
      authorization === undefined ? {} : { headers: { authorization } },
    );
  return { proxy, upstream, layers, digests, ask };
}

function imageOf(config: Digest, layer: Digest): object {
  return {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: config, size: 2 },
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: layer, size: 17 }],
  };
}

function basic(login: string): string {
  return `Basic ${Buffer.from(login).toString("base64")}`;
}

t.test("what is held is served only to whoever may read it there", async (t) => {
  const { ask, digests, layers, upstream } = await start(t);
  const digest = digests["a/app"] ?? "";
  const paths = [
    "a/app/manifests/v1",
    `a/app/manifests/${digest}`,
    `a/app/blobs/${layers["a/app"]}`,
    `a/app/blobs/${digest}`,
    "a/app/tags/list",
    `a/app/referrers/${digest}`,
  ];
  for (const path of paths) {
    t.equal((await ask(path, ALICE)).status, 200, `alice: ${path}`);
  }
  for (const path of paths) {
    t.equal((await ask(path, BOB)).status, 403, `bob: ${path}`);
    t.equal((await ask(path, basic("alice:wrong"))).status, 403, `a wrong password: ${path}`);
    const nobody = await ask(path);
    t.equal(nobody.status, 401, `nobody: ${path}`);
    t.equal(nobody.headers.get("www-authenticate"), 'Basic realm="team.example", charset="UTF-8"');
  }
  const seen = upstream.seen({ path: "/v2/a/app/manifests/v1", method: "HEAD" });
  t.equal(seen.filter(({ headers }) => headers.authorization === ALICE).length, 1, "one HEAD");
});

t.test("a digest that is held elsewhere is no right to it", async (t) => {
  const { ask, layers, digests } = await start(t);
  t.equal((await ask("a/app/manifests/v1", ALICE)).status, 200);
  const layer = layers["a/app"] ?? "";
  t.equal((await (await ask(`a/app/blobs/${layer}`, ALICE)).text()).length, 17);
  for (const repository of ["b/app", "both/app", "public/app"]) {
    t.equal((await ask(`${repository}/manifests/v1`, BOB)).status, 200, repository);
    t.equal((await ask(`${repository}/blobs/${layer}`, BOB)).status, 404, repository);
    t.equal((await ask(`${repository}/manifests/${digests["a/app"]}`, BOB)).status, 404);
  }
});

t.test("a manifest that names another repository's layer is no right to it", async (t) => {
  const { ask, layers, upstream } = await start(t);
  t.equal((await ask("a/app/manifests/v1", ALICE)).status, 200);
  const layer = layers["a/app"] ?? "";
  t.equal((await ask(`a/app/blobs/${layer}`, ALICE)).status, 200);
  const config = upstream.addBlob("b/app", Buffer.from("{}"));
  upstream.addManifest("b/app", "thief", imageOf(config, layer as Digest));
  t.equal((await ask("b/app/manifests/thief", BOB)).status, 200);
  t.equal((await ask(`b/app/blobs/${layer}`, BOB)).status, 404);
});

t.test("public images need no log-in, and a right that ends is seen within a minute", async (t) => {
  let nowMs = Date.now();
  const { ask, upstream } = await start(t, () => nowMs);
  t.equal((await ask("public/app/manifests/v1")).status, 200);
  t.equal((await ask("a/app/manifests/v1", ALICE)).status, 200);
  await upstream.requireAuth({ scheme: "basic", may: () => false });
  nowMs += 59_000;
  t.equal((await ask("a/app/manifests/v1", ALICE)).status, 403, "the tag was not fresh any more");
  nowMs += 2000;
  t.equal((await ask("a/app/manifests/v1", ALICE)).status, 403);
  t.equal((await ask("public/app/manifests/v1")).status, 401);
  await upstream.stop();
  nowMs += 10_000;
  t.equal((await ask("a/app/manifests/v1", ALICE)).status, 503, "nobody can say whether she may");
});
