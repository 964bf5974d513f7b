import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { addRealImage } from "../support/enforce-images.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { smallImage } from "../support/image-builder.ts";
import type { Home, LogIn, LogInClient } from "../support/login-clients.ts";
import { CRANE, keepLogIn, LOG_IN_CLIENTS, makeHome } from "../support/login-clients.ts";
import type { LogInRig } from "../support/login-rig.ts";
import {
  ALICE,
  BOB,
  htpasswdOf,
  PRIVATE,
  PUBLIC,
  startLogInRig,
  WRONG,
} from "../support/login-rig.ts";
import { run } from "../support/processes.ts";
import { startProxy } from "../support/start-proxy.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

t.test("clients log in", toolOptions("htpasswd"), async (t) => {
  const rig = await startLogInRig(t);
  const open = await startLogInRig(t, { anonymous: true });
  for (const client of LOG_IN_CLIENTS) {
    const tools = toolOptions(client.name);
    t.test(`${client.name} pulls with a password`, tools, (t) => withPassword(t, rig, client));
    t.test(`${client.name} says why it may not`, tools, (t) => inVain(t, rig, client));
    t.test(`${client.name} pulls with a token as its password`, tools, (t) =>
      withToken(t, rig, client),
    );
    t.test(`${client.name} needs a log-in for what is private only`, tools, (t) =>
      publicAndPrivate(t, open, client),
    );
  }
});

t.test("users come and go with htpasswd", toolOptions("htpasswd", "crane"), async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "slh-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const htpasswdFile = join(folder, "users");
  await writeFile(htpasswdFile, await htpasswdOf(ALICE, BOB));
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const image = { repository: "team/private", tag: "v1", artifact: await smallImage("private") };
  await addRealImage(upstream, image);
  let nowMs = Date.now();
  const { url } = await startProxy(t, {
    upstreams: [{ urls: [upstream.url] }],
    clients: { htpasswdFile, tokens: [], anonymous: false },
    now: () => nowMs,
  });
  const change = async (...args: readonly string[]): Promise<void> => {
    const { code, output } = await run("htpasswd", args);
    t.equal(code, 0, output);
    nowMs += 1001; // it is looked at once a second
  };
  const home = await makeHome(t, new URL(url).host);
  await logIn(t, CRANE, home, BOB);
  await expectPulled(t, CRANE, home, PRIVATE);
  await change("-D", htpasswdFile, BOB.user);
  const says = CRANE.unknown.wrong;
  await expectRefused(t, CRANE, home, { name: PRIVATE, says });
  await change("-B", "-C", "5", "-b", htpasswdFile, BOB.user, "new");
  await expectRefused(t, CRANE, home, { name: PRIVATE, says });
  await logIn(t, CRANE, home, { ...BOB, password: "new" });
  await expectPulled(t, CRANE, home, PRIVATE);
});

async function withPassword(t: Test, rig: LogInRig, client: LogInClient): Promise<void> {
  const home = await makeHome(t, rig.sluice.host);
  await logIn(t, client, home, ALICE);
  await expectPulled(t, client, home, PRIVATE);
  await expectPulled(t, client, home, PUBLIC);
}

async function inVain(t: Test, rig: LogInRig, client: LogInClient): Promise<void> {
  const home = await makeHome(t, rig.sluice.host);
  await expectRefused(t, client, home, { name: PUBLIC, says: client.unknown.none });
  if (client.triesLogIn) {
    const tried = await client.logIn(home, WRONG);
    t.not(tried.code, 0, "its own log-in command");
    t.match(tried.output, /unauthorized|invalid username\/password/);
  }
  await keepLogIn(home, WRONG);
  await expectRefused(t, client, home, { name: PUBLIC, says: client.unknown.wrong });
  await logIn(t, client, home, BOB);
  await expectPulled(t, client, home, PUBLIC);
  const says = /'bob' \(password\) may not pull team\.example\/team\/private: no rule/;
  await expectRefused(t, client, home, { name: PRIVATE, says });
}

async function withToken(t: Test, rig: LogInRig, client: LogInClient): Promise<void> {
  const home = await makeHome(t, rig.sluice.host);
  await logIn(t, client, home, { user: "oauth", password: await rig.token() });
  await expectPulled(t, client, home, PRIVATE);
  await keepLogIn(home, { user: "oauth", password: await rig.forgedToken() });
  const says = /the signature of the token is wrong|unauthorized/;
  await expectRefused(t, client, home, { name: PRIVATE, says });
}

/** podman and skopeo learn from the challenge of a ping that succeeds that a log-in is of use. */
async function publicAndPrivate(t: Test, rig: LogInRig, client: LogInClient): Promise<void> {
  const home = await makeHome(t, rig.sluice.host);
  await expectPulled(t, client, home, PUBLIC);
  const says = /is not pulled without a log-in|no credentials available|credential not found/;
  await expectRefused(t, client, home, { name: PRIVATE, says });
  await logIn(t, client, home, ALICE);
  await expectPulled(t, client, home, PRIVATE);
  await expectPulled(t, client, home, PUBLIC);
  await keepLogIn(home, WRONG);
  await expectRefused(t, client, home, { name: PRIVATE, says: client.unknown.wrong });
}

async function logIn(t: Test, client: LogInClient, home: Home, who: LogIn): Promise<void> {
  const { code, output } = await client.logIn(home, who);
  t.equal(code, 0, `log in: ${output}`);
}

async function expectPulled(t: Test, client: LogInClient, home: Home, name: string): Promise<void> {
  const { code, output } = await client.pull(home, name);
  t.equal(code, 0, `${name} is pulled`, { output });
}

async function expectRefused(
  t: Test,
  client: LogInClient,
  home: Home,
  { name, says }: { readonly name: string; readonly says: RegExp },
): Promise<void> {
  const { code, output } = await client.pull(home, name);
  t.not(code, 0, `${name} is refused`);
  t.match(output, says);
}
