import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { ClientSettings, UpstreamSettings } from "../../server/settings.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";
import type { TenantImage, TenantRegistry } from "../support/tenant-registry.ts";
import {
  basic,
  imageNaming,
  REPOSITORIES,
  startTenantRegistry,
} from "../support/tenant-registry.ts";
import { BOB } from "../support/tenant-rig.ts";
import type { Ask, Reply } from "../support/tenant-rows.ts";
import { everyAsk, faceOf, problemOf, send } from "../support/tenant-rows.ts";

t.setTimeout(120_000);

const ANNA = basic("anna:sluice-anna");
const BERT = basic("bert:sluice-bert");
/** Their passwords are `sluice-anna` and `sluice-bert`. */
const USERS = [
  "anna:$2b$04$abcdefghijklmnopqrstuuIAVcHKcuhVzmXuwFimZaBWh.R36ULpO",
  "bert:$2b$04$abcdefghijklmnopqrstuuCgy9go/f/q/A50jjJA1pRyk9qwmcbbm",
];
const RULES = [
  { who: ["user:anna"], pull: ["team.example/a/**"] },
  { who: ["user:bert"], pull: ["team.example/b/*"] },
  { who: ["user:anna", "user:bert"], pull: ["team.example/both/app"] },
  { who: ["*"], pull: ["team.example/public/**"] },
];

function clientsOf(t: Test, given: Partial<ClientSettings> = {}): ClientSettings {
  const folder = t.testdir({ users: USERS.join("\n") });
  const htpasswdFile = join(folder, "users");
  return { htpasswdFile, tokens: [], anonymous: true, rules: RULES, ...given };
}

interface Rig {
  readonly registry: TenantRegistry;
  readonly proxy: TestProxy;
  readonly theirs: TenantImage;
}

async function start(
  t: Test,
  upstream: Partial<UpstreamSettings>,
  clients: Partial<ClientSettings> = {},
): Promise<Rig> {
  const registry = await startTenantRegistry(t, "basic");
  const theirs = registry.images.get("a/app");
  if (theirs === undefined) {
    throw new Error("tenant a has no image");
  }
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [registry.upstream.url], ...upstream }],
    clients: clientsOf(t, clients),
  });
  return { registry, proxy, theirs };
}

/** What the rules come to, written down apart from them. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  anna: ["a/app", "a/gone", "both/app", "public/app"],
  bert: ["b/app", "both/app", "public/app"],
  nobody: ["public/app"],
  wrong: [],
  gone: [],
  token: [],
};
const AS: Readonly<Record<string, string | undefined>> = {
  anna: ANNA,
  bert: BERT,
  nobody: undefined,
  wrong: basic("anna:sluice-bert"),
  gone: basic("carol:sluice-carol"),
  token: "Bearer eyJhbGciOiJub25lIn0.e30.",
};

t.test("rules over a registry that we pull from as one", async (t) => {
  const { registry, proxy } = await start(t, { auth: { username: "robot", password: "r-secret" } });
  const asks = everyAsk(registry);
  const faces = new Map<string, string>();
  const problems: string[] = [];
  for (const round of ["cold", "warm"]) {
    for (const ask of asks) {
      // Those who may not come first: once to an empty cache, once to a full one.
      for (const who of Object.keys(MAY).toReversed()) {
        const problem = await problemWith(proxy.url, registry, { ask, who, faces });
        if (problem !== undefined) {
          problems.push(`${round}: ${who}: ${ask.repository}: ${ask.how}: ${problem}`);
        }
      }
    }
  }
  t.same(problems, []);
});

async function problemWith(
  url: string,
  { upstream }: TenantRegistry,
  { ask, who, faces }: { ask: Ask; who: string; faces: Map<string, string> },
): Promise<string | undefined> {
  const ours = await send(url, ask, AS[who]);
  if (MAY[who]?.includes(ask.repository) === true) {
    return problemOf(ask, await send(upstream.url, ask, basic("robot:r-secret")), ours);
  }
  const refusal: Reply = { status: 401, headers: new Headers(), body: "" };
  const key = `${who} ${ask.repository} ${ask.how}`;
  const face = faceOf(ours);
  const before = faces.get(key) ?? face;
  faces.set(key, face);
  return problemOf(ask, refusal, ours) ?? (before === face ? undefined : "in other words");
}

t.test("what a rule refuses is refused alike, whether it exists or not", async (t) => {
  const { proxy } = await start(t, { auth: { username: "robot", password: "r-secret" } });
  const faceAt = async (repository: string, path: string): Promise<string> => {
    const ask = { path: `/v2/${repository}/${path}` };
    return faceOf(await send(proxy.url, ask, BERT)).replaceAll(/a\/[a-z]+/g, "REPOSITORY");
  };
  for (const path of ["manifests/v1", "tags/list", `blobs/sha256:${"0".repeat(64)}`]) {
    const lengthless = (face: string): string => face.replace(/"content-length","\d+"/, "");
    const there = lengthless(await faceAt("a/app", path));
    t.equal(lengthless(await faceAt("a/gone", path)), there, path);
  }
});

t.test("a manifest of one's own names nothing of another's, where rules differ", async (t) => {
  const { registry, proxy, theirs } = await start(t, {
    auth: { username: "robot", password: "r-secret" },
  });
  const layer = { digest: theirs.layer, size: theirs.layerText.length };
  registry.upstream.addManifest("b/app", "thief", imageNaming(layer, [layer]));
  const ask = async (path: string, as: string): Promise<number> =>
    (await send(proxy.url, { path: `/v2/${path}` }, as)).status;
  t.equal(await ask("b/app/manifests/thief", BERT), 200);
  t.equal(await ask("a/app/manifests/v1", ANNA), 200);
  t.equal(await ask(`a/app/blobs/${theirs.layer}`, ANNA), 200);
  for (const path of [`blobs/${theirs.layer}`, `manifests/${theirs.image}`]) {
    t.equal(await ask(`b/app/${path}`, BERT), 404, path);
    t.equal(await ask(`both/app/${path}`, BERT), 404, path);
    t.equal(await ask(`both/app/${path}`, ANNA), 404, "hers, but not there");
  }
});

t.test("a rule's glob ends where its name ends", async (t) => {
  const { proxy } = await start(t, {
    auth: { username: "robot", password: "r-secret" },
    aliases: ["alias.example"],
  });
  const rows: readonly (readonly [path: string, anna: boolean, bert: boolean])[] = [
    ["a/app", true, false],
    ["a/app/deep/er", true, false],
    ["team.example/a/app", true, false],
    ["alias.example/a/app", true, false],
    ["aa/app", false, false],
    ["a", false, false],
    ["a-b/app", false, false],
    ["x/a/app", false, false],
    ["team.example/team.example/a/app", false, false],
    ["b/app", false, true],
    ["b/app/deep", false, false],
    ["bb/app", false, false],
    ["both/app", true, true],
    ["both/app2", false, false],
    ["both/app/x", false, false],
  ];
  for (const [name, ...allowed] of rows) {
    for (const [at, as] of [ANNA, BERT].entries()) {
      for (const query of ["", "?ns=team.example", "?ns=ALIAS.example"]) {
        const ask = { path: `/v2/${name}/manifests/v9${query}` };
        const { status, body } = await send(proxy.url, ask, as);
        const isRefused = status === 403 && body.includes("no rule of clients.rules");
        t.equal(!isRefused, allowed[at], `${at}: ${name}${query}: ${status}`);
      }
    }
  }
});

t.test("a log-in here is no log-in there, and the reverse", async (t) => {
  const { registry, proxy, theirs } = await start(t, { access: "per-client" });
  const { upstream } = registry;
  const paths = REPOSITORIES.flatMap((name) => [
    `/v2/${name}/manifests/v1`,
    `/v2/${name}/blobs/${theirs.layer}`,
    `/v2/${name}/tags/list`,
    `/v2/${name}/referrers/${theirs.image}`,
  ]);
  for (const path of ["/v2/", ...paths]) {
    for (const as of [ANNA, BERT]) {
      const { status } = await send(proxy.url, { path }, as);
      t.ok(path === "/v2/" || path.includes("public/") || status >= 400, `${path}: ${status}`);
    }
  }
  const sent = upstream.requests.map(({ headers }) => headers.authorization);
  t.same([...new Set(sent)], [undefined], "ours reached nobody");

  // Theirs, with a rule that lets in whoever it is to public images alone: it goes no further.
  const before = upstream.requests.length;
  t.equal(
    (await send(proxy.url, { path: "/v2/b/app/manifests/v1" }, BOB.authorization)).status,
    401,
  );
  t.equal(upstream.requests.length, before, "no rule lets anybody in there");
  t.equal(
    (await send(proxy.url, { path: "/v2/public/app/manifests/v1" }, BOB.authorization)).status,
    200,
  );
});

t.test("who logs in there needs no log-in here, where anybody is let in", async (t) => {
  const { registry, proxy } = await start(
    t,
    { access: "per-client" },
    { rules: [{ who: ["anonymous"], pull: ["**"] }] },
  );
  const ask = async (path: string, as?: string): Promise<number> =>
    (await send(proxy.url, { path: `/v2/${path}/manifests/v1` }, as)).status;
  t.equal(await ask("b/app", BOB.authorization), 200);
  t.equal(await ask("a/app", BOB.authorization), 403);
  t.equal(await ask("b/app"), 401);
  t.equal(await ask("public/app", ANNA), 403, "anna is known here, and no rule is for her");
  const sent = new Set(registry.upstream.requests.map(({ headers }) => headers.authorization));
  t.notOk(sent.has(ANNA));
});
