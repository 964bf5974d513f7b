import { EventEmitter } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { loadConfig } from "../../server/config/config.ts";
import type { ReloadOutcome } from "../../server/config/reload.ts";
import { ConfigReloader } from "../../server/config/reload.ts";
import { GOOD_CERTIFICATE, TEST_CA } from "../support/tls-fixture.ts";

/** What becomes of a reload from one text to another. */
async function reload(t: Test, before: string, after: string): Promise<ReloadOutcome> {
  const folder = t.testdir({
    "sluice.yaml": before,
    "server.crt": GOOD_CERTIFICATE.cert,
    "server.key": GOOD_CERTIFICATE.key,
    "ca.crt": TEST_CA,
  });
  const file = join(folder, "sluice.yaml");
  await using reloader = new ConfigReloader({
    file,
    environment: {},
    settings: loadConfig(file, {}),
    apply: () => Promise.resolve(),
    metrics: { reload: () => undefined },
    logger: { info: () => undefined, error: () => undefined },
    signals: new EventEmitter(),
  });
  await writeFile(file, after);
  return await reloader.reload("signal");
}

const PRIVATE = "upstreams:\n  a.example:\n    tagFreshSeconds: 1\n    access: per-client\n";

t.test("what is private is not laid open by a file that is cut off", async (t) => {
  const cut = PRIVATE.slice(0, PRIVATE.indexOf("    access"));
  t.equal(await reload(t, PRIVATE, cut), "refused");
  t.equal(await reload(t, cut, PRIVATE), "applied", "it may come with a reload");
  const other = PRIVATE.replace("a.example", "b.example");
  t.equal(await reload(t, PRIVATE, other), "applied", "and go with its registry");
});

t.test("a client's certificate is not done without by a file that is cut off", async (t) => {
  const tls = "upstreams: { a.example: {} }\ntls:\n  certFile: server.crt\n  keyFile: server.key\n";
  const mutual = `${tls}  clientCaFile: ca.crt\n`;
  t.equal(await reload(t, mutual, tls), "refused");
  t.equal(await reload(t, tls, mutual), "applied", "it may come with a reload");
  const clients = "clients:\n  anonymous: true\n";
  t.equal(await reload(t, mutual, tls + clients), "applied", "where clients are known otherwise");
});
