import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { LogIn } from "../support/login-clients.ts";
import { CRANE, LOG_IN_CLIENTS, makeHome } from "../support/login-clients.ts";
import { PrivateRegistry } from "../support/login-registry.ts";
import type { Ran } from "../support/processes.ts";
import { SluiceProcess } from "../support/sluice-process.ts";
import { startProxy } from "../support/start-proxy.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

const FIRST: LogIn = { user: "robot", password: "f: secret $1" };
const SECOND: LogIn = { user: "robot", password: "t-secret" };
const REPOSITORIES = ["app/one", "app/two", "app/three", "app/four", "app/five"];

const REGISTRIES = [
  {
    tool: "docker-registry",
    start: (): Promise<PrivateRegistry> => PrivateRegistry.startWithPasswords(FIRST),
  },
  {
    tool: "distribution-3",
    start: (): Promise<PrivateRegistry> =>
      PrivateRegistry.startWithTokens({ robot: { password: FIRST.password, pulls: ["*"] } }),
  },
];

for (const { tool, start } of REGISTRIES) {
  t.test(`logging in to ${tool}`, toolOptions("htpasswd", "crane", tool), async (t) => {
    const registry = await start();
    t.teardown(() => registry[Symbol.asyncDispose]());
    await registry.fill(REPOSITORIES);
    t.test("with a password file, through wrong, rotated and revoked ones", (t) =>
      withPasswordFile(t, registry),
    );
    t.test("with the secret of a Kubernetes volume, which is rotated", (t) =>
      withMountedSecret(t, registry),
    );
    t.test("with a credential helper", (t) => withHelper(t, registry));
  });
}

t.test("log-ins that clients keep", toolOptions("htpasswd", "docker-registry"), async (t) => {
  const registry = await PrivateRegistry.startWithPasswords(FIRST);
  t.teardown(() => registry[Symbol.asyncDispose]());
  await registry.fill(["app/one"]);
  // regctl keeps them in a form of its own.
  for (const client of LOG_IN_CLIENTS.filter(({ name }) => name !== "regctl")) {
    t.test(`${client.name}'s file`, toolOptions("crane", client.name), async (t) => {
      const home = await makeHome(t, registry.host);
      const loggedIn = await client.logIn(home, FIRST);
      t.equal(loggedIn.code, 0, loggedIn.output);
      const file = join(home.folder, client.name === "crane" ? "config.json" : "auth.json");
      const { host } = await startWithFile(t, registry, file);
      expectPulled(t, await pull(t, host, "app/one"));
    });
  }
});

/** Each pull is of another repository, but where it says so: what was refused stays so for 5 s. */
async function withPasswordFile(t: Test, registry: PrivateRegistry): Promise<void> {
  await registry.setUsers(FIRST);
  const passwordFile = join(await makeFolder(t), "password");
  await writeFile(passwordFile, "w-secret\n");
  let nowMs = Date.now();
  const auth = { username: "robot", passwordFile };
  const { url } = await startProxy(t, {
    upstreams: [{ urls: [registry.url], auth, tagFreshSeconds: 0 }],
    now: () => nowMs,
  });
  const { host } = new URL(url);
  expectRefused(t, await pull(t, host, "app/one"));
  await writeFile(passwordFile, `${FIRST.password}\n`);
  expectPulled(t, await pull(t, host, "app/two"), "once it is mended");
  nowMs += 5001;
  expectPulled(t, await pull(t, host, "app/one"), "what was refused, 5 s later");

  await registry.setUsers(SECOND);
  expectRefused(t, await pull(t, host, "app/three"));
  await writeFile(passwordFile, `${SECOND.password}\n`);
  expectPulled(t, await pull(t, host, "app/four"), "once the new one is there");
  await registry.setUsers(FIRST);
  expectRefused(t, await pull(t, host, "app/five"));
  await registry.setUsers(SECOND);
  nowMs += 5001;
  expectPulled(t, await pull(t, host, "app/five"), "once the registry takes it again");
}

/** As the kubelet does it: the new files are there before one link is swapped. */
async function withMountedSecret(t: Test, registry: PrivateRegistry): Promise<void> {
  await registry.setUsers(FIRST);
  const folder = await makeFolder(t);
  await symlink(join("..data", ".dockerconfigjson"), join(folder, ".dockerconfigjson"));
  await mount(folder, "..2026_01_01", configOf(registry, FIRST));
  const { host } = await startWithFile(t, registry, join(folder, ".dockerconfigjson"));
  expectPulled(t, await pull(t, host, "app/one"), "the first secret");
  await registry.setUsers(SECOND);
  expectRefused(t, await pull(t, host, "app/two"));
  await mount(folder, "..2026_01_02", configOf(registry, SECOND));
  expectPulled(t, await pull(t, host, "app/three"), "the second secret");
}

async function withHelper(t: Test, registry: PrivateRegistry): Promise<void> {
  await registry.setUsers(FIRST);
  const folder = await makeFolder(t);
  const answer = { ServerURL: registry.host, Username: FIRST.user, Secret: FIRST.password };
  await writeFile(join(folder, "answer.json"), JSON.stringify(answer));
  const helper = join(folder, "docker-credential-tests");
  const script = `#!/bin/sh
read -r server
[ "$1 $server" = "get ${registry.host}" ] || { echo "credentials not found in native keychain"; exit 1; }
cat '${join(folder, "answer.json")}'
`;
  await writeFile(helper, script);
  await chmod(helper, 0o755);
  const file = join(folder, "config.json");
  await writeFile(file, JSON.stringify({ credHelpers: { [registry.host]: "tests" } }));
  const path = `${folder}:${process.env["PATH"]}`;
  const sluice = await startWithFile(t, registry, file, { PATH: path });
  expectPulled(t, await pull(t, sluice.host, "app/one"));
  const without = await startWithFile(t, registry, file);
  const manifest = await fetch(`${without.registry}/v2/team.example/app/one/manifests/v1`);
  t.equal(manifest.status, 503);
  t.match(await manifest.text(), /cannot be looked up: dockerConfigFile .*config\.json failed/);
  await logSays(without, /there is no docker-credential-tests on PATH/);
}

async function makeFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "slh-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function configOf({ host }: PrivateRegistry, { user, password }: LogIn): string {
  const auth = Buffer.from(`${user}:${password}`).toString("base64");
  return JSON.stringify({ auths: { [host]: { auth } } });
}

async function mount(folder: string, version: string, secret: string): Promise<void> {
  await mkdir(join(folder, version));
  await writeFile(join(folder, version, ".dockerconfigjson"), secret);
  await symlink(version, join(folder, "..data_tmp"));
  await rename(join(folder, "..data_tmp"), join(folder, "..data"));
}

/** The upstream is named as the log-ins of the file are: by its address. */
async function startWithFile(
  t: Test,
  { host, url }: PrivateRegistry,
  dockerConfigFile: string,
  env: NodeJS.ProcessEnv = {},
): Promise<SluiceProcess> {
  const upstreams = { [host]: { url, aliases: ["team.example"] } };
  const config = { upstreams, credentials: { dockerConfigFile } };
  const sluice = await SluiceProcess.start({ config, env });
  t.teardown(() => sluice[Symbol.asyncDispose]());
  return sluice;
}

async function pull(t: Test, host: string, repository: string): Promise<Ran> {
  return await CRANE.pull(await makeHome(t, host), `team.example/${repository}:v1`);
}

function expectPulled(t: Test, { code, output }: Ran, what = "pulled"): void {
  t.equal(code, 0, what, { output });
}

/** A line comes by a pipe, and after the answer that it is about. */
async function logSays(sluice: SluiceProcess, pattern: RegExp): Promise<void> {
  while (!sluice.logs.some((line) => pattern.test(line))) {
    await sluice.metrics(); // each look is a request of its own, so there is nothing to wait for
  }
}

/** Whose log-in is refused, and that it is ours and not the client's. */
function expectRefused(t: Test, { code, output }: Ran): void {
  t.not(code, 0, "refused");
  t.match(output, /DENIED: .*401.* the user name and password that it was sent/);
  t.notMatch(output, /[ftw](-|: )secret/, "no password");
}
