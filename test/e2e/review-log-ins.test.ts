import t from "tap";
import { ISSUER, MAIN, START, sign } from "../clients/token-rig.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";
import { basic, startTenantRegistry } from "../support/tenant-registry.ts";
import { errorOf, openUpstream } from "../support/upstream-rig.ts";

const ALICE = basic("alice:a-secret");
const BOB = basic("bob:b-secret");

function ask(proxy: TestProxy, path: string, authorization?: string): Promise<Response> {
  const headers = authorization === undefined ? {} : { authorization };
  return fetch(`${proxy.url}/v2/${path}`, { headers });
}

t.test("a log-in that breaks the registry breaks it for nobody else", async (t) => {
  const { upstream } = await startTenantRegistry(t, "basic");
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [upstream.url], access: "per-client" }],
  });
  t.equal((await ask(proxy, "a/app/manifests/v1", ALICE)).status, 200);
  upstream.on({ path: /odd/ }, { reset: true });
  const odd = Array.from({ length: 12 }, (_, index) =>
    ask(proxy, `public/app/manifests/odd-${index}`),
  );
  await Promise.all(odd);
  t.equal((await ask(proxy, "b/app/manifests/v1", BOB)).status, 200, proxy.complaints.at(-1) ?? "");
});

t.test("a password that was changed there proves nothing after a minute", async (t) => {
  const { upstream: registry } = await startTenantRegistry(t, "bearer");
  registry.tokens.expiresIn = 3600;
  let lateMs = 0;
  const now = (): number => performance.now() + lateMs;
  const { upstream } = openUpstream(t, [registry.url], { surroundings: { now } });
  const alice = { kind: "basic", username: "alice", password: "a-secret" } as const;
  const { proof, pull } = upstream.forClient(alice);
  const image = { repository: "a/app", reference: "v1" };
  await proof.headManifest(image);
  await registry.requireAuth({ scheme: "bearer", may: () => false, isKnown: () => false });
  lateMs = 59_000;
  await proof.headManifest(image);
  lateMs = 61_000;
  t.match(await errorOf(proof.headManifest(image)), { code: "upstream-refused" });
  await pull.headManifest(image); // with the token, which the registry still takes
});

t.test("a token for us is not passed on, good or not", async (t) => {
  const tenants = await startTenantRegistry(t, "basic");
  const folder = t.testdir({ "jwks.json": JSON.stringify({ keys: [MAIN.jwk] }) });
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [tenants.upstream.url], access: "per-client" }],
    clients: {
      tokens: [
        {
          issuer: ISSUER,
          audience: "sluice",
          jwksFile: `${folder}/jwks.json`,
          nameClaim: "sub",
          groupsClaim: "groups",
        },
      ],
      anonymous: true,
    },
    now: () => START * 1000,
  });
  const claims = { iss: ISSUER, aud: "sluice", sub: "alice", exp: START + 600 };
  const early = await sign({ ...claims, nbf: START + 60 });
  for (const header of [`Bearer ${early}`, basic(`alice:${early}`)]) {
    t.equal((await ask(proxy, "a/app/manifests/v1", header)).status, 401);
  }
  const seen = tenants.upstream.requests.filter(({ headers }) => headers.authorization);
  t.same(seen, []);
});
