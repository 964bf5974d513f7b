import { EventEmitter } from "node:events";
import { appendFileSync, chmodSync } from "node:fs";
import { copyFile, cp, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Test } from "tap";
import t from "tap";
import { loadConfig } from "../../server/config/config.ts";
import { ConfigReloader } from "../../server/config/reload.ts";
import type { Settings } from "../../server/settings.ts";
import { POLICY_FILES } from "../support/policy-files.ts";

interface LogLine {
  readonly level: "info" | "error";
  readonly details: object;
  readonly message: string;
}

function start(t: Test, file: string, apply = async (_: Settings): Promise<void> => undefined) {
  const applied: Settings[] = [];
  const outcomes: string[] = [];
  const lines: LogLine[] = [];
  const signals = new EventEmitter();
  const reloader = new ConfigReloader({
    file,
    environment: {},
    settings: loadConfig(file, {}),
    apply: async (settings) => {
      await apply(settings);
      applied.push(settings);
    },
    metrics: { reload: (outcome) => outcomes.push(outcome) },
    logger: {
      info: (details, message) => lines.push({ level: "info", details, message }),
      error: (details, message) => lines.push({ level: "error", details, message }),
    },
    signals,
  });
  t.teardown(() => reloader[Symbol.asyncDispose]());
  return { reloader, signals, applied, outcomes, lines };
}

const fresh = (seconds: number) => `upstreams: { a.example: { tagFreshSeconds: ${seconds} } }\n`;
const freshOf = (settings: Settings | undefined) => settings?.upstreams[0]?.tagFreshSeconds;

/** What is looked into when the configuration is read. */
const CONTENTS: Readonly<Record<string, string>> = {
  "providers.yaml": `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: cat
    matchImages: ["*.example"]
    defaultCacheDuration: 1m
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`,
  users: `alice:$2y$10$${"a".repeat(21)}.${"a".repeat(30)}.\n`,
  "jwks.json": '{ "keys": [{}] }',
  "key.json": '{ "type": "service_account" }',
};

/** As editors do it: at no moment is there half a file. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.swp`, text);
  await rename(`${file}.swp`, file);
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let waitedMs = 0; !isTrue() && waitedMs < 10_000; waitedMs += 20) {
    await delay(20);
  }
}

t.test("SIGHUP takes over a new configuration", async (t) => {
  const file = join(t.testdir({ "sluice.yaml": fresh(1) }), "sluice.yaml");
  const { reloader, signals, applied, outcomes } = start(t, file);
  signals.emit("SIGHUP");
  await until(() => applied.length === 1);
  t.same(outcomes, ["applied"], "although nothing has changed: what is outside may have");
  await writeFile(file, fresh(2));
  t.equal(await reloader.reload("signal"), "applied");
  t.equal(freshOf(reloader.settings), 2);
});

t.test("an invalid file is told, counted, and changes nothing", async (t) => {
  const file = join(t.testdir({ "sluice.yaml": fresh(1) }), "sluice.yaml");
  const { reloader, applied, outcomes, lines } = start(t, file);
  await writeFile(file, "fleet: {}\nlisten: x\n");
  t.equal(await reloader.reload("signal"), "refused");
  t.same([applied.length, outcomes, freshOf(reloader.settings)], [0, ["refused"], 1]);
  t.match(lines, [
    {
      level: "error",
      message: /the old one goes on/,
      details: {
        problems: [
          { line: 1, column: 1 },
          { line: 2, column: 9 },
        ],
      },
    },
  ]);
});

t.test("what cannot be taken over is refused as a whole", async (t) => {
  const file = join(t.testdir({ "sluice.yaml": fresh(1) }), "sluice.yaml");
  const { reloader, outcomes, lines } = start(t, file, async (settings) => {
    if (freshOf(settings) === 2) {
      throw new Error("the certificate is not one");
    }
  });
  await writeFile(file, fresh(2));
  t.equal(await reloader.reload("signal"), "refused");
  t.equal(freshOf(reloader.settings), 1);
  t.match(lines[0]?.details, { err: { message: "the certificate is not one" } });
  await writeFile(file, fresh(3));
  t.equal(await reloader.reload("signal"), "applied");
  t.same(outcomes, ["refused", "applied"]);
});

t.test("what needs a restart is said, each time", async (t) => {
  const file = join(t.testdir({ "sluice.yaml": fresh(1) }), "sluice.yaml");
  const { reloader, lines } = start(t, file);
  await writeFile(file, `${fresh(2)}listen: :7000\nstorage: { disk: { path: elsewhere } }\n`);
  for (const _ of [1, 2]) {
    lines.length = 0;
    await reloader.reload("signal");
    t.match(
      lines.map(({ message }) => message),
      [
        "configuration reloaded",
        /^listen has changed: it needs a restart/,
        /^storage\.disk\.path has/,
      ],
    );
    t.match(lines[1]?.details, { running: "127.0.0.1:5000", configured: "[::]:7000" });
  }
});

t.test("reloads run one after the other, and the last file wins", async (t) => {
  const file = join(t.testdir({ "sluice.yaml": fresh(1) }), "sluice.yaml");
  let running = 0;
  const { reloader } = start(t, file, async () => {
    running += 1;
    t.equal(running, 1);
    await delay(20);
    running -= 1;
  });
  await replace(file, fresh(2));
  const first = reloader.reload("signal");
  await replace(file, fresh(3));
  t.same(await Promise.all([first, reloader.reload("signal")]), ["applied", "applied"]);
  t.equal(freshOf(reloader.settings), 3);
});

t.test(
  "a file that an editor replaces is noticed, and one that is only touched is not",
  async (t) => {
    const folder = t.testdir({ "sluice.yaml": fresh(1) });
    const file = join(folder, "sluice.yaml");
    const { applied, outcomes } = start(t, file);
    for (const seconds of [2, 3]) {
      await writeFile(join(folder, ".sluice.yaml.swp"), fresh(seconds));
      await rename(join(folder, ".sluice.yaml.swp"), file);
      await until(() => freshOf(applied.at(-1)) === seconds);
    }
    t.same(outcomes, ["applied", "applied"]);
    await writeFile(file, fresh(3));
    await writeFile(join(folder, "other.txt"), "x");
    await delay(600);
    t.same(outcomes, ["applied", "applied"]);
  },
);

t.test("a swapped ConfigMap is noticed", async (t) => {
  const folder = t.testdir({ "..1": { "sluice.yaml": fresh(1) } });
  await symlink("..1", join(folder, "..data"));
  await symlink("..data/sluice.yaml", join(folder, "sluice.yaml"));
  const { applied } = start(t, join(folder, "sluice.yaml"));
  await mkdir(join(folder, "..2"));
  await writeFile(join(folder, "..2", "sluice.yaml"), fresh(2));
  await symlink("..2", join(folder, "..data_tmp"));
  await rename(join(folder, "..data_tmp"), join(folder, "..data"));
  await rm(join(folder, "..1"), { recursive: true });
  await until(() => applied.length > 0);
  t.equal(freshOf(applied[0]), 2);
});

t.test("a renewed certificate is a change of the configuration", async (t) => {
  const folder = t.testdir({
    "sluice.yaml": "upstreams: { a.example: { caFile: certs/ca.crt } }\n",
    certs: { "ca.crt": "old" },
  });
  const { applied } = start(t, join(folder, "sluice.yaml"));
  await writeFile(join(folder, "certs", "ca.crt"), "new");
  await until(() => applied.length > 0);
  t.equal(applied.length, 1);
});

t.test("a renewed key, and a certificate more, make another policy", async (t) => {
  const text = `policy:
  rules:
    - name: team
      match: [ghcr.io/acme/**]
      signatures: { any: [{ key: { file: keys/a.pub, log: ignore } }, { notation: { trustStoreDir: ca, subjects: ["*"] } }] }
`;
  const key = (letter: string) => POLICY_FILES["cosign.pub"] + letter;
  const folder = t.testdir({ ...POLICY_FILES, "sluice.yaml": text, keys: { "a.pub": key("") } });
  const { applied, outcomes } = start(t, join(folder, "sluice.yaml"));
  const authorities = () => applied.at(-1)?.policy?.rules[0]?.signatures?.authorities;
  await replace(join(folder, "keys", "a.pub"), key("# renewed"));
  await until(() => applied.length > 0);
  t.match(authorities(), [{ pem: /# renewed/ }, { certificates: { length: 1 } }]);
  const another = new URL("../data/containers-image/pki_root_crts.pem", import.meta.url);
  await copyFile(another, join(folder, "ca", "another.crt"));
  await until(() => applied.length > 1);
  t.match(authorities(), [{}, { certificates: { length: 2 } }]);
  await cp(join(folder, "ca"), join(folder, "ca.next"), { recursive: true });
  await rename(join(folder, "ca"), join(folder, "ca.before"));
  await rename(join(folder, "ca.next"), join(folder, "ca"));
  await delay(600); // the same certificates in another folder: noticed, and nothing new
  t.same(outcomes, ["applied", "applied"]);
  await rm(join(folder, "ca", "another.crt"));
  await until(() => applied.length > 2);
  t.match(authorities(), [{}, { certificates: { length: 1 } }]);
  t.same(outcomes, ["applied", "applied", "applied"]);
});

t.test("a policy is not lost by a file that is cut off", async (t) => {
  const policy =
    'policy: { rules: [{ name: team, match: ["a.example/**"], tags: { semver: true } }] }\n';
  const file = join(t.testdir({ "sluice.yaml": fresh(1) + policy }), "sluice.yaml");
  const { reloader, outcomes, lines } = start(t, file);
  await replace(file, fresh(2));
  t.equal(await reloader.reload("signal"), "refused");
  t.strictSame(outcomes, ["refused"]);
  t.match(JSON.stringify(lines.at(-1)), /found no policy where there was one/);
  await replace(file, fresh(3) + policy);
  t.equal(await reloader.reload("signal"), "applied");
});

t.test("who may pull is not lost by a file that is cut off", async (t) => {
  const rules = "  rules: [{ who: ['*'], pull: ['**'] }]\n";
  const clients = `clients:\n  anonymous: true\n`;
  const file = join(t.testdir({ "sluice.yaml": fresh(1) }), "sluice.yaml");
  const { reloader, lines } = start(t, file);
  await replace(file, fresh(2) + clients);
  t.equal(await reloader.reload("signal"), "applied", "it may come with a reload");
  await replace(file, fresh(3) + clients + rules);
  t.equal(await reloader.reload("signal"), "applied");
  await replace(file, fresh(4) + clients);
  t.equal(await reloader.reload("signal"), "refused");
  t.match(JSON.stringify(lines.at(-1)), /found no clients\.rules where there was one/);
  await replace(file, fresh(4));
  t.equal(await reloader.reload("signal"), "refused");
  t.match(JSON.stringify(lines.at(-1)), /found no clients where there was one/);
  t.equal(freshOf(reloader.settings), 3);
});

t.test("a change of any file that log-ins are made of is noticed", async (t) => {
  const text = `adminTokenFile: d/admin.token
upstreams:
  europe-docker.pkg.dev: { auth: { provider: google, keyFile: d/key.json } }
credentials: { kubeletProviders: { configFile: d/providers.yaml, binDir: bin } }
clients:
  htpasswdFile: d/users
  tokens:
    - { issuer: a, audience: sluice, jwksFile: d/jwks.json }
    - { issuer: b, audience: sluice, jwksUrl: "https://b.example", caFile: d/ca.crt, tokenFile: d/token }
`;
  const names = ["admin.token", "key.json", "providers.yaml", "users", "jwks.json", "ca.crt"];
  const d: Record<string, string> = Object.fromEntries(
    names.map((name) => [name, CONTENTS[name] ?? "old"]),
  );
  d["token"] = "read anew each time";
  const folder = t.testdir({ "sluice.yaml": text, d, bin: { cat: "#!/bin/sh\n" } });
  chmodSync(join(folder, "bin", "cat"), 0o755);
  const { reloader } = start(t, join(folder, "sluice.yaml"));
  t.equal(await reloader.reload("file"), "unchanged");
  for (const name of names) {
    appendFileSync(join(folder, "d", name), "\n");
    t.equal(await reloader.reload("file"), "applied", name);
  }
  appendFileSync(join(folder, "d", "token"), "\n");
  t.equal(await reloader.reload("file"), "unchanged", "it is read for each use, and rotates often");
});

t.test("a log that is written all the time beside the file hides no change of it", async (t) => {
  const folder = t.testdir({ "sluice.yaml": `${fresh(1)}audit: { file: audit.jsonl }\n` });
  const { applied } = start(t, join(folder, "sluice.yaml"));
  const writing = setInterval(() => appendFileSync(join(folder, "audit.jsonl"), "{}\n"), 20);
  t.teardown(() => clearInterval(writing));
  await replace(join(folder, "sluice.yaml"), `${fresh(2)}audit: { file: audit.jsonl }\n`);
  await until(() => applied.length > 0);
  t.equal(freshOf(applied[0]), 2);
});

t.test("once disposed of, it lets go of signals and files", async (t) => {
  const file = join(t.testdir({ "sluice.yaml": fresh(1) }), "sluice.yaml");
  const { reloader, signals, outcomes } = start(t, file);
  await reloader[Symbol.asyncDispose]();
  t.equal(signals.listenerCount("SIGHUP"), 0);
  await writeFile(file, fresh(2));
  await delay(400);
  t.equal(await reloader.reload("signal"), "unchanged");
  t.same(outcomes, []);
});
