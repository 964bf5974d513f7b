import t from "tap";
import { digestOf } from "../../storage/digest.ts";
import { bytesOf, bytesOfSize, metricOf, openFake, openUpstream } from "../support/upstream-rig.ts";

const REPOSITORY = "team/app";
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

t.test("a manifest comes as the registry sent it, by tag and by digest", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const manifest = Buffer.from('{ "schemaVersion": 2,  "odd": "spacing" }');
  const digest = fake.addManifest(REPOSITORY, "1", manifest, `${INDEX_TYPE}; charset=utf-8`);

  for (const reference of ["1", digest]) {
    const fetched = await upstream.fetchManifest({ repository: REPOSITORY, reference });
    t.same(fetched.bytes, manifest);
    t.equal(fetched.mediaType, INDEX_TYPE);
  }
  const head = await upstream.headManifest({ repository: REPOSITORY, reference: "1" });
  t.same(head, { mediaType: INDEX_TYPE, digest, sizeBytes: manifest.length });
});

t.test("manifests are asked for in every format, uncompressed, and as Sluice", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest(REPOSITORY, "1", {});
  await upstream.fetchManifest({ repository: REPOSITORY, reference: "1" });

  const headers = fake.requests[0]?.headers ?? {};
  for (const type of [
    INDEX_TYPE,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
  ]) {
    t.match(headers.accept, type);
  }
  t.equal(headers["accept-encoding"], "identity");
  t.equal(headers["user-agent"], "sluice/0.0.0");
  t.equal(headers.authorization, undefined);
});

t.test("a registry without a digest header or with a bad one is still read", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest(REPOSITORY, "1", {});
  fake.on({ method: "HEAD" }, { headers: { "docker-content-digest": "sha256:short" } });
  const head = await upstream.headManifest({ repository: REPOSITORY, reference: "1" });
  t.equal(head.digest, undefined);
});

t.test("a registry that knows no HEAD of manifests is asked with GET", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addManifest(REPOSITORY, "1", {});
  fake.on({ method: "HEAD" }, { status: 405 });
  const head = await upstream.headManifest({ repository: REPOSITORY, reference: "1" });
  t.equal(head.digest, digest);
});

t.test("a blob is pushed to the sink, whole or from where it broke", async (t) => {
  const fake = await openFake(t);
  const { upstream, metrics } = openUpstream(t, [fake.url]);
  const blob = bytesOfSize(1_500_000);
  const digest = fake.addBlob(REPOSITORY, blob);

  const whole = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  t.match(whole, { sizeBytes: blob.length, offset: 0, url: fake.url });
  t.ok((await bytesOf(whole)).equals(blob));

  const rest = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 1_000_000 });
  t.match(rest, { sizeBytes: blob.length, offset: 1_000_000 });
  t.ok((await bytesOf(rest)).equals(blob.subarray(1_000_000)));
  t.equal(fake.requests[0]?.headers.range, undefined);
  t.equal(fake.requests[1]?.headers.range, "bytes=1000000-");
  t.equal(await metricOf(metrics, "sluice_upstream_bytes_total"), 2_000_000);
});

t.test("a registry that ignores Range says so: the body starts at 0", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const blob = bytesOfSize(1000);
  const digest = fake.addBlob(REPOSITORY, blob);
  fake.on({ digest }, { ignoreRange: true });
  const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 500 });
  t.equal(body.offset, 0);
  t.ok((await bytesOf(body)).equals(blob));
});

t.test("a blob without a length, and an empty one, are read to their end", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const blob = bytesOfSize(200_000);
  const digest = fake.addBlob(REPOSITORY, blob);
  const empty = fake.addBlob(REPOSITORY, Buffer.alloc(0));
  fake.on({ digest }, { chunked: true });
  const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  t.equal(body.sizeBytes, undefined);
  t.ok((await bytesOf(body)).equals(blob));
  const nothing = await upstream.openBlob({ repository: REPOSITORY, digest: empty, offset: 0 });
  t.equal(nothing.sizeBytes, 0);
  t.equal((await bytesOf(nothing)).length, 0);
});

t.test("HEAD proves that a repository holds a blob, by GET where HEAD is unknown", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(1234));
  const request = { repository: REPOSITORY, digest };
  t.same(await upstream.headBlob(request), { sizeBytes: 1234 });
  fake.on({ method: "HEAD" }, { status: 405 });
  t.same(await upstream.headBlob(request), { sizeBytes: 1234 });
  t.equal(fake.requests.at(-1)?.headers.range, "bytes=0-0");
  await t.rejects(upstream.headBlob({ ...request, repository: "other" }), {
    code: "blob-unknown",
  });
});

t.test("what the registry answers becomes the error that its client should see", async (t) => {
  const digest = digestOf(Buffer.from("a blob"));
  const cases: [status: number, code: string | undefined, expected: string][] = [
    [404, "MANIFEST_UNKNOWN", "manifest-unknown"],
    [404, "NAME_UNKNOWN", "name-unknown"],
    [404, undefined, "manifest-unknown"],
    [401, "UNAUTHORIZED", "upstream-refused"],
    [403, "DENIED", "upstream-refused"],
    [429, "TOOMANYREQUESTS", "upstream-limited"],
    [500, undefined, "upstream-unavailable"],
    [503, undefined, "upstream-unavailable"],
    [400, "TAG_INVALID", "upstream-invalid"],
  ];
  for (const [status, code, expected] of cases) {
    const fake = await openFake(t);
    const { upstream } = openUpstream(t, [fake.url]);
    fake.on({}, code === undefined ? { status } : { status, code });
    const pull = upstream.fetchManifest({ repository: REPOSITORY, reference: "1" });
    await t.rejects(pull, { code: expected, message: /team\.example.*team\/app:1/s }, `${status}`);
  }
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const pull = upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  await t.rejects(pull, { code: "blob-unknown", message: new RegExp(digest) });
});

t.test("a refusal quotes the registry, in printable characters, and says what to do", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const message = `no\u001b[31m\r\nrights\u2028 ${"x".repeat(5000)}`;
  fake.on({}, { status: 403, body: JSON.stringify({ errors: [{ code: "DENIED", message }] }) });
  const error = await upstream
    .fetchManifest({ repository: REPOSITORY, reference: "1" })
    .catch((thrown: unknown) => thrown);
  t.ok(error instanceof Error);
  const text = String(error);
  t.match(text, /refused the pull of team\/app:1 \(403 DENIED: no \[31m rights xxx/);
  t.match(text, /none are configured for team\.example/);
  t.match(text, /^[\x20-\x7e]+$/);
  t.ok(text.length < 500);
});

t.test("answers that were not asked for are refused", async (t) => {
  for (const status of [203, 204, 206, 226, 304]) {
    const fake = await openFake(t);
    const { upstream } = openUpstream(t, [fake.url]);
    const digest = fake.addBlob(REPOSITORY, bytesOfSize(10));
    fake.addManifest(REPOSITORY, "1", {});
    fake.on({}, { status });
    const blob = upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
    await t.rejects(blob, { code: "upstream-invalid" }, `blob ${status}`);
    const head = upstream.headManifest({ repository: REPOSITORY, reference: "1" });
    await t.rejects(head, { code: "upstream-invalid" }, `manifest ${status}`);
  }
});

t.test("a part of a blob that is not the part asked for is refused", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(1000));
  const request = { repository: REPOSITORY, digest, offset: 500 };
  for (const range of ["bytes 400-899/1000", "bytes */1000", "lines 500-999/1000"]) {
    fake.on({ digest }, { headers: { "content-range": range } }, 1);
    await t.rejects(upstream.openBlob(request), { code: "upstream-invalid" }, range);
  }
  fake.on({ digest }, { status: 416 }, 1);
  await t.rejects(upstream.openBlob(request), { code: "upstream-unavailable" });
  await t.rejects(upstream.openBlob({ ...request, offset: 1000 }), {
    code: "upstream-unavailable",
  });
});

t.test("compressed answers are refused: their bytes have another digest", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(10));
  fake.addManifest(REPOSITORY, "1", {});
  fake.on({}, { headers: { "content-encoding": "gzip" } });
  const request = { repository: REPOSITORY };
  await t.rejects(upstream.fetchManifest({ ...request, reference: "1" }), {
    code: "upstream-invalid",
    message: /compressed/,
  });
  await t.rejects(upstream.openBlob({ ...request, digest, offset: 0 }), {
    code: "upstream-invalid",
  });
});

t.test("a page in place of a manifest is refused, as is a manifest without a type", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest(REPOSITORY, "1", {});
  for (const type of ["text/html; charset=utf-8", "", "application/xml"]) {
    fake.on({}, { headers: { "content-type": type }, body: "<html>" }, 1);
    const pull = upstream.fetchManifest({ repository: REPOSITORY, reference: "1" });
    await t.rejects(pull, { code: "upstream-invalid" }, type);
  }
});

t.test("a manifest may have 4 MiB and not a byte more, announced or not", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const limit = 4 * 1024 * 1024;
  const request = { repository: REPOSITORY, reference: "1" };
  fake.addManifest(REPOSITORY, "1", Buffer.alloc(limit, " "));
  t.equal((await upstream.fetchManifest(request)).bytes.length, limit);
  fake.addManifest(REPOSITORY, "1", Buffer.alloc(limit + 1, " "));
  await t.rejects(upstream.fetchManifest(request), { code: "upstream-invalid" });
  fake.on({}, { chunked: true });
  await t.rejects(upstream.fetchManifest(request), { code: "upstream-invalid" });
});

t.test("tags come page by page, and the Link's host counts for nothing", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  for (const tag of ["a", "b", "c"]) {
    fake.addManifest(REPOSITORY, tag, {});
  }
  const request = { repository: REPOSITORY };
  const first = await upstream.listTags({ ...request, pageSize: 2 });
  t.same(first, { tags: ["a", "b"], next: { last: "b", pageSize: 2 } });
  const second = await upstream.listTags({ ...request, pageSize: 2, last: "b" });
  t.same(second, { tags: ["c"], next: undefined });

  const link = '<https://evil.example/v2/other/tags/list?last=zz&n=7&x=1>; rel="next"';
  fake.on({}, { headers: { link } }, 1);
  const { next } = await upstream.listTags(request);
  t.same(next, { last: "zz", pageSize: 7 });
});

t.test("a repository without tags may say null; anything but a list is refused", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const request = { repository: REPOSITORY };
  fake.on({}, { body: '{"name":"team/app","tags":null}' }, 1);
  t.same(await upstream.listTags(request), { tags: [], next: undefined });
  for (const body of ["<html>", '{"tags":{}}', '{"tags":[1]}', "[]", "null"]) {
    fake.on({}, { body }, 1);
    await t.rejects(upstream.listTags(request), { code: "upstream-invalid" }, body);
  }
  await t.rejects(upstream.listTags(request), { code: "name-unknown" });
});

t.test("referrers are listed, over several pages, never from another host", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const subject = fake.addManifest(REPOSITORY, "1", {});
  fake.addManifest(REPOSITORY, undefined, { artifactType: "a/b", subject: { digest: subject } });
  const request = { repository: REPOSITORY, digest: subject };
  t.match(await upstream.listReferrers(request), { manifests: [{ artifactType: "a/b" }] });

  const link = '<http://evil.example/x?page=2>; rel="next"';
  fake.on({ path: /\/referrers\/[^?]+$/ }, { headers: { link } });
  const page = await upstream.listReferrers(request);
  t.equal(page?.manifests.length, 2);
  t.match(fake.requests.at(-1)?.path, new RegExp(`/referrers/${subject}\\?page=2$`));
});

t.test("a list of referrers without an end is read for 5 pages", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addManifest(REPOSITORY, "1", {});
  for (let page = 1; page <= 10; page += 1) {
    fake.on({}, { headers: { link: `</x?page=${page}>; rel="next"` } }, 1);
  }
  await upstream.listReferrers({ repository: REPOSITORY, digest });
  t.equal(fake.requests.length, 5);
});

t.test("a registry without the referrers API is not an error, one that is down is", async (t) => {
  const fake = await openFake(t, { referrers: false });
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addManifest(REPOSITORY, "1", {});
  const request = { repository: REPOSITORY, digest };
  t.equal(await upstream.listReferrers(request), undefined);
  for (const fault of [
    { status: 405 },
    { status: 400 },
    { body: "<html>", headers: { "content-type": "text/html" } },
    { body: "{}", headers: { "content-type": INDEX_TYPE } },
  ]) {
    fake.on({}, fault, 1);
    t.equal(await upstream.listReferrers(request), undefined);
  }
  fake.on({}, { status: 403 }, 1);
  await t.rejects(upstream.listReferrers(request), { code: "upstream-refused" });
  fake.on({}, { status: 503 });
  await t.rejects(upstream.listReferrers(request), { code: "upstream-unavailable" });
});

t.test("what a registry says of its rate limit is a metric", async (t) => {
  const fake = await openFake(t);
  const { upstream, metrics } = openUpstream(t, [fake.url]);
  fake.addManifest(REPOSITORY, "1", {});
  fake.on({}, { headers: { "ratelimit-remaining": "98;w=21600" } });
  await upstream.headManifest({ repository: REPOSITORY, reference: "1" });
  t.equal(await metricOf(metrics, "sluice_upstream_rate_limit_remaining"), 98);
});

t.test("an upstream is found by its name and aliases, in any case, and by nothing else", (t) => {
  const { set, upstream } = openUpstream(t, ["http://127.0.0.1:9"], {
    aliases: ["Index.Team.example"],
  });
  for (const name of ["team.example", "TEAM.example", "index.team.example"]) {
    t.equal(set.find(name), upstream);
  }
  for (const name of ["team.example.evil.com", "xteam.example", "", "__proto__"]) {
    t.equal(set.find(name), undefined);
  }
  t.end();
});

t.test("an abandoned request ends at once, before and after the headers", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(100_000));
  const hang = fake.on({ digest }, { hang: true }, 1);
  const abandon = new AbortController();
  const arrived = fake.waitFor({ digest });
  const request = { repository: REPOSITORY, digest, offset: 0, signal: abandon.signal };
  const opening = upstream.openBlob(request);
  await arrived;
  abandon.abort(new Error("the client left"));
  await t.rejects(opening, { message: "the client left" });
  hang.release();

  const other = new AbortController();
  fake.on({ digest }, { stallAfterBytes: 10 });
  const body = await upstream.openBlob({ ...request, signal: other.signal });
  const reading = bytesOf(body);
  other.abort(new Error("gone"));
  await t.rejects(reading, { message: "gone" });
});
