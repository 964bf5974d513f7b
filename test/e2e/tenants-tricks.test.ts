import { request as sendRaw } from "node:http";
import type { Test } from "tap";
import t from "tap";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";
import type { TenantImage, TenantRegistry } from "../support/tenant-registry.ts";
import {
  basic,
  imageNaming,
  indexNaming,
  may,
  startTenantRegistry,
} from "../support/tenant-registry.ts";
import { ALICE, BOB, startPerClient } from "../support/tenant-rig.ts";
import type { Reply } from "../support/tenant-rows.ts";
import { send } from "../support/tenant-rows.ts";

t.setTimeout(120_000);

interface Rig {
  readonly registry: TenantRegistry;
  readonly proxy: TestProxy;
  /** Of tenant a. */
  readonly theirs: TenantImage;
  readonly alice: (path: string) => Promise<Reply>;
  readonly bob: (path: string) => Promise<Reply>;
}

async function start(t: Test, own = false): Promise<Rig> {
  const registry = await startTenantRegistry(t, "basic");
  const proxy = await startPerClient(t, registry, { own });
  const theirs = registry.images.get("a/app");
  if (theirs === undefined) {
    throw new Error("tenant a has no image");
  }
  const as =
    (authorization: string | undefined) =>
    (path: string): Promise<Reply> =>
      send(proxy.url, { path: `/v2/${path}` }, authorization);
  return { registry, proxy, theirs, alice: as(ALICE.authorization), bob: as(BOB.authorization) };
}

/** All that may be asked about one digest, in a repository of the thief's. */
async function statusesOf({ proxy }: Rig, digest: string): Promise<readonly number[]> {
  const asks = [
    { path: `/v2/b/app/blobs/${digest}` },
    { path: `/v2/b/app/blobs/${digest}`, method: "HEAD" as const },
    { path: `/v2/b/app/blobs/${digest}`, headers: { range: "bytes=0-0" } },
    { path: `/v2/b/app/blobs/${digest}`, headers: { range: "bytes=999999-" } },
    { path: `/v2/b/app/blobs/${digest}`, headers: { "if-none-match": "*" } },
    { path: `/v2/b/app/manifests/${digest}` },
    { path: `/v2/b/app/manifests/${digest}`, headers: { "if-none-match": "*" } },
  ];
  const replies = await Promise.all(asks.map((ask) => send(proxy.url, ask, BOB.authorization)));
  return replies.map(({ status }) => status);
}

const NONE = [404, 404, 404, 404, 404, 404, 404];

t.test("whatever a manifest of one's own names, it is no way to another's", async (t) => {
  for (const own of [false, true]) {
    const rig = await start(t, own);
    const { registry, theirs, alice, bob } = rig;
    const { upstream } = registry;
    const layer = { digest: theirs.layer, size: theirs.layerText.length };
    const url = `${upstream.url}/v2/a/app/blobs/${theirs.layer}`;
    const image = { digest: theirs.image, size: 1 };
    const subject = { mediaType: "application/vnd.oci.image.manifest.v1+json", ...image };
    const thieves: readonly object[] = [
      imageNaming(layer, []),
      imageNaming(image, [layer, image, { digest: theirs.child, size: 1 }]),
      imageNaming(layer, [{ ...layer, urls: [url] }]),
      { ...imageNaming(layer, []), subject },
      indexNaming([theirs.image, theirs.child, theirs.index, theirs.layer]),
      indexNaming([theirs.index]),
    ];
    const digests = thieves.map((thief, at) => upstream.addManifest("b/app", `thief${at}`, thief));
    upstream.addTag("b/app", theirs.image.replace(":", "-"), digests[4] ?? theirs.image);
    for (const [at, digest] of digests.entries()) {
      t.equal((await bob(`b/app/manifests/thief${at}`)).status, 200);
      t.equal((await bob(`b/app/manifests/${digest}`)).status, 200);
    }
    const wanted = [theirs.layer, theirs.image, theirs.child, theirs.index, theirs.referrer];
    for (const digest of wanted) {
      t.same(await statusesOf(rig, digest), NONE, "while it is not held");
    }
    for (const path of ["manifests/v1", "manifests/multi", `blobs/${theirs.layer}`]) {
      t.equal((await alice(`a/app/${path}`)).status, 200);
    }
    t.equal((await alice(`a/app/manifests/${theirs.child}`)).status, 200);
    t.equal((await alice(`a/app/manifests/${theirs.referrer}`)).status, 200);
    for (const digest of wanted) {
      t.same(await statusesOf(rig, digest), NONE, "once it is held");
    }
    const referrers = (await bob(`b/app/referrers/${theirs.image}`)).body;
    t.match(referrers, digests[3], "the thief's own");
    t.notMatch(referrers, theirs.referrer);
  }
});

t.test("a running download is joined by those alone whose repository has it", async (t) => {
  for (const own of [false, true]) {
    const rig = await start(t, own);
    const { registry, theirs, alice, bob } = rig;
    const { upstream } = registry;
    const layer = { digest: theirs.layer, size: theirs.layerText.length };
    upstream.addManifest("b/app", "thief", imageNaming(layer, [layer]));
    t.equal((await bob("b/app/manifests/thief")).status, 200);
    t.equal((await alice("a/app/manifests/v1")).status, 200);
    const stalled = upstream.on({ method: "GET", digest: theirs.layer }, { stallAfterBytes: 5 }, 1);
    const arrived = upstream.waitFor({ method: "GET", digest: theirs.layer });
    const first = alice(`a/app/blobs/${theirs.layer}`);
    await arrived;
    t.same(await statusesOf(rig, theirs.layer), NONE, "while it runs");

    // He asks while it runs, and his registry answers when all of it is there.
    const path = `/v2/both/app/blobs/${theirs.layer}`;
    const slow = upstream.on({ method: "HEAD", path }, { hang: true });
    const asked = upstream.waitFor({ method: "HEAD", path });
    t.equal((await bob("both/app/manifests/v1")).status, 200);
    const late = bob(`both/app/blobs/${theirs.layer}`);
    await asked;
    stalled.release();
    t.equal((await first).body, theirs.layerText);
    slow.release();
    t.equal((await late).status, 404);
  }
});

t.test("one client's refusal is nothing to another who pulls the same", async (t) => {
  for (const status of [401, 403, 404, 429]) {
    const { registry, proxy, alice, bob } = await start(t);
    const { upstream } = registry;
    const path = `/v2/both/app/blobs/${registry.images.get("both/app")?.layer}`;
    t.equal((await alice("both/app/manifests/v1")).status, 200);
    t.equal((await bob("both/app/manifests/v1")).status, 200);
    const refused = upstream.on({ method: "GET", path }, { hang: true, status }, 1);
    const arrived = upstream.waitFor({ method: "GET", path });
    const hers = send(proxy.url, { path }, ALICE.authorization);
    await arrived;
    const his = send(proxy.url, { path }, BOB.authorization);
    await proxy.metricBecomes("sluice_fill_readers", 2);
    refused.release();
    t.equal((await hers).status, status === 401 ? 403 : status, `alice: ${status}`);
    t.equal((await his).status, 200, `bob, when alice got ${status}`);
  }
});

t.test("what one was told is not there, another may find, and the reverse", async (t) => {
  const { registry, alice, bob, theirs } = await start(t);
  t.equal((await bob("both/app/manifests/v1")).status, 200);
  t.equal((await bob("both/app/manifests/late")).status, 404);
  registry.upstream.addTag(
    "both/app",
    "late",
    registry.images.get("both/app")?.image ?? theirs.image,
  );
  t.equal((await alice("both/app/manifests/late")).status, 200, "asked as alice");
  t.equal((await bob("a/app/manifests/v1")).status, 403);
  t.equal((await alice("a/app/manifests/v1")).status, 200);
  t.equal((await bob("a/app/manifests/v1")).status, 403);
});

t.test("no other spelling of a name is another name", async (t) => {
  const registry = await startTenantRegistry(t, "basic");
  const { url } = await startProxy(t, {
    upstreams: [
      { urls: [registry.upstream.url], access: "per-client", aliases: ["alias.example"] },
    ],
  });
  const spellings: readonly (readonly [path: string, alice: number])[] = [
    ["a/app/manifests/v1", 200],
    ["team.example/a/app/manifests/v1", 200],
    ["alias.example/a/app/manifests/v1", 200],
    ["a/app/manifests/v1?ns=team.example", 200],
    ["a/app/manifests/v1?ns=TEAM.example", 200],
    ["a/app/manifests/v1?ns=alias.example", 200],
    ["alias.example/a/app/manifests/v1?ns=team.example", 200],
    ["team.example/team.example/a/app/manifests/v1", 403],
    ["other.example/a/app/manifests/v1", 403],
    ["A/app/manifests/v1", 400],
    ["a//app/manifests/v1", 400],
    ["b/../a/app/manifests/v1", 400],
    ["a%2fapp/manifests/v1", 400],
    ["a/app/manifests/v1?ns=team.example&ns=other.example", 400],
    ["a/app/manifests/v1/", 400],
  ];
  for (const [path, status] of spellings) {
    const ask = { path: `/v2/${path}` };
    const hers = await rawStatus(url, ask.path, [ALICE.authorization ?? ""]);
    t.ok(hers === status || (status === 400 && hers === 404), `alice: ${path}: ${hers}`);
    const his = await rawStatus(url, ask.path, [BOB.authorization ?? ""]);
    t.ok(his >= 400 && his !== 401, `bob: ${path}: ${his}`);
    const nobodys = await rawStatus(url, ask.path, []);
    t.equal(nobodys, status === 200 ? 401 : nobodys, `nobody: ${path}`);
    t.ok(nobodys >= 400, `nobody: ${path}`);
  }
});

/** As it stands: fetch would tidy up the path, and joins headers. */
function rawStatus(url: string, path: string, authorization: readonly string[]): Promise<number> {
  const { host, hostname, port } = new URL(url);
  const headers = ["host", host, ...authorization.flatMap((value) => ["authorization", value])];
  return new Promise((resolve, reject) => {
    const request = sendRaw({ hostname, port, path, headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", reject).end();
  });
}

t.test("an Authorization header is one log-in, or none", async (t) => {
  const { proxy, alice } = await start(t);
  t.equal((await alice("a/app/manifests/v1")).status, 200);
  const hers = ALICE.authorization ?? "";
  const his = BOB.authorization ?? "";
  const base64 = hers.slice("Basic ".length);
  const rows: readonly (readonly [what: string, headers: readonly string[], status: number])[] = [
    ["as it should be", [hers], 200],
    ["in small letters", [`basic ${base64}`], 200],
    ["the scheme alone", ["Basic"], 401],
    ["two, his first", [his, hers], 403],
    ["two in one", [`${his}, ${hers}`], 401],
    ["two in one, hers first", [`${hers}, ${his}`], 401],
    ["with what follows", [`${hers} x`], 401],
    ["not in base64", ["Basic ???"], 401],
    ["in another spelling of base64", [`Basic ${base64.replace(/=*$/, "")}`], 401],
    ["without a colon", [`Basic ${Buffer.from("alice").toString("base64")}`], 401],
    ["not in UTF-8", [`Basic ${Buffer.from("alice:\xe4", "latin1").toString("base64")}`], 401],
    ["in UTF-8, and wrong", [basic("älice:ä-secret")], 403],
    ["with NUL", [basic("alice:a-secret\0")], 403],
    ["with a line break", [basic("alice:a-secret\r\nx: y")], 403],
    ["as a Bearer", [`Bearer ${base64}`], 403],
    [
      "of a scheme of Windows",
      ["NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAGAbEdAAAADw=="],
      401,
    ],
    ["of a scheme with digits", [`Digest2 ${base64}`], 401],
    ["Digest", ['Digest username="alice", realm="x", nonce="y", uri="/", response="z"'], 401],
    ["huge", [basic(`alice:${"a".repeat(40_000)}`)], 431],
  ];
  for (const [what, headers, status] of rows) {
    t.equal(await rawStatus(proxy.url, "/v2/a/app/manifests/v1", headers), status, what);
  }
});

t.test("headers of a client's do not reach the registry, but for its log-in there", async (t) => {
  const { proxy, registry, theirs } = await start(t);
  const headers = {
    authorization: ALICE.authorization ?? "",
    cookie: "session=canary-cookie",
    "proxy-authorization": "Basic canary-proxy",
    "x-api-key": "canary-key",
    "x-forwarded-for": "canary-forwarded",
    connection: "x-api-key",
  };
  const { hostname, port } = new URL(proxy.url);
  for (const path of ["manifests/v1", `blobs/${theirs.layer}`, "tags/list"]) {
    await new Promise<void>((resolve, reject) => {
      const asked = { hostname, port, path: `/v2/a/app/${path}`, headers, agent: false };
      sendRaw(asked, (response) => response.resume().on("end", resolve))
        .on("error", reject)
        .end();
    });
  }
  const seen = registry.upstream.requests.map((request) => JSON.stringify(request.headers));
  t.ok(seen.length > 3);
  t.notMatch(seen.join("\n"), /canary/);
});

t.test("a log-in page that stands in for a registry proves no right", async (t) => {
  const { registry, proxy, theirs, alice } = await start(t);
  t.equal((await alice(`a/app/blobs/${theirs.layer}`)).status, 200);
  const { upstream } = registry;
  const page = {
    status: 200,
    headers: { "content-type": "text/html" },
    body: "<html>Log in</html>",
  };
  upstream.on({ path: "/login" }, page);
  upstream.on({ path: /^\/v2\/a\// }, { redirect: `${upstream.url}/login`, status: 302 });
  await upstream.requireAuth({ scheme: "basic", may: () => true });
  const asks = [
    { path: `/v2/a/app/blobs/${theirs.layer}` },
    { path: `/v2/a/app/blobs/${theirs.layer}`, method: "HEAD" as const },
    { path: `/v2/a/app/manifests/${theirs.image}` },
    { path: "/v2/a/app/tags/list" },
    { path: `/v2/a/app/referrers/${theirs.image}` },
  ];
  for (const ask of asks) {
    for (const authorization of [undefined, BOB.authorization]) {
      const { status, body } = await send(proxy.url, ask, authorization);
      t.ok(status >= 400, `${ask.path}: ${status}`);
      t.notMatch(body, theirs.layerText);
    }
  }
});

t.test("a token for one repository is none for another", async (t) => {
  const registry = await startTenantRegistry(t, "bearer");
  const { url } = await startPerClient(t, registry, { own: true });
  const { tokens } = registry.upstream;
  const realm = new URL(tokens.realm);
  realm.searchParams.set("scope", "repository:a/app:pull");
  const authorization = ALICE.authorization ?? "";
  const { token } = (await (await fetch(realm, { headers: { authorization } })).json()) as {
    readonly token: string;
  };
  const ask = async (path: string): Promise<number> =>
    (await send(url, { path: `/v2/${path}/manifests/v1` }, `Bearer ${token}`)).status;
  t.equal(await ask("a/app"), 200);
  t.equal(await ask("both/app"), 403, "which its owner may read, with another token");
  t.equal(await ask("b/app"), 403);
  tokens.revokeAll();
  t.equal(await ask("both/app"), 403);
  t.equal(may("alice:a-secret", "both/app"), true);
});
