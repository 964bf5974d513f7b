import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import type { Test } from "tap";
import t from "tap";
import { createAdminServer } from "../../server/admin/server.ts";
import { Metrics } from "../../server/metrics.ts";
import { SluiceProcess } from "../support/sluice-process.ts";

interface Asked {
  readonly remoteAddress?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function open(t: Test, tokenFile?: string): { admin: FastifyInstance; reloads: () => number } {
  let count = 0;
  const admin = createAdminServer({
    metrics: new Metrics(),
    readiness: () => ({ isReady: true, reasons: [] }),
    tokenFile: () => tokenFile,
    reload: () => {
      count += 1;
      return Promise.resolve(count > 1 ? "refused" : "applied");
    },
  });
  t.teardown(() => admin.close());
  return { admin, reloads: () => count };
}

async function reload(admin: FastifyInstance, { remoteAddress, headers }: Asked): Promise<number> {
  const { statusCode } = await admin.inject({
    method: "POST",
    url: "/api/v1/reload",
    remoteAddress: remoteAddress ?? "127.0.0.1",
    headers: { host: "127.0.0.1:5001", ...headers },
  });
  return statusCode;
}

t.test("without a token, only a program on this machine changes something", async (t) => {
  const { admin, reloads } = open(t);
  const refused: readonly Asked[] = [
    { remoteAddress: "10.0.0.7" },
    { remoteAddress: "192.168.1.1", headers: { host: "localhost" } },
    { headers: { origin: "https://page.example" } },
    { headers: { origin: "null" } },
    { headers: { "sec-fetch-site": "cross-site" } },
    { headers: { host: "rebound.example:5001" } },
    { headers: { host: "127.0.0.1.page.example" } },
  ];
  for (const asked of refused) {
    t.equal(await reload(admin, asked), 403, JSON.stringify(asked));
  }
  t.equal(reloads(), 0);
  t.equal(await reload(admin, { headers: { host: "localhost:5001" } }), 200);
  t.equal(await reload(admin, { remoteAddress: "::1", headers: { host: "[::1]:5001" } }), 422);
});

t.test("with a token, whoever has it, and nobody else", async (t) => {
  const file = join(t.testdir({ "admin.token": "the-token\n" }), "admin.token");
  const { admin, reloads } = open(t, file);
  const wrong = [
    undefined,
    "Bearer",
    "Bearer wrong",
    "Bearer the-token2",
    "Basic dGhlLXRva2Vu",
    "the-token",
    "Bearer the-token the-token",
  ];
  for (const authorization of wrong) {
    const headers = authorization === undefined ? {} : { authorization };
    t.equal(await reload(admin, { headers }), 401, String(authorization));
  }
  t.equal(reloads(), 0);
  const far = { remoteAddress: "10.0.0.7", headers: { authorization: "Bearer the-token" } };
  t.equal(await reload(admin, far), 200);
  writeFileSync(file, "another");
  t.equal(await reload(admin, far), 401, "a rotated token counts at once");
  rmSync(file);
  t.equal(await reload(admin, far), 503, "and none at all lets nobody in");
  t.equal(reloads(), 1);
});

t.test("health and metrics stay open, and nothing is changed by reading", async (t) => {
  const { admin, reloads } = open(t, join(t.testdir({}), "none"));
  for (const url of ["/livez", "/readyz", "/metrics"]) {
    t.equal((await admin.inject({ url })).statusCode, 200, url);
  }
  t.equal((await admin.inject({ url: "/api/v1/reload" })).statusCode, 404);
  t.equal(reloads(), 0);
});

t.test("a running proxy reads its configuration again when asked to", async (t) => {
  const folder = t.testdir({});
  const config = (seconds: number): string =>
    `upstreams: { team.example: { tagFreshSeconds: ${seconds} } }\nadminTokenFile: admin.token\n`;
  await using sluice = await SluiceProcess.start({
    folder,
    config: config(1),
    files: { "admin.token": "t0ken" },
  });
  const post = async (authorization: string): Promise<{ status: number; body: unknown }> => {
    const url = `${sluice.admin}/api/v1/reload`;
    const response = await fetch(url, { method: "POST", headers: { authorization } });
    return { status: response.status, body: await response.json() };
  };
  t.equal((await post("Bearer t0keN")).status, 401);
  t.same(await post("Bearer t0ken"), { status: 200, body: { outcome: "applied" } });
  writeFileSync(join(folder, "sluice.yaml"), config(-1));
  t.match(await post("Bearer t0ken"), { status: 422, body: { outcome: "refused" } });
});
