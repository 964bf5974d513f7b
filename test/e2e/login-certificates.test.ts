import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { ContainerdVersion } from "../support/containerd.ts";
import { CONTAINERD_VERSIONS } from "../support/containerd.ts";
import { hostOptionsOf, LogInAuthority } from "../support/login-certificates.ts";
import type { ClientFiles, LogInClient } from "../support/login-clients.ts";
import { keepLogIn, LOG_IN_CLIENTS, makeHome } from "../support/login-clients.ts";
import { LogInNode } from "../support/login-containerd.ts";
import type { LogInRig } from "../support/login-rig.ts";
import { BOB, PRIVATE, PUBLIC, startLogInRig } from "../support/login-rig.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

interface Rigged {
  /** Takes certificates, passwords and tokens. */
  readonly mixed: LogInRig;
  /** Takes certificates only. */
  readonly strict: LogInRig;
  /** `CN=node-1, O=ci`: the group may pull what is private. */
  readonly known: ClientFiles;
  /** Of an authority that is not configured. */
  readonly stranger: ClientFiles;
  readonly nobody: ClientFiles;
}

const MAY_NOT = /'bob' \(password\) may not pull team\.example\/team\/private/;

t.test("clients show a certificate", toolOptions("htpasswd", "openssl"), async (t) => {
  const rigged = await start(t);
  for (const client of LOG_IN_CLIENTS.filter(({ takesCertificates }) => takesCertificates)) {
    t.test(client.name, toolOptions(client.name), (t) => pullBy(t, client, rigged));
  }
  for (const version of CONTAINERD_VERSIONS) {
    const tools = toolOptions("cri-pull", version.daemon, version.ctr);
    t.test(version.name, tools, (t) => pullByNode(t, version, rigged));
  }
});

async function pullBy(t: Test, client: LogInClient, rigged: Rigged): Promise<void> {
  const { host } = rigged.mixed.sluice;
  const home = await makeHome(t, host, rigged.known);
  for (const name of [PRIVATE, PUBLIC]) {
    const { code, output } = await client.pull(home, name);
    t.equal(code, 0, `${name} is pulled`, { output });
  }
  await keepLogIn(home, BOB);
  const both = await client.pull(home, PRIVATE);
  if (client.sendsUnasked) {
    t.match(both.output, MAY_NOT, "a log-in that is sent comes before the certificate");
  } else {
    t.equal(both.code, 0, "a log-in that is not asked for is not sent", both);
  }
  for (const [files, says] of [
    [rigged.nobody, /the request carries no log-in/],
    [rigged.stranger, /the client's certificate is from no configured authority/],
  ] as const) {
    const { code, output } = await client.pull(await makeHome(t, host, files), PUBLIC);
    t.not(code, 0);
    t.match(output, client.showsReason ? says : client.unknown.none);
  }
  const { host: strict } = rigged.strict.sluice;
  const { output } = await client.pull(await makeHome(t, strict, rigged.nobody), PUBLIC);
  // skopeo and podman ping first, and show nothing but the status of that.
  t.match(output, /a client certificate is needed here|registry 403 \(Forbidden\)/);
}

async function pullByNode(
  t: Test,
  version: ContainerdVersion,
  { mixed, strict, known, nobody, stranger }: Rigged,
): Promise<void> {
  await using node = await LogInNode.start(version);
  for (const { sluice } of [mixed, strict]) {
    await node.useMirror(sluice.registry, hostOptionsOf(known));
    for (const ran of [await node.pull(PRIVATE), await node.pullAsKubelet(PRIVATE, BOB)]) {
      t.equal(ran.code, 0, "no secret is asked for", ran);
    }
  }
  for (const files of [nobody, stranger]) {
    await node.useMirror(mixed.sluice.registry, hostOptionsOf(files));
    const { output } = await node.pullAsKubelet(PRIVATE, BOB);
    t.match(output, MAY_NOT, "a pull secret counts where no certificate does");
  }
  await node.useMirror(strict.sluice.registry, hostOptionsOf(nobody));
  const { output } = await node.pullAsKubelet(PUBLIC);
  t.match(output, /a client certificate is needed here/, "where nothing else counts");
}

async function start(t: Test): Promise<Rigged> {
  const folder = await mkdtemp(join(tmpdir(), "slh-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const at = async (name: string): Promise<string> => {
    await mkdir(join(folder, name));
    return join(folder, name);
  };
  const authority = await LogInAuthority.make(await at("authority"));
  const other = await LogInAuthority.make(await at("other"));
  const { cert, key } = await authority.server();
  const tls = {
    config: { tls: { certFile: "tls.crt", keyFile: "tls.key", clientCaFile: "clients.crt" } },
    files: { "tls.crt": cert, "tls.key": key, "clients.crt": await authority.pem },
  };
  const certificates = { name: "subject" };
  const onlyCertificates = { certificates, htpasswdFile: undefined, tokens: undefined };
  const stranger = await other.client("/O=ci/CN=node-1", await at("stranger"));
  const trusting = await authority.nobody(stranger.folder);
  return {
    mixed: await startLogInRig(t, { ...tls, clients: { certificates } }),
    strict: await startLogInRig(t, { ...tls, clients: onlyCertificates }),
    known: await authority.client("/O=ci/CN=node-1", await at("known")),
    stranger: { ...stranger, ca: trusting.ca },
    nobody: await authority.nobody(await at("nobody")),
  };
}
