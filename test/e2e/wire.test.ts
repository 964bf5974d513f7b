import { connect } from "node:net";
import type { Test } from "tap";
import t from "tap";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";

const OCI = "application/vnd.oci.image.manifest.v1+json";
const HEX = "a".repeat(64);

async function rig(t: Test): Promise<{ hub: FakeUpstream; team: FakeUpstream; proxy: TestProxy }> {
  const [hub, team] = [await startFakeUpstream(), await startFakeUpstream()];
  t.teardown(() => Promise.all([hub.close(), team.close()]));
  const proxy = await startProxy(t, {
    upstreams: [
      { name: "docker.io", aliases: ["index.docker.io"], urls: [hub.url] },
      { name: "team.example:5443", aliases: ["team.example"], urls: [team.url] },
    ],
  });
  hub.addManifest("library/alpine", "v1", { schemaVersion: 2, hub: true }, OCI);
  hub.addManifest("grafana/grafana", "v1", { schemaVersion: 2, hub: true }, OCI);
  team.addManifest("app/web", "v1", { schemaVersion: 2, team: true }, OCI);
  return { hub, team, proxy };
}

/** What comes back for bytes that no HTTP client would send. */
function raw(proxy: TestProxy, text: string): Promise<string> {
  const { hostname, port } = new URL(proxy.url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    let answer = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      answer += chunk;
      if (/\r\n\r\n/.test(answer)) {
        socket.end();
      }
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(answer));
    socket.write(text);
  });
}

t.test("which upstream: ns, then the first segment, then the default", async (t) => {
  const { proxy } = await rig(t);
  const cases: [path: string, status: number, namespace: string | null][] = [
    ["/v2/library/alpine/manifests/v1", 200, "docker.io"],
    ["/v2/alpine/manifests/v1", 200, "docker.io"],
    ["/v2/grafana/grafana/manifests/v1", 200, "docker.io"],
    ["/v2/docker.io/library/alpine/manifests/v1", 200, "docker.io"],
    ["/v2/index.docker.io/alpine/manifests/v1", 200, "docker.io"],
    ["/v2/team.example/app/web/manifests/v1", 200, "team.example:5443"],
    ["/v2/app/web/manifests/v1?ns=team.example", 200, "team.example:5443"],
    ["/v2/app/web/manifests/v1?ns=team.example%3A5443", 200, "team.example:5443"],
    ["/v2/team.example/app/web/manifests/v1?ns=team.example", 200, "team.example:5443"],
    ["/v2/docker.io/library/alpine/manifests/v1?ns=team.example", 400, null],
    ["/v2/app/web/manifests/v1", 404, "docker.io"],
    ["/v2/evil.example/app/manifests/v1", 403, null],
    ["/v2/app/web/manifests/v1?ns=evil.example", 403, null],
    ["/v2/localhost/app/manifests/v1", 403, null],
    ["/v2/169.254.169.254/app/manifests/v1", 403, null],
    ["/v2/xdocker.io/library/alpine/manifests/v1", 403, null],
    ["/v2/docker.io.evil.example/library/alpine/manifests/v1", 403, null],
  ];
  for (const [path, status, namespace] of cases) {
    const response = await fetch(proxy.url + path, { headers: { "x-forwarded-host": "evil" } });
    t.equal(response.status, status, path);
    t.equal(response.headers.get("oci-namespace"), namespace, path);
    await response.body?.cancel();
  }
});

t.test("one spelling a name: any other is refused before anything else happens", async (t) => {
  const { hub, team, proxy } = await rig(t);
  const before = hub.requests.length + team.requests.length;
  const name = "a".repeat(250);
  for (const [path, status] of [
    ["/v2/library//alpine/manifests/v1", 400],
    ["/v2/library%2Falpine/manifests/v1", 400],
    ["/v2/library/../alpine/manifests/v1", 400],
    ["/v2/library/./alpine/manifests/v1", 400],
    ["/v2/library/alpine/manifests/v1/", 400],
    ["/v2/Library/alpine/manifests/v1", 400],
    ["/v2/library/alpine;x/manifests/v1", 400],
    ["/v2/library/alpine\\/manifests/v1", 400],
    ["/v2/library/alp%00ine/manifests/v1", 400],
    ["/v2/../../etc/passwd", 400],
    ["//v2/library/alpine/manifests/v1", 400],
    ["/v2/library/.alpine/manifests/v1", 400],
    ["/v2/library/-alpine/manifests/v1", 400],
    // No registry can have such a tag: the conformance suite wants to hear that.
    ["/v2/library/alpine/manifests/.v1", 404],
    ["/v2/library/alpine/manifests/-v1", 404],
    [`/v2/library/alpine/manifests/${"t".repeat(129)}`, 404],
    [`/v2/${name}/bbbbbb/manifests/v1`, 400],
    [`/v2/library/alpine/manifests/sha256:${HEX.slice(1)}`, 400],
    [`/v2/library/alpine/manifests/sha256:${HEX.toUpperCase()}`, 400],
    ["/v2/library/alpine/blobs/sha256:totallywrong", 400],
    [`/v2/library/alpine/blobs/sha384:${HEX}`, 400],
    [`/v2/library/alpine/blobs/md5:${HEX}`, 400],
    ["/v2/library/alpine/referrers/latest", 400],
    ["/v2/library/alpine/manifests/v1?ns=a&ns=b", 400],
    ["/v2/library/alpine/manifests/v1?evil=1", 400],
    ["/v2/library/alpine/tags/list?n=-1", 400],
    ["/v2/library/alpine/tags/list?n=NaN", 400],
    ["/v2/library/alpine/tags/list?last=../", 400],
    ["/v2/_catalog", 404],
    ["/v2/library/alpine", 404],
    ["/metrics", 404],
    ["/readyz", 404],
    ["//metrics", 400],
    ["/v2/../metrics", 400],
    ["/", 404],
  ] as const) {
    const answer = await raw(proxy, `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`);
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), path);
    t.match(answer, /x-content-type-options: nosniff/i, path);
  }
  t.equal(hub.requests.length + team.requests.length, before, "nobody upstream was asked");
});

t.test("names and tags as long as they may be are asked for", async (t) => {
  const { hub, proxy } = await rig(t);
  const long = `${"a".repeat(127)}/${"b".repeat(127)}`;
  const tag = `_${"t".repeat(127)}`;
  hub.addManifest(long, tag, { schemaVersion: 2 }, OCI);
  t.equal((await fetch(`${proxy.url}/v2/${long}/manifests/${tag}`)).status, 200);
});

t.test("whatever writes is refused, and nobody upstream hears of it", async (t) => {
  const { hub, proxy } = await rig(t);
  for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"]) {
    const answer = await raw(
      proxy,
      `${method} /v2/library/alpine/manifests/v1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc`,
    );
    t.match(answer, /^HTTP\/1\.1 405 /, method);
    t.match(answer, /"code":"UNSUPPORTED"/, method);
    t.match(answer, /connection: close/i, method);
  }
  t.equal(hub.requests.length, 0);
});

t.test(
  "requests that could smuggle another one are refused, and the connection ends",
  async (t) => {
    const { proxy } = await rig(t);
    const headers = Array.from({ length: 120 }, (_, at) => `X-${at}: a\r\n`).join("");
    for (const [text, status] of [
      ["GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400],
      ["GET /v2/ HTTP/1.1\r\n\r\n", 400],
      ["GET /v2/\r\n\r\n", 400],
      ["GET http://evil.example/v2/ HTTP/1.1\r\nHost: h\r\n\r\n", 400],
      ["GET /v2/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 400],
      ["GET /v2/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
      ["GET /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 400],
      [
        "GET /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
      ],
      [`GET /v2/ HTTP/1.1\r\nHost: h\r\nX: ${"a".repeat(20_000)}\r\n\r\n`, 431],
      [`GET /v2/ HTTP/1.1\r\nHost: h\r\n${headers}\r\n`, 431],
      [`GET /v2/${"a".repeat(5000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
      [`GET /v2/a/tags/list?${"a=1&".repeat(500)} HTTP/1.1\r\nHost: h\r\n\r\n`, 400],
    ] as const) {
      const answer = await raw(proxy, text);
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), text.slice(0, 80));
      t.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, "one answer");
    }
  },
);

t.test("every failure is the status, code and words that clients understand", async (t) => {
  const path = "/v2/library/alpine/manifests/v1";
  const digest = `sha256:${HEX}`;
  const blob = `/v2/library/alpine/blobs/${digest}`;
  const html = { "content-type": "text/html" };
  const rows: [
    name: string,
    fault: object,
    path: string,
    status: number,
    code: string,
    words: RegExp,
  ][] = [
    [
      "404 manifest",
      { status: 404, code: "MANIFEST_UNKNOWN" },
      path,
      404,
      "MANIFEST_UNKNOWN",
      /docker\.io/,
    ],
    ["404 blob", { status: 404, code: "BLOB_UNKNOWN" }, blob, 404, "BLOB_UNKNOWN", /docker\.io/],
    ["404 name", { status: 404, code: "NAME_UNKNOWN" }, path, 404, "NAME_UNKNOWN", /docker\.io/],
    ["401", { status: 401 }, path, 403, "DENIED", /does not exist/],
    ["403", { status: 403 }, blob, 403, "DENIED", /does not exist/],
    [
      "429",
      { status: 429, headers: { "retry-after": "7" } },
      path,
      429,
      "TOOMANYREQUESTS",
      /docker\.io/,
    ],
    ["500", { status: 500 }, path, 503, "UNAVAILABLE", /docker\.io/],
    ["502", { status: 502 }, blob, 503, "UNAVAILABLE", /docker\.io/],
    ["reset", { reset: true }, path, 503, "UNAVAILABLE", /docker\.io/],
    [
      "HTML",
      { status: 200, body: "<html>", headers: html },
      path,
      502,
      "UNAVAILABLE",
      /docker\.io/,
    ],
    ["204", { status: 204, body: "" }, blob, 502, "UNAVAILABLE", /docker\.io/],
  ];
  for (const [name, fault, asked, status, code, words] of rows) {
    await t.test(name, async (t) => {
      const { hub, proxy } = await rig(t);
      hub.on({}, fault);
      const response = await fetch(proxy.url + asked);
      t.equal(response.status, status);
      const body = (await response.json()) as { errors: [{ code: string; message: string }] };
      t.equal(body.errors[0].code, code);
      t.match(body.errors[0].message, words);
      t.equal(response.headers.get("content-type"), "application/json");
      t.equal(response.headers.get("x-content-type-options"), "nosniff");
      t.equal(response.headers.has("retry-after"), status === 429 || status === 503);
      const head = await fetch(proxy.url + asked, { method: "HEAD" });
      t.equal(head.status, status, "HEAD says the same");
      if (status === 403) {
        t.match(response.statusText, /^Forbidden - docker\.io refused/);
        t.match(response.statusText, /^[\x20-\x7e]{1,200}$/);
      }
    });
  }
});

t.test("pipelined requests are answered in turn, whatever they ask for", async (t) => {
  const { hub, proxy } = await rig(t);
  const bytes = Buffer.alloc(200_000, "x");
  const digest = hub.addBlob("library/alpine", bytes);
  const paths = [
    "manifests/v1",
    `blobs/${digest}`,
    "manifests/none",
    `blobs/${digest}`,
    "tags/list",
  ];
  const asked = Array.from({ length: 50 }, () => paths).flat();
  const { hostname, port } = new URL(proxy.url);
  const socket = connect(Number(port), hostname);
  const answered = new Promise<string>((resolve) => {
    let answer = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.on("close", () => resolve(answer));
  });
  const last = asked.length - 1;
  for (const [at, path] of asked.entries()) {
    const close = at === last ? "Connection: close\r\n" : "";
    socket.write(`GET /v2/library/alpine/${path} HTTP/1.1\r\nHost: h\r\n${close}\r\n`);
  }
  const statuses = [...(await answered).matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status);
  t.same(
    statuses,
    asked.map((path) => (path === "manifests/none" ? "404" : "200")),
  );
  t.equal(hub.getsOf(digest), 1);
});

t.test("one bad client does not spoil it for the next", async (t) => {
  const { proxy } = await rig(t);
  await raw(proxy, "\x16\x03\x01\x02\x00\x01");
  await raw(proxy, "GET /v2/ HTTP/1.1\nHost: h\n\n");
  t.equal((await fetch(`${proxy.url}/v2/`)).status, 200);
});

t.test("admin says whether it lives, whether it is ready, and what it counted", async (t) => {
  const { hub, proxy } = await rig(t);
  await hub.stop();
  await fetch(`${proxy.url}/v2/library/alpine/manifests/v1`);
  t.equal((await fetch(`${proxy.adminUrl}/livez`)).status, 200);
  const ready = await fetch(`${proxy.adminUrl}/readyz`);
  t.equal(ready.status, 200, "a dead upstream is ready, but degraded");
  t.match(await ready.text(), /upstream docker\.io/);
  const metrics = await (await fetch(`${proxy.adminUrl}/metrics`)).text();
  t.match(metrics, /sluice_upstream_up\{upstream="docker\.io"\} 0/);
  t.match(
    metrics,
    /sluice_pull_errors_total\{upstream="docker\.io",kind="manifest",reason="upstream-unavailable"\} 1/,
  );
  t.match(metrics, /sluice_build_info\{version="0\.0\.0-test"/);
});
