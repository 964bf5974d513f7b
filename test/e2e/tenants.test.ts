import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Scheme, TenantRegistry } from "../support/tenant-registry.ts";
import { startTenantRegistry } from "../support/tenant-registry.ts";
import type { Faces, Oracle, Who } from "../support/tenant-rig.ts";
import {
  ALICE,
  BOB,
  forgetBlobs,
  NOBODY,
  oracleOf,
  startPerClient,
  sweep,
  WHO,
} from "../support/tenant-rig.ts";
import type { Ask } from "../support/tenant-rows.ts";
import { everyAsk, send } from "../support/tenant-rows.ts";

t.setTimeout(240_000);

interface Table {
  readonly registry: TenantRegistry;
  readonly asks: readonly Ask[];
  readonly oracle: Oracle;
  readonly own: boolean;
  readonly faces: Faces;
}

const MODES: readonly { readonly scheme: Scheme; readonly own: boolean }[] = [
  { scheme: "basic", own: false },
  { scheme: "basic", own: true },
  { scheme: "bearer", own: false },
  { scheme: "bearer", own: true },
];

for (const { scheme, own } of MODES) {
  const login = own ? "with" : "without";
  t.test(`what the registry would not give (${scheme}, ${login} our own log-in)`, async (t) => {
    const registry = await startTenantRegistry(t, scheme);
    const asks = everyAsk(registry);
    const oracle = await oracleOf(registry, scheme, asks);
    const refused = WHO.flatMap((who) => asks.map((ask) => oracle(who, ask).status)).filter(
      (status) => status === 401,
    );
    t.ok(refused.length > 500 && refused.length < WHO.length * asks.length, "rights differ");
    const table = { registry, asks, oracle, own, faces: new Map() };
    t.test("is not given by an empty cache", (t) => askEmpty(t, table));
    t.test("is not given once somebody has pulled it", (t) => askWarm(t, table));
    if (own === (scheme === "basic")) {
      return; // the rest sees both of each, and not all four combinations
    }
    t.test("is not given after a restart, with what is held and without", (t) =>
      askRestarted(t, table),
    );
    t.test("is not given while nobody can be asked", (t) => askAlone(t, table));
  });
}

/** Each on its own: nothing was asked by anybody else before. */
async function askEmpty(t: Test, { registry, asks, oracle, own, faces }: Table): Promise<void> {
  for (const who of WHO) {
    const { url } = await startPerClient(t, registry, { own });
    t.same(await sweep(url, oracle, asks, { who: [who], faces }), [], who.name);
  }
}

async function askWarm(t: Test, { registry, asks, oracle, own, faces }: Table): Promise<void> {
  for (const [first, who] of [
    [ALICE, WHO],
    [BOB, WHO.toReversed()],
  ] as const) {
    const { url } = await startPerClient(t, registry, { own });
    t.same(await sweep(url, oracle, asks, { who: [first], faces }), [], `warmed by ${first.name}`);
    t.same(await sweep(url, oracle, asks, { who, faces }), [], `after ${first.name}`);
  }
}

async function askRestarted(t: Test, table: Table): Promise<void> {
  const { registry, asks, oracle, own, faces } = table;
  const dataPath = await mkdtemp(join(tmpdir(), "sluice-tenants-"));
  t.teardown(() => rm(dataPath, { recursive: true, force: true }));
  let proxy = await startPerClient(t, registry, { own, dataPath });
  await sweep(proxy.url, oracle, asks, { who: [ALICE, BOB], faces });
  for (const isEvicted of [false, true]) {
    await proxy.app[Symbol.asyncDispose]();
    if (isEvicted) {
      await forgetBlobs(dataPath);
    }
    proxy = await startPerClient(t, registry, { own, dataPath });
    const who: readonly Who[] = WHO.toReversed();
    t.same(await sweep(proxy.url, oracle, asks, { who, faces }), [], `evicted: ${isEvicted}`);
  }
}

/** What was proved holds for a minute; nothing else is proved by an outage. */
async function askAlone(t: Test, { registry, asks, oracle, own, faces }: Table): Promise<void> {
  let nowMs = Date.now();
  const { url } = await startPerClient(t, registry, { own, now: () => nowMs });
  await sweep(url, oracle, asks, { who: [ALICE], faces });
  await registry.upstream.stop();
  for (const [minutes, isServed] of [
    [0.6, true],
    [1.1, false],
  ] as const) {
    nowMs += minutes * 60_000;
    const served: string[] = [];
    for (const ask of asks) {
      for (const who of [ALICE, BOB, NOBODY]) {
        const { status } = await send(url, ask, who.authorization);
        if (status < 400 || status === 404) {
          t.equal(who, ALICE, `${who.name}: ${ask.repository}: ${ask.how}: ${status}`);
          t.ok(oracle(who, ask).status < 401 || oracle(who, ask).status === 404, ask.how);
          served.push(ask.how);
        }
      }
    }
    t.equal(served.length > 0, isServed, `after ${minutes} min: ${served.length}`);
  }
  await registry.upstream.listen();
}
