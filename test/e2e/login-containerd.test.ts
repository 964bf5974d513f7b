import type { Test } from "tap";
import t from "tap";
import type { ContainerdVersion } from "../support/containerd.ts";
import { CONTAINERD_VERSIONS } from "../support/containerd.ts";
import type { LogIn } from "../support/login-clients.ts";
import { LogInNode } from "../support/login-containerd.ts";
import type { LogInRig } from "../support/login-rig.ts";
import { ALICE, BOB, PRIVATE, PUBLIC, startLogInRig, WRONG } from "../support/login-rig.ts";
import type { Ran } from "../support/processes.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

interface Rigged {
  readonly node: LogInNode;
  readonly rig: LogInRig;
  /** Lets clients in that show nothing. */
  readonly open: LogInRig;
  readonly version: ContainerdVersion;
}

/** containerd 2 shows words of its own when it has no log-in to answer a challenge with. */
const NO_LOG_IN: Readonly<Record<string, RegExp>> = {
  "containerd 1.6": /401 Unauthorized - the request carries no log-in: use docker login, an image/,
  "containerd 2": /authorization failed: no basic auth credentials/,
};
const BOB_MAY_NOT = /403 Forbidden - 'bob' \(password\) may not pull team\.example\/team\/private/;

for (const version of CONTAINERD_VERSIONS) {
  const tools = toolOptions("htpasswd", "cri-pull", version.daemon, version.ctr);
  t.test(version.name, tools, async (t) => {
    const rig = await startLogInRig(t);
    const open = await startLogInRig(t, { anonymous: true });
    const node = await LogInNode.start(version);
    t.teardown(() => node[Symbol.asyncDispose]());
    const rigged = { node, rig, open, version };
    t.test("pulls with the log-in of ctr and of a pull secret", (t) => withLogIns(t, rigged));
    t.test("pulls with a header of hosts.toml", (t) => withHeaders(t, rigged));
    t.test("needs a log-in for what is private only", (t) => publicAndPrivate(t, rigged));
    t.test("pulls with a log-in of its own configuration", (t) => withRegistryAuth(t, rigged));
  });
}

async function withLogIns(t: Test, { node, rig, version }: Rigged): Promise<void> {
  await node.useMirror(rig.sluice.registry);
  const token = { user: "oauth", password: await rig.token() };
  const forged = { user: "oauth", password: await rig.forgedToken() };
  const wrong = /401 Unauthorized - the user name or the password is wrong/;
  const ways = [
    ["ctr", (logIn?: LogIn) => node.pull(PRIVATE, logIn)],
    ["the kubelet", (logIn?: LogIn) => node.pullAsKubelet(PRIVATE, logIn)],
  ] as const;
  for (const [who, pull] of ways) {
    expectPulled(t, await pull(ALICE), `${who}, a password`);
    expectPulled(t, await pull(token), `${who}, a token as a password`);
    expectRefused(t, await pull(), NO_LOG_IN[version.name]);
    expectRefused(t, await pull(WRONG), wrong);
    expectRefused(t, await pull(forged), /401 Unauthorized - the signature of the token is wrong/);
    expectRefused(t, await pull(BOB), BOB_MAY_NOT);
  }
}

/** The node is known by the header. A secret is sent only when the header is refused. */
async function withHeaders(t: Test, { node, rig }: Rigged): Promise<void> {
  const basic = ({ user, password }: LogIn): string =>
    `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  for (const header of [basic(ALICE), `Bearer ${await rig.token()}`]) {
    await node.useMirror(rig.sluice.registry, ["--header", `Authorization: ${header}`]);
    expectPulled(t, await node.pull(PRIVATE), "ctr");
    expectPulled(t, await node.pullAsKubelet(PRIVATE), "the kubelet");
    expectPulled(t, await node.pullAsKubelet(PRIVATE, WRONG), "the secret is not asked for");
  }
  for (const header of [basic(WRONG), `Bearer ${await rig.forgedToken()}`]) {
    await node.useMirror(rig.sluice.registry, ["--header", `Authorization: ${header}`]);
    const says = /password is wrong|signature of the token is wrong|no basic auth credentials/;
    expectRefused(t, await node.pull(PRIVATE), says);
    expectRefused(t, await node.pullAsKubelet(PRIVATE, BOB), BOB_MAY_NOT);
    expectPulled(t, await node.pullAsKubelet(PRIVATE, ALICE), "the secret, after a wrong header");
  }
}

/** A log-in is sent only when it is asked for: a wrong one is never seen with what is public. */
async function publicAndPrivate(t: Test, { node, open }: Rigged): Promise<void> {
  await node.useMirror(open.sluice.registry);
  for (const logIn of [undefined, ALICE, WRONG]) {
    expectPulled(t, await node.pullAsKubelet(PUBLIC, logIn), `public, as ${logIn?.user}`);
  }
  const says = /is not pulled without a log-in|no basic auth credentials/;
  expectRefused(t, await node.pullAsKubelet(PRIVATE), says);
  expectRefused(t, await node.pullAsKubelet(PRIVATE, WRONG), /password is wrong/);
  expectPulled(t, await node.pullAsKubelet(PRIVATE, ALICE), "private");
}

/** `registry.configs` names the host that is asked: ours, not the registry. */
async function withRegistryAuth(t: Test, { rig, version }: Rigged): Promise<void> {
  const registryAuth = { host: rig.sluice.host, ...ALICE };
  await using node = await LogInNode.start(version, { registryAuth });
  await node.useMirror(rig.sluice.registry);
  expectPulled(t, await node.pullAsKubelet(PRIVATE), "without a secret");
}

function expectPulled(t: Test, { code, output }: Ran, what: string): void {
  t.equal(code, 0, what, { output });
}

function expectRefused(t: Test, { code, output }: Ran, says: RegExp | undefined): void {
  t.not(code, 0, "refused");
  t.match(output, says ?? /^$/);
}
