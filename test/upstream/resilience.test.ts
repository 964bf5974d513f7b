import { createServer } from "node:http";
import t from "tap";
import { portOf } from "../support/fake-upstream.ts";
import {
  bytesOf,
  bytesOfSize,
  errorOf,
  metricOf,
  openFake,
  openUpstream,
} from "../support/upstream-rig.ts";

const REQUEST = { repository: "team/app", reference: "1" };
/** Nothing listens there: discard, which is never open on loopback. */
const DEAD = "http://127.0.0.1:9";

t.test("a failure that passes is not seen: the request is made again after a wait", async (t) => {
  for (const fault of [{ status: 500 }, { status: 502 }, { status: 503 }, { status: 504 }]) {
    const fake = await openFake(t);
    const { upstream, delays } = openUpstream(t, [fake.url]);
    fake.addManifest("team/app", "1", {});
    fake.on({}, fault, 2);
    await upstream.fetchManifest(REQUEST);
    t.equal(fake.requests.length, 3);
    t.equal(delays.length, 2);
    t.ok(delays.every((ms) => ms >= 200 && ms <= 2000));
  }
});

t.test("after three attempts the registry is said to be unavailable", async (t) => {
  const fake = await openFake(t);
  const { upstream, set, metrics } = openUpstream(t, [fake.url]);
  fake.on({}, { status: 503 });
  await t.rejects(upstream.fetchManifest(REQUEST), {
    code: "upstream-unavailable",
    message: /team\.example could not be asked for team\/app:1: it answered 503/,
  });
  t.equal(fake.requests.length, 3);
  t.match(set.health(), [{ name: "team.example", isUp: false, reason: /503/ }]);
  t.equal(await metricOf(metrics, "sluice_upstream_up"), 0);
  const errors = 'sluice_upstream_errors_total{upstream="team.example",reason="server_error"}';
  t.equal(await metricOf(metrics, errors), 3);
});

t.test("a success makes it healthy again", async (t) => {
  const fake = await openFake(t);
  const { upstream, set, metrics } = openUpstream(t, [fake.url]);
  fake.addManifest("team/app", "1", {});
  fake.on({}, { status: 503 }, 3);
  await t.rejects(upstream.fetchManifest(REQUEST));
  await upstream.fetchManifest(REQUEST);
  t.same(set.health(), [{ name: "team.example", isUp: true }]);
  t.equal(await metricOf(metrics, "sluice_upstream_up"), 1);
});

t.test("refusals and absence are final: they are not asked for twice", async (t) => {
  for (const status of [400, 401, 403, 404, 429]) {
    const fake = await openFake(t);
    const { upstream } = openUpstream(t, [fake.url]);
    fake.on({}, { status });
    await t.rejects(upstream.fetchManifest(REQUEST));
    t.equal(fake.requests.length, 1, String(status));
  }
});

t.test("retries are a small share of all requests, however many fail", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { surroundings: { now: () => 1_000_000 } });
  fake.on({}, { status: 500 });
  const pulls = Array.from({ length: 100 }, () => upstream.fetchManifest(REQUEST));
  await Promise.allSettled(pulls);
  t.ok(fake.requests.length <= 120, `${fake.requests.length} requests for 100 pulls`);
});

t.test("a Retry-After of a 503 that is too long to wait for is handed on", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.on({}, { status: 503, headers: { "retry-after": "30" } });
  t.match(await errorOf(upstream.fetchManifest(REQUEST)), {
    code: "upstream-unavailable",
    retryAfterSeconds: 30,
  });
  t.equal(fake.requests.length, 1);
});

t.test("a rate limit is kept to: nothing is sent until it is over", async (t) => {
  const fake = await openFake(t);
  let now = 1_000_000;
  const { upstream } = openUpstream(t, [fake.url], { surroundings: { now: () => now } });
  fake.addManifest("team/app", "1", {});
  fake.on({}, { status: 429, headers: { "retry-after": "20" } }, 1);
  const limited = { code: "upstream-limited" };
  t.match(await errorOf(upstream.fetchManifest(REQUEST)), { ...limited, retryAfterSeconds: 20 });
  now += 15_000;
  t.match(await errorOf(upstream.fetchManifest(REQUEST)), { ...limited, retryAfterSeconds: 5 });
  t.equal(fake.requests.length, 1);
  now += 5000;
  await t.resolves(upstream.fetchManifest(REQUEST));
});

t.test("a rate limit is kept for a minute at most, as a date or as seconds", async (t) => {
  for (const after of ["86400", "Wed, 21 Oct 2099 07:28:00 GMT"]) {
    const fake = await openFake(t);
    const { upstream } = openUpstream(t, [fake.url]);
    fake.on({}, { status: 429, headers: { "retry-after": after } }, 1);
    t.match(await errorOf(upstream.fetchManifest(REQUEST)), { retryAfterSeconds: 60 });
  }
});

t.test("when one url is dead the next is asked at once, and first from then on", async (t) => {
  const fake = await openFake(t);
  const { upstream, delays, set } = openUpstream(t, [DEAD, fake.url]);
  const blob = bytesOfSize(1000);
  fake.addManifest("team/app", "1", {});
  const digest = fake.addBlob("team/app", blob);
  await upstream.fetchManifest(REQUEST);
  t.equal(delays.length, 0);
  const body = await upstream.openBlob({ repository: "team/app", digest, offset: 0 });
  t.equal(body.url, fake.url);
  t.ok((await bytesOf(body)).equals(blob));
  t.same(set.health(), [{ name: "team.example", isUp: true }]);
});

t.test("a url that broke a transfer is tried last", async (t) => {
  const [one, other] = [await openFake(t), await openFake(t)];
  const { upstream } = openUpstream(t, [one.url, other.url]);
  const blob = bytesOfSize(1000);
  const digest = one.addBlob("team/app", blob);
  other.addBlob("team/app", blob);
  const request = { repository: "team/app", digest, offset: 0 };
  const first = await upstream.openBlob(request);
  t.equal(first.url, one.url);
  first.abort(new Error("not needed"));
  const second = await upstream.openBlob({ ...request, avoid: new Set([one.url]) });
  t.equal(second.url, other.url);
  t.ok((await bytesOf(second)).equals(blob));
});

t.test(
  "a registry that does not answer is given up at the deadline, and not asked twice",
  async (t) => {
    const [silent, other] = [await openFake(t), await openFake(t)];
    const limits = { manifestFirstByteTimeoutMs: 50, blobFirstByteTimeoutMs: 50 };
    silent.on({}, { hang: true });
    const digest = other.addBlob("team/app", bytesOfSize(10));

    const alone = openUpstream(t, [silent.url], { limits });
    await t.rejects(alone.upstream.fetchManifest(REQUEST), {
      code: "upstream-unavailable",
      message: /did not answer in time/,
    });
    t.equal(silent.requests.length, 1);
    const { upstream } = openUpstream(t, [silent.url, other.url], { limits });
    const body = await upstream.openBlob({ repository: "team/app", digest, offset: 0 });
    t.equal(body.url, other.url);
    body.abort(new Error("seen enough"));
  },
);

t.test("all that happens before the first byte shares one deadline", async (t) => {
  const fakes = [await openFake(t), await openFake(t), await openFake(t)];
  for (const fake of fakes) {
    fake.on({}, { hang: true });
  }
  const { upstream } = openUpstream(
    t,
    fakes.map(({ url }) => url),
    { limits: { answerTimeoutMs: 60, manifestFirstByteTimeoutMs: 40 } },
  );
  await t.rejects(upstream.fetchManifest(REQUEST), { code: "upstream-unavailable" });
  t.equal(fakes[2]?.requests.length, 0);
});

t.test(
  "a url that cannot be reached is left alone for 5 s, then tried by one request",
  async (t) => {
    const fake = await openFake(t);
    let now = 1_000_000;
    const { upstream, metrics } = openUpstream(t, [fake.url], { surroundings: { now: () => now } });
    fake.addManifest("team/app", "1", {});
    await fake.stop();
    for (let pull = 0; pull < 2; pull += 1) {
      await t.rejects(upstream.fetchManifest(REQUEST), { code: "upstream-unavailable" });
    }
    const open = { code: "upstream-unavailable", message: /was not asked for team\/app:1/ };
    t.match(await errorOf(upstream.fetchManifest(REQUEST)), { ...open, retryAfterSeconds: 5 });
    const reason = 'sluice_upstream_errors_total{upstream="team.example",reason="breaker_open"}';
    t.equal(await metricOf(metrics, reason), 1);
    const connects = 'sluice_upstream_errors_total{upstream="team.example",reason="connect"}';
    t.equal(await metricOf(metrics, connects), 5);

    now += 5000;
    await t.rejects(upstream.fetchManifest(REQUEST), { code: "upstream-unavailable" });
    t.equal(await metricOf(metrics, connects), 6, "one probe");
    await fake.listen();
    await t.rejects(upstream.fetchManifest(REQUEST), open, "still open");
    now += 5000;
    await t.resolves(upstream.fetchManifest(REQUEST));
    await t.resolves(upstream.fetchManifest(REQUEST));
  },
);

t.test("while a probe is on its way, nobody else is sent after it", async (t) => {
  const fake = await openFake(t);
  let now = 1_000_000;
  const { upstream } = openUpstream(t, [fake.url], { surroundings: { now: () => now } });
  fake.addManifest("team/app", "1", {});
  await fake.stop();
  await Promise.allSettled([upstream.fetchManifest(REQUEST), upstream.fetchManifest(REQUEST)]);
  await fake.listen();
  now += 5000;
  const hold = fake.on({}, { hang: true }, 1);
  const arrived = fake.waitFor({});
  const probe = upstream.fetchManifest(REQUEST);
  await arrived;
  await t.rejects(upstream.fetchManifest(REQUEST), { code: "upstream-unavailable" });
  hold.release();
  await t.resolves(probe);
});

t.test("a registry that fails every other request is still asked", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest("team/app", "1", {});
  for (let pull = 0; pull < 40; pull += 1) {
    fake.on({}, { status: 500 }, 1);
    await upstream.fetchManifest(REQUEST).catch(() => undefined);
    await t.resolves(upstream.fetchManifest(REQUEST));
    fake.requests.length = 0;
  }
});

t.test("a registry that closes idle connections as we use them is never noticed", async (t) => {
  const server = createServer({ keepAliveTimeout: 1 }, (request, response) => {
    response.writeHead(200, { "content-type": "application/json", "content-length": 2 }).end("{}");
    const { socket } = request;
    response.once("finish", () => setImmediate(() => socket.resetAndDestroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const { upstream, delays } = openUpstream(t, [`http://127.0.0.1:${portOf(server)}`]);
  for (let pull = 0; pull < 300; pull += 1) {
    await upstream.fetchManifest(REQUEST);
  }
  t.equal(delays.length, 0);
});

t.test("a name that does not resolve, or not in time, is said to be the reason", async (t) => {
  const limits = { dnsTimeoutMs: 20 };
  const missing = openUpstream(t, ["http://registry.invalid"], {
    limits,
    lookup: (_name, callback) =>
      callback(Object.assign(new Error("no"), { code: "ENOTFOUND" }), []),
  });
  await t.rejects(missing.upstream.fetchManifest(REQUEST), { message: /ENOTFOUND/ });
  const slow = openUpstream(t, ["http://registry.invalid"], { limits, lookup: () => undefined });
  await t.rejects(slow.upstream.fetchManifest(REQUEST), { message: /not be resolved in time/ });
});

t.test("closing waits for transfers, destroying does not", async (t) => {
  const fake = await openFake(t);
  const blob = bytesOfSize(300_000);
  const digest = fake.addBlob("team/app", blob);
  const stall = fake.on({ digest }, { stallAfterBytes: 1000 });
  const request = { repository: "team/app", digest, offset: 0 };

  const gentle = openUpstream(t, [fake.url]);
  const reading = bytesOf(await gentle.upstream.openBlob(request));
  const closed = gentle.set.close();
  await t.rejects(gentle.upstream.openBlob(request), { code: "upstream-unavailable" });
  const rough = openUpstream(t, [fake.url]);
  const broken = bytesOf(await rough.upstream.openBlob(request));
  broken.catch(() => undefined);
  await rough.set.destroy();
  await t.rejects(broken, { code: "upstream-unavailable" });
  stall.release();
  t.ok((await reading).equals(blob));
  await t.resolves(closed);
});
