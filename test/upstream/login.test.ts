import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { metricOf, openFake, openUpstream } from "../support/upstream-rig.ts";

const REQUEST = { repository: "team/app", reference: "1" };
const AUTH = { username: "robot", password: "s3cret:with:colons" };
const BASIC = `Basic ${Buffer.from(`${AUTH.username}:${AUTH.password}`).toString("base64")}`;

t.test("a public image of a registry with tokens needs one token for many pulls", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest("team/app", "1", {});
  await fake.requireAuth({ scheme: "bearer" });
  for (let pull = 0; pull < 3; pull += 1) {
    await upstream.fetchManifest(REQUEST);
  }
  t.equal(fake.tokens.requests.length, 1);
  t.equal(fake.requests.length, 4, "one challenge, then the token goes along at once");
  const [token] = fake.tokens.requests;
  t.equal(token?.method, "GET");
  t.equal(token?.authorization, undefined);
  t.equal(token?.parameters.get("service"), "fake");
  t.equal(token?.parameters.get("scope"), "repository:team/app:pull");
});

t.test("only pull is asked for, and only in the repository that is pulled", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest("team/app", "1", {});
  for (const scope of [
    "repository:team/app:pull,push,delete",
    "repository:team/secret:pull repository:team/app:*",
    "registry:catalog:*",
    null,
  ]) {
    await fake.requireAuth({ scheme: "bearer", scope });
    fake.tokens.revokeAll();
    await upstream.fetchManifest(REQUEST);
    const asked = fake.tokens.requests.at(-1)?.parameters.getAll("scope");
    t.same(asked, ["repository:team/app:pull"], String(scope));
  }
});

t.test("a token of one repository is not sent for another", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest("team/app", "1", {});
  fake.addManifest("team/other", "1", {});
  await fake.requireAuth({ scheme: "bearer" });
  await upstream.fetchManifest(REQUEST);
  await upstream.fetchManifest({ ...REQUEST, repository: "team/other" });
  t.equal(fake.tokens.requests.length, 2);
  t.equal(fake.seen({ path: /other/ })[0]?.headers.authorization, undefined);
});

t.test("a hundred pulls at once share one request for a token", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest("team/app", "1", {});
  await fake.requireAuth({ scheme: "bearer" });
  await Promise.all(Array.from({ length: 100 }, () => upstream.fetchManifest(REQUEST)));
  t.equal(fake.tokens.requests.length, 1);
});

t.test("credentials go to the token service, never along with the token", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
  fake.addManifest("team/app", "1", {});
  await fake.requireAuth({ scheme: "bearer", ...AUTH });
  await upstream.fetchManifest(REQUEST);
  t.equal(fake.tokens.requests[0]?.authorization, BASIC);
  t.equal(fake.requests[0]?.headers.authorization, undefined);
  t.match(fake.requests[1]?.headers.authorization, /^Bearer fake-token-/);
});

t.test(
  "a registry with Basic is logged in to once it asks, and at once from then on",
  async (t) => {
    const fake = await openFake(t);
    const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
    fake.addManifest("team/app", "1", {});
    await fake.requireAuth({ scheme: "basic", ...AUTH });
    await upstream.fetchManifest(REQUEST);
    await upstream.fetchManifest(REQUEST);
    t.same(
      fake.requests.map(({ headers }) => headers.authorization),
      [undefined, BASIC, BASIC],
    );
  },
);

t.test("a wrong password is a refusal that names the upstream and not the password", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
  for (const scheme of ["basic", "bearer"] as const) {
    await fake.requireAuth({ scheme, username: "robot", password: "another" });
    const error = await upstream.fetchManifest(REQUEST).catch((thrown: unknown) => thrown);
    t.match(error, { code: "upstream-refused", message: /team\.example/ }, scheme);
    t.notMatch(String(error), /s3cret|robot/);
  }
});

t.test(
  "a password file that changes counts at once; one newline at its end does not",
  async (t) => {
    const fake = await openFake(t);
    const passwordFile = join(t.testdir({ password: "first\n" }), "password");
    const { upstream } = openUpstream(t, [fake.url], { auth: { username: "robot", passwordFile } });
    fake.addManifest("team/app", "1", {});
    await fake.requireAuth({ scheme: "basic", username: "robot", password: "first" });
    await upstream.fetchManifest(REQUEST);
    writeFileSync(passwordFile, "the second");
    await fake.requireAuth({ scheme: "basic", username: "robot", password: "the second" });
    await t.resolves(upstream.fetchManifest(REQUEST));
  },
);

t.test("a password file that is missing is said, without a request as nobody", async (t) => {
  const fake = await openFake(t);
  const passwordFile = join(t.testdir({}), "nothing-here");
  const { upstream } = openUpstream(t, [fake.url], { auth: { username: "robot", passwordFile } });
  await t.rejects(upstream.fetchManifest(REQUEST), {
    code: "upstream-unavailable",
    message: /credential .* team\.example .* cannot be read \(ENOENT\)/,
  });
  t.equal(fake.requests.length, 0);
});

t.test("a docker configuration logs in, identity tokens by POST", async (t) => {
  const fake = await openFake(t);
  const auth = Buffer.from("robot:ignored").toString("base64");
  const config = { auths: { "https://team.example": { auth, identitytoken: "refresh-me" } } };
  const dockerConfigFile = join(
    t.testdir({ "config.json": JSON.stringify(config) }),
    "config.json",
  );
  const { upstream } = openUpstream(t, [fake.url], { credentials: { dockerConfigFile } });
  fake.addManifest("team/app", "1", {});
  await fake.requireAuth({ scheme: "bearer", username: "robot", password: "refresh-me" });
  await upstream.fetchManifest(REQUEST);
  const [posted] = fake.tokens.requests;
  t.equal(posted?.method, "POST");
  t.same(Object.fromEntries(posted?.parameters ?? []), {
    grant_type: "refresh_token",
    refresh_token: "refresh-me",
    scope: "repository:team/app:pull",
    client_id: "sluice",
    service: "fake",
  });
});

t.test("a token service that knows no POST is asked with GET", async (t) => {
  for (const status of [400, 401, 404, 405]) {
    const fake = await openFake(t);
    const config = { auths: { "team.example": { username: "robot", identitytoken: "refresh" } } };
    const file = join(t.testdir({ "config.json": JSON.stringify(config) }), "config.json");
    const { upstream } = openUpstream(t, [fake.url], { credentials: { dockerConfigFile: file } });
    fake.addManifest("team/app", "1", {});
    await fake.requireAuth({ scheme: "bearer", username: "robot", password: "refresh" });
    fake.tokens.fail({ method: "POST", status });
    await upstream.fetchManifest(REQUEST);
    t.same(
      fake.tokens.requests.map(({ method }) => method),
      ["POST", "GET"],
      String(status),
    );
  }
});

t.test("a token that ends in the middle of a pull is renewed without a failure", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  fake.addManifest("team/app", "1", {});
  await fake.requireAuth({ scheme: "bearer", usesPerToken: 3 });
  for (let pull = 0; pull < 20; pull += 1) {
    await upstream.fetchManifest(REQUEST);
  }
  t.equal(fake.tokens.requests.length, 7);
  await Promise.all(Array.from({ length: 3 }, () => upstream.fetchManifest(REQUEST)));
  t.pass("nor with several at once");
});

t.test("tokens are kept for as long as they say, within bounds, and renewed ahead", async (t) => {
  const cases: [expiresIn: unknown, seconds: number][] = [
    [300, 300],
    [0, 30],
    [-1, 30],
    [1e12, 3600],
    [undefined, 60],
    ["300", 60],
    [Number.NaN, 60],
  ];
  for (const [expiresIn, seconds] of cases) {
    const fake = await openFake(t);
    let now = 1_000_000;
    const { upstream } = openUpstream(t, [fake.url], { surroundings: { now: () => now } });
    fake.addManifest("team/app", "1", {});
    await fake.requireAuth({ scheme: "bearer" });
    fake.tokens.expiresIn = expiresIn;
    await upstream.fetchManifest(REQUEST);
    now += seconds * 800 - 1;
    await upstream.fetchManifest(REQUEST);
    t.equal(fake.tokens.requests.length, 1, `${expiresIn}: kept`);
    now += seconds * 200 + 1;
    await upstream.fetchManifest(REQUEST);
    t.equal(fake.tokens.requests.length, 2, `${expiresIn}: renewed`);
  }
});

t.test("a renewal ahead of time makes nobody wait", async (t) => {
  const fake = await openFake(t);
  let now = 1_000_000;
  const { upstream } = openUpstream(t, [fake.url], { surroundings: { now: () => now } });
  fake.addManifest("team/app", "1", {});
  await fake.requireAuth({ scheme: "bearer" });
  await upstream.fetchManifest(REQUEST);
  now += 250_000; // of 300 s
  fake.tokens.fail({ hang: true });
  await t.resolves(upstream.fetchManifest(REQUEST));
  fake.tokens.release();
});

t.test("a registry that answers 401 for ever costs two tokens, then a refusal", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  await fake.requireAuth({ scheme: "bearer", usesPerToken: 0 });
  await t.rejects(upstream.fetchManifest(REQUEST), {
    code: "upstream-refused",
    message: /UNAUTHORIZED/,
  });
  t.ok(fake.tokens.requests.length <= 2);
});

t.test("a token service that fails is an outage, one that refuses a refusal", async (t) => {
  const cases: [string, object, string][] = [
    ["500", { status: 500 }, "upstream-unavailable"],
    ["HTML", { body: "<html>log in</html>" }, "upstream-unavailable"],
    ["10 MB", { body: "x".repeat(10_000_000) }, "upstream-unavailable"],
    ["no token", { body: {} }, "upstream-unavailable"],
    ["CRLF", { body: { token: "a\r\nX-Evil: 1" } }, "upstream-unavailable"],
    ["no string", { body: { token: { a: 1 } } }, "upstream-unavailable"],
    ["space", { body: { token: "a b" } }, "upstream-unavailable"],
    ["1 MiB token", { body: { token: "x".repeat(1_048_576) } }, "upstream-unavailable"],
    ["429", { status: 429, headers: { "retry-after": "7" } }, "upstream-limited"],
    ["401", { status: 401 }, "upstream-refused"],
    ["403", { status: 403 }, "upstream-refused"],
  ];
  for (const [what, fault, code] of cases) {
    const fake = await openFake(t);
    const { upstream } = openUpstream(t, [fake.url]);
    await fake.requireAuth({ scheme: "bearer" });
    fake.tokens.fail(fault);
    await t.rejects(upstream.fetchManifest(REQUEST), { code, message: /team\.example/ }, what);
    t.ok(fake.tokens.requests.length <= 2, what);
  }
});

t.test("a token service that does not answer is given up, by all who wait", async (t) => {
  const fake = await openFake(t);
  const { upstream, metrics } = openUpstream(t, [fake.url], { limits: { tokenTimeoutMs: 50 } });
  await fake.requireAuth({ scheme: "bearer" });
  fake.tokens.fail({ hang: true });
  const pulls = Array.from({ length: 20 }, () => upstream.fetchManifest(REQUEST));
  for (const { reason } of (await Promise.allSettled(pulls)).filter((one) => "reason" in one)) {
    t.match(reason, { code: "upstream-unavailable" });
  }
  t.equal(fake.tokens.requests.length, 1);
  t.ok(
    (await metricOf(
      metrics,
      'sluice_upstream_errors_total{upstream="team.example",reason="token"',
    )) > 0,
  );
});

t.test("access_token is as good as token", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  await fake.requireAuth({ scheme: "bearer" });
  fake.tokens.fail({ body: { access_token: "abc" } });
  await upstream.fetchManifest(REQUEST).catch(() => undefined);
  t.equal(fake.requests[1]?.headers.authorization, "Bearer abc");
});

t.test("a realm elsewhere gets no credential, whatever it looks like", async (t) => {
  const fake = await openFake(t);
  const canary = await openFake(t, { hostname: "localhost" });
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
  canary.on({}, { body: '{"token":"from-elsewhere"}' });
  await fake.requireAuth({ scheme: "bearer", realm: `${canary.url}/token` });
  await t.rejects(upstream.fetchManifest(REQUEST), {
    code: "upstream-refused",
    message: /its token service localhost:\d+ was not sent: .* name it in tokenHosts/,
  });
  t.equal(canary.requests.length, 1);
  t.equal(canary.requests[0]?.headers.authorization, undefined);
  t.notMatch(canary.requests[0]?.path, /robot|s3cret/);
});

t.test("a realm that is configured as a token host gets the credential", async (t) => {
  const fake = await openFake(t);
  const service = await openFake(t, { hostname: "localhost" });
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH, tokenHosts: ["localhost"] });
  service.on({}, { body: '{"token":"abc"}' });
  await fake.requireAuth({ scheme: "bearer", realm: `${service.url}/token` });
  await upstream.fetchManifest(REQUEST).catch(() => undefined);
  t.equal(service.requests[0]?.headers.authorization, BASIC);
});

t.test("a realm that only we can reach, or with another scheme, is not asked at all", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { auth: AUTH });
  for (const realm of [
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/token",
    "https://[fd00::1]/token",
    "http://[::ffff:10.0.0.1]/token",
    "http://0x0a000001/token",
    "file:///etc/passwd",
    "https://robot:pw@auth.example/token",
    "/token",
    "",
  ]) {
    await fake.requireAuth({ scheme: "bearer", realm });
    const error = await upstream.fetchManifest(REQUEST).catch((thrown: unknown) => thrown);
    t.match(error, { code: "upstream-invalid", message: /log-in/ }, realm);
    t.notMatch(String(error), /robot:pw/);
  }
});

t.test("a realm whose name leads to a private address is refused as it is dialled", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], {
    lookup: (_hostname, callback) => callback(null, [{ address: "10.1.2.3", family: 4 }]),
  });
  await fake.requireAuth({ scheme: "bearer", realm: "http://auth.example/token" });
  await t.rejects(upstream.fetchManifest(REQUEST), {
    code: "upstream-invalid",
    message: /private address/,
  });
});
