import t from "tap";
import { bytesOf, bytesOfSize, openFake, openUpstream } from "../support/upstream-rig.ts";

const REPOSITORY = "team/app";
const AUTH = { username: "robot", password: "secret" };
const BLOB = bytesOfSize(100_000);

t.test("a blob is fetched from where the registry sends us, its range kept", async (t) => {
  const fake = await openFake(t);
  const cdn = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, BLOB);
  cdn.addBlob(REPOSITORY, BLOB);
  fake.on({ digest }, { redirect: `${cdn.url}/*` });
  for (const status of [301, 302, 303, 307, 308]) {
    fake.on({ digest }, { status, redirect: `${cdn.url}/*` }, 1);
    const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 60_000 });
    t.ok((await bytesOf(body)).equals(BLOB.subarray(60_000)), String(status));
    t.equal(body.url, fake.url, "a resume asks the registry, not the signed url");
    t.equal(cdn.requests.at(-1)?.headers.range, "bytes=60000-");
  }
  t.same(await upstream.headBlob({ repository: REPOSITORY, digest }), { sizeBytes: BLOB.length });
});

t.test("a manifest may be redirected, too", async (t) => {
  const fake = await openFake(t);
  const cdn = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = cdn.addManifest(REPOSITORY, "1", {});
  fake.on({}, { redirect: `${cdn.url}/*` });
  const request = { repository: REPOSITORY, reference: "1" };
  t.equal((await upstream.headManifest(request)).digest, digest);
  t.equal((await upstream.fetchManifest(request)).bytes.toString(), "{}");
});

t.test("credentials stay with the origin that they are for", async (t) => {
  const fake = await openFake(t);
  const cdn = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
  const digest = fake.addBlob(REPOSITORY, BLOB);
  cdn.addBlob(REPOSITORY, BLOB);
  await fake.requireAuth({ scheme: "basic", ...AUTH });
  fake.on({ digest }, { redirect: `${cdn.url}/elsewhere` }, 1);
  cdn.on({ path: "/elsewhere" }, { redirect: `${cdn.url}/v2/${REPOSITORY}/blobs/${digest}` });
  await bytesOf(await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 }));
  t.equal(fake.requests.at(-1)?.headers.authorization?.startsWith("Basic "), true);
  t.same(
    cdn.requests.map(({ headers }) => headers.authorization),
    [undefined, undefined],
    "another port is another origin",
  );
});

t.test("they go along within it, and are not given back once it was left", async (t) => {
  const fake = await openFake(t);
  const cdn = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
  const digest = fake.addBlob(REPOSITORY, BLOB);
  await fake.requireAuth({ scheme: "basic", ...AUTH });
  fake.on({ digest }, { redirect: "/download?x=1#part" });
  fake.on({ path: "/download" }, { body: BLOB }, 1);
  await bytesOf(await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 }));
  t.equal(fake.requests.at(-1)?.path, "/download?x=1");
  t.ok(fake.requests.at(-1)?.headers.authorization);

  fake.on({ path: "/download" }, { redirect: `${cdn.url}/back` });
  cdn.on({ path: "/back" }, { redirect: `${fake.url}/home` });
  const pull = upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  await t.rejects(pull, { code: "upstream-unavailable" });
  t.equal(fake.seen({ path: "/home" })[0]?.headers.authorization, undefined);
});

t.test("redirects without an end are given up at once", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, BLOB);
  const request = { repository: REPOSITORY, digest, offset: 0 };
  const circle = fake.on({ digest }, { redirect: `${fake.url}/*` });
  await t.rejects(upstream.openBlob(request), { code: "upstream-invalid", message: /circle/ });
  circle.remove();
  for (let hop = 1; hop <= 11; hop += 1) {
    fake.on({}, { redirect: `/hop/${hop}` }, 1);
  }
  await t.rejects(upstream.openBlob(request), { code: "upstream-invalid", message: /too many/ });
  t.equal(fake.requests.length, 1 + 4);
  fake.on({}, { status: 307, headers: {}, body: "" }, 1);
});

t.test("a redirect to where only we can go is refused without a connection", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
  const digest = fake.addBlob(REPOSITORY, BLOB);
  for (const redirect of [
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://0.0.0.0:5000/",
    "http://[fe80::1]/",
    "http://[fd12::1]/",
    "http://[::]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "ftp://example.com/",
    "javascript:alert(1)",
    "http://user:pass@cdn.example/",
    "http://",
    "https://%",
  ]) {
    fake.on({ digest }, { redirect }, 1);
    const pull = upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
    const error = await pull.catch((thrown: unknown) => thrown);
    t.match(error, { code: "upstream-invalid" }, redirect);
    t.notMatch(String(error), /user:pass/);
  }
});

t.test("a name that resolves to a private address is refused, whatever else it has", async (t) => {
  const fake = await openFake(t);
  let address = "10.0.0.7";
  const { upstream } = openUpstream(t, [fake.url], {
    lookup: (_hostname, callback) => callback(null, [{ address, family: 4 }]),
  });
  const digest = fake.addBlob(REPOSITORY, BLOB);
  fake.on({ digest }, { redirect: "http://cdn.example/blob" });
  for (address of ["10.0.0.7", "169.254.169.254", "172.31.0.1"]) {
    const pull = upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
    await t.rejects(pull, { code: "upstream-invalid", message: /private address/ }, address);
  }
});

t.test("a host that the configuration names may be private", async (t) => {
  const fake = await openFake(t);
  const cdn = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], {
    redirectHosts: ["cdn.internal"],
    lookup: (_hostname, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]),
  });
  const digest = fake.addBlob(REPOSITORY, BLOB);
  cdn.addBlob(REPOSITORY, BLOB);
  const { port } = new URL(cdn.url);
  fake.on({ digest }, { redirect: `http://cdn.internal:${port}/*` });
  const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  t.ok((await bytesOf(body)).equals(BLOB));
});

t.test("a signed url that has run out is replaced by asking the registry once more", async (t) => {
  for (const fault of [{ status: 403 }, { status: 401 }, { status: 503 }, { reset: true }]) {
    const fake = await openFake(t);
    const cdn = await openFake(t);
    const { upstream } = openUpstream(t, [fake.url]);
    const digest = fake.addBlob(REPOSITORY, BLOB);
    cdn.addBlob(REPOSITORY, BLOB);
    fake.on({ digest }, { redirect: `${cdn.url}/*` });
    cdn.on({ digest }, fault, 1);
    const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
    t.ok((await bytesOf(body)).equals(BLOB));
    t.equal(fake.requests.length, 2);
    cdn.on({ digest }, fault);
    const pull = upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
    await t.rejects(pull, { code: "upstream-unavailable", message: /redirected/ });
    t.equal(fake.requests.length, 4, "once, and not for ever");
  }
});

t.test("a blob that the target does not have is unknown", async (t) => {
  const fake = await openFake(t);
  const cdn = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, BLOB);
  fake.on({ digest }, { redirect: `${cdn.url}/*` });
  const pull = upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  await t.rejects(pull, { code: "blob-unknown" });
});

t.test("a target that takes no HEAD for a url signed for GET still proves the blob", async (t) => {
  const fake = await openFake(t);
  const cdn = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, BLOB);
  cdn.addBlob(REPOSITORY, BLOB);
  fake.on({ digest }, { redirect: `${cdn.url}/*` });
  cdn.on({ method: "HEAD" }, { status: 403 });
  t.same(await upstream.headBlob({ repository: REPOSITORY, digest }), { sizeBytes: BLOB.length });
});
