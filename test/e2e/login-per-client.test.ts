import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { ContainerdVersion } from "../support/containerd.ts";
import { CONTAINERD_VERSIONS } from "../support/containerd.ts";
import { hostOptionsOf, LogInAuthority } from "../support/login-certificates.ts";
import type { ClientFiles, LogIn, LogInClient } from "../support/login-clients.ts";
import { LOG_IN_CLIENTS, makeHome } from "../support/login-clients.ts";
import { LogInNode } from "../support/login-containerd.ts";
import { PrivateRegistry } from "../support/login-registry.ts";
import { ALICE, BOB, WRONG } from "../support/login-rig.ts";
import type { Ran } from "../support/processes.ts";
import { SluiceProcess } from "../support/sluice-process.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

const OF_ALICE = "token.example/team/a:v1";
const OF_BOB = "token.example/team/b:v1";
const OF_BOTH = "token.example/team/both:v1";
const PUBLIC = "token.example/team/public:v1";
const BY_PASSWORD = "team.example/team/app:v1";
const NAMES = [OF_ALICE, OF_BOB, OF_BOTH, PUBLIC, BY_PASSWORD];

/** What those show who are not asked twice: the reason, or that they have nothing to say who they are. */
const WANTS_ONE =
  /is served only to whoever may read it at|no credentials available|credential not found|no basic auth/;

const registries = toolOptions("htpasswd", "docker-registry", "distribution-3");
t.test("clients pull what they may read at the registry", registries, async (t) => {
  const passwords = await PrivateRegistry.startWithPasswords(ALICE, BOB);
  t.teardown(() => passwords[Symbol.asyncDispose]());
  const tokens = await PrivateRegistry.startWithTokens({
    "": { password: "", pulls: ["team/public"] },
    robot: { password: "r-secret", pulls: ["*"] },
    [ALICE.user]: { password: ALICE.password, pulls: ["team/a", "team/both"] },
    [BOB.user]: { password: BOB.password, pulls: ["team/b", "team/both"] },
  });
  t.teardown(() => tokens[Symbol.asyncDispose]());
  await passwords.fill(["team/app"]);
  await tokens.fill(["team/a", "team/b", "team/both", "team/public"]);
  const own = { username: "robot", passwordFile: "robot" };
  for (const auth of [undefined, own]) {
    const login = auth === undefined ? "without" : "with";
    t.test(`${login} a log-in of our own`, async (t) => {
      const sluice = await SluiceProcess.start({
        config: {
          upstreams: {
            "token.example": { url: tokens.url, access: "per-client", auth },
            "team.example": { url: passwords.url, access: "per-client" },
          },
        },
        files: { robot: "r-secret" },
      });
      t.teardown(() => sluice[Symbol.asyncDispose]());
      for (const client of LOG_IN_CLIENTS) {
        t.test(client.name, toolOptions(client.name), (t) => pullBy(t, client, sluice));
      }
      for (const version of CONTAINERD_VERSIONS) {
        const tools = toolOptions("cri-pull", version.daemon, version.ctr);
        t.test(version.name, tools, (t) => pullByNode(t, version, sluice));
      }
    });
  }
  t.test("from nodes that are known by certificates", toolOptions("openssl"), async (t) => {
    const known = await startForNodes(t, tokens.url);
    for (const version of CONTAINERD_VERSIONS) {
      const tools = toolOptions("cri-pull", version.daemon, version.ctr);
      t.test(version.name, tools, (t) => pullByKnownNode(t, version, known));
    }
  });
});

interface KnownNode {
  readonly sluice: SluiceProcess;
  readonly known: ClientFiles;
}

/** Sluice knows nodes by their certificates, and they may not pull `team/b`. */
async function startForNodes(t: Test, url: string): Promise<KnownNode> {
  const folder = await mkdtemp(join(tmpdir(), "slh-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const authority = await LogInAuthority.make(folder);
  const { cert, key } = await authority.server();
  const sluice = await SluiceProcess.start({
    config: {
      tls: { certFile: "tls.crt", keyFile: "tls.key", clientCaFile: "clients.crt" },
      upstreams: { "token.example": { url, access: "per-client" } },
      clients: {
        certificates: { name: "subject" },
        rules: [
          { who: ["user:node-1"], pull: ["*/team/a", "*/team/both", "token.example/team/public"] },
        ],
      },
    },
    files: { "tls.crt": cert, "tls.key": key, "clients.crt": await authority.pem },
  });
  t.teardown(() => sluice[Symbol.asyncDispose]());
  return { sluice, known: await authority.client("/CN=node-1", folder) };
}

async function pullBy(t: Test, client: LogInClient, sluice: SluiceProcess): Promise<void> {
  const may = async (who: LogIn, names: readonly string[]): Promise<void> => {
    const home = await makeHome(t, sluice.host);
    const { code, output } = await client.logIn(home, who);
    t.equal(code, 0, output);
    await expectPulls(t, (name) => client.pull(home, name), names);
  };
  // After Alice and Bob, all of it is held.
  await may(ALICE, [OF_ALICE, OF_BOTH, PUBLIC, BY_PASSWORD]);
  await may(BOB, [OF_BOB, OF_BOTH, PUBLIC, BY_PASSWORD]);
  await may(WRONG, client.sendsUnasked ? [] : [PUBLIC]);
  const nobody = await makeHome(t, sluice.host);
  const open = await client.pull(nobody, PUBLIC);
  t.equal(open.code, 0, open.output);
  const closed = await client.pull(nobody, OF_ALICE);
  t.not(closed.code, 0);
  t.match(closed.output, WANTS_ONE);
}

/** A pull secret reaches us because we challenge. */
async function pullByNode(
  t: Test,
  version: ContainerdVersion,
  sluice: SluiceProcess,
): Promise<void> {
  await using node = await LogInNode.start(version);
  await node.useMirror(sluice.registry);
  const by = (secret: LogIn) => (name: string) => node.pullAsKubelet(name, secret);
  await expectPulls(t, by(ALICE), [OF_ALICE, OF_BOTH, PUBLIC, BY_PASSWORD]);
  await expectPulls(t, by(BOB), [OF_BOB, OF_BOTH, PUBLIC, BY_PASSWORD]);
  await expectPulls(t, by(WRONG), [PUBLIC]);
  const open = await node.pullAsKubelet(PUBLIC);
  t.equal(open.code, 0, "without a secret", open);
  t.match((await node.pullAsKubelet(OF_ALICE)).output, WANTS_ONE);
  const refused = await node.pull(OF_ALICE, BOB);
  t.match(refused.output, refusalOf(OF_ALICE), "ctr --user");
}

/** The node is known by its certificate, the pod by its secret, and each has its own rights. */
async function pullByKnownNode(
  t: Test,
  version: ContainerdVersion,
  { sluice, known }: KnownNode,
): Promise<void> {
  await using node = await LogInNode.start(version);
  await node.useMirror(sluice.registry, hostOptionsOf(known));
  const pull = (name: string, secret?: LogIn): Promise<Ran> => node.pullAsKubelet(name, secret);
  for (const name of [OF_ALICE, OF_BOTH, PUBLIC]) {
    t.equal((await pull(name, ALICE)).code, 0, name);
  }
  t.match((await pull(OF_ALICE, BOB)).output, refusalOf(OF_ALICE));
  t.match((await pull(OF_ALICE)).output, WANTS_ONE);
  const says = /'node-1' \(certificate\) may not pull token\.example\/team\/b: no rule/;
  t.match((await pull(OF_BOB, BOB)).output, says, "what its node may not pull, no pod of it does");
}

/** Pulls all there is, and expects it of these names only; of the others, the reason. */
async function expectPulls(
  t: Test,
  pull: (name: string) => Promise<Ran>,
  expected: readonly string[],
): Promise<void> {
  for (const name of NAMES) {
    const ran = await pull(name);
    t.equal(ran.code === 0, expected.includes(name), name, ran);
    if (!expected.includes(name)) {
      t.match(ran.output, refusalOf(name));
    }
  }
}

function refusalOf(name: string): RegExp {
  const [image = ""] = name.split(":");
  const registry = image.slice(0, image.indexOf("/"));
  return new RegExp(`${registry} does not let this log-in read ${image}: the image does not exist`);
}
