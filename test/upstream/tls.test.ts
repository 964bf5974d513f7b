import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { TestCertificate } from "../support/tls-fixture.ts";
import {
  EXPIRED_CERTIFICATE,
  GOOD_CERTIFICATE,
  TEST_CA,
  WRONG_NAME_CERTIFICATE,
} from "../support/tls-fixture.ts";
import { metricOf, openFake, openUpstream } from "../support/upstream-rig.ts";

const REQUEST = { repository: "team/app", reference: "1" };

async function openTls(
  t: Test,
  certificate: TestCertificate,
): Promise<{ readonly url: string; readonly asked: string[]; connections: () => number }> {
  const asked: string[] = [];
  let connections = 0;
  const server = createServer({ ...certificate }, (request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(200, { "content-type": "application/json", "content-length": 2 }).end("{}");
  });
  server.on("connection", () => {
    connections += 1;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `https://127.0.0.1:${port}`, asked, connections: () => connections };
}

function caFileOf(t: Test): string {
  return join(t.testdir({ "ca.crt": TEST_CA }), "ca.crt");
}

t.test("a registry with a private authority is believed when its caFile is given", async (t) => {
  const server = await openTls(t, GOOD_CERTIFICATE);
  const { upstream } = openUpstream(t, [server.url], { caFile: caFileOf(t) });
  t.equal((await upstream.fetchManifest(REQUEST)).bytes.toString(), "{}");
  await upstream.headManifest(REQUEST);
  await upstream.fetchManifest(REQUEST);
  t.equal(server.connections(), 1, "one handshake for all of it");
});

t.test(
  "a certificate that cannot be believed is the reason given, and not tried again",
  async (t) => {
    const caFile = caFileOf(t);
    const cases: [TestCertificate, { caFile?: string }, RegExp][] = [
      [GOOD_CERTIFICATE, {}, /certificate .*(UNABLE_TO|SELF_SIGNED)/],
      [WRONG_NAME_CERTIFICATE, { caFile }, /certificate .*ALTNAME_INVALID/],
      [EXPIRED_CERTIFICATE, { caFile }, /certificate .*CERT_HAS_EXPIRED/],
    ];
    for (const [certificate, options, message] of cases) {
      const server = await openTls(t, certificate);
      const { upstream, metrics } = openUpstream(t, [server.url], options);
      await t.rejects(upstream.fetchManifest(REQUEST), { code: "upstream-unavailable", message });
      t.equal(server.connections(), 1);
      t.same(server.asked, []);
      const errors = 'sluice_upstream_errors_total{upstream="team.example",reason="tls"}';
      t.equal(await metricOf(metrics, errors), 1);
    }
  },
);

t.test("a handshake that never ends is given up", async (t) => {
  const server = createTcpServer(() => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const { upstream } = openUpstream(t, [`https://127.0.0.1:${port}`], {
    limits: { connectTimeoutMs: 200 },
  });
  await t.rejects(upstream.fetchManifest(REQUEST), { code: "upstream-unavailable" });
  server.close();
});

t.test("nothing leads from https to http", async (t) => {
  const plain = await openFake(t);
  const server = createServer({ ...GOOD_CERTIFICATE }, (_request, response) => {
    response.writeHead(307, { location: `${plain.url}/` }).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const { upstream } = openUpstream(t, [`https://127.0.0.1:${port}`], { caFile: caFileOf(t) });
  await t.rejects(upstream.fetchManifest(REQUEST), {
    code: "upstream-invalid",
    message: /leaves https for http/,
  });
  t.equal(plain.requests.length, 0);
});

t.test("a plain server where TLS is configured is not spoken to without it", async (t) => {
  const plain = await openFake(t);
  const { upstream } = openUpstream(t, [plain.url.replace("http:", "https:")]);
  await t.rejects(upstream.fetchManifest(REQUEST), { code: "upstream-unavailable" });
  t.equal(plain.requests.length, 0);
});

t.test("a caFile that cannot be read is known at the start", (t) => {
  const open = () => openUpstream(t, ["https://127.0.0.1:9"], { caFile: "/nowhere/ca.crt" });
  t.throws(open, { code: "ENOENT" });
  t.end();
});
