import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { Test } from "tap";
import { stringify } from "yaml";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";
import type { Canary, Place } from "./leak-canaries.ts";
import { canary } from "./leak-canaries.ts";

/** By the name of the upstream whose log-in it is; the others are of clients and of ours. */
export const SECRETS: Readonly<Record<SecretName, Canary>> = {
  file: canary("file"),
  env: canary("env"),
  bearer: canary("bearer"),
  docker: canary("docker"),
  identity: canary("identity"),
  registry: canary("registry"),
  helper: canary("helper"),
  kubelet: canary("kubelet"),
  pluginEnv: canary("pluginEnv"),
  token: canary("token"),
  client: canary("client"),
  there: canary("there"),
  admin: canary("admin"),
  signature: canary("signature"),
};

export type SecretName =
  | "file"
  | "env"
  | "bearer"
  | "docker"
  | "identity"
  | "registry"
  | "helper"
  | "kubelet"
  | "pluginEnv"
  | "token"
  | "client"
  | "there"
  | "admin"
  | "signature";

/** Upstreams, and which canary each of them is to be sent. */
export const UPSTREAMS: readonly SecretName[] = [
  "file",
  "env",
  "bearer",
  "docker",
  "identity",
  "registry",
  "helper",
  "kubelet",
  "there",
];
const BEARER: readonly SecretName[] = ["bearer", "identity", "registry"];
const REPOSITORY = "team/app";
/** Of the client's password. */
const CLIENT_HASH = "$2b$04$abcdefghijklmnopqrstuuJysfBkgTLAFEVac3nN7YUnsF1g3xrmK";
const KEPT_ENV = "SLUICE_TEST_PASSWORD";

export interface LeakRig {
  readonly folder: string;
  readonly config: string;
  readonly env: NodeJS.ProcessEnv;
  readonly upstreams: ReadonlyMap<SecretName, FakeUpstream>;
  /** Another origin: where redirects and realms lead. */
  readonly elsewhere: FakeUpstream;
  readonly layers: ReadonlyMap<SecretName, string>;
  /** A token of a client's, and the hash of its password: made, and not chosen. */
  readonly clientToken: string;
  readonly clientHash: string;
  /** What helpers and plugins were started with. */
  helperRuns(): readonly Place[];
}

/** Every kind of secret there is, each in its place, and registries that want them. */
export async function leakRig(t: Test): Promise<LeakRig> {
  const folder = t.testdir({ "package.json": '{ "type": "commonjs" }' });
  const elsewhere = await startFakeUpstream({ hostname: "localhost" });
  t.teardown(() => elsewhere.close());
  const upstreams = new Map<SecretName, FakeUpstream>();
  const layers = new Map<SecretName, string>();
  for (const name of UPSTREAMS) {
    const upstream = await startFakeUpstream();
    t.teardown(() => upstream.close());
    upstreams.set(name, upstream);
    const { layers: digests } = upstream.addImage(REPOSITORY, "v1", [Buffer.from(`of ${name}`)]);
    layers.set(name, digests[0] ?? "");
    await requireSecret(upstream, name);
  }
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const clientToken = await new SignJWT({ sub: "anna" })
    .setProtectedHeader({ alg: "ES256" })
    .setIssuer("https://issuer.example")
    .setAudience("sluice")
    .setExpirationTime("1h")
    .sign(privateKey);
  write(folder, {
    "file.password": SECRETS.file.value,
    "bearer.password": SECRETS.bearer.value,
    "admin.token": SECRETS.admin.value,
    "users.htpasswd": `anna:${CLIENT_HASH}\n`,
    "jwks.json": JSON.stringify({ keys: [await exportJWK(publicKey)] }),
    "docker.json": JSON.stringify(dockerConfig()),
    "kubelet.json": JSON.stringify(kubeletConfig()),
  });
  writeHelpers(folder);
  const config = stringify(configOf(folder, upstreams));
  const env = {
    [KEPT_ENV]: SECRETS.env.value,
    PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}`,
    NODE_OPTIONS: undefined,
  };
  return {
    folder,
    config,
    env,
    upstreams,
    elsewhere,
    layers,
    clientToken,
    clientHash: CLIENT_HASH,
    helperRuns: () => runsIn(join(folder, "runs.log")),
  };
}

/** The path of what an upstream has. */
export function pathOf(name: SecretName, rest: string): string {
  return `/v2/${name.toLowerCase()}.example/${REPOSITORY}/${rest}`;
}

export function imageOf(name: SecretName): string {
  return `${name.toLowerCase()}.example/${REPOSITORY}:v1`;
}

async function requireSecret(upstream: FakeUpstream, name: SecretName): Promise<void> {
  const password = SECRETS[name].value;
  const scheme = BEARER.includes(name) ? "bearer" : "basic";
  await upstream.requireAuth({ scheme, username: "robot", password });
  if (scheme === "bearer") {
    upstream.tokens.prefix = `${SECRETS.token.value}-`;
  }
  if (name === "registry") {
    upstream.tokens.take(password, REPOSITORY);
  }
}

function configOf(folder: string, upstreams: ReadonlyMap<SecretName, FakeUpstream>): object {
  const auths: Partial<Record<SecretName, object>> = {
    file: { auth: { username: "robot", passwordFile: "file.password" } },
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as it stands in the file
    env: { auth: { username: "robot", password: "${SLUICE_TEST_PASSWORD}" } },
    bearer: { auth: { username: "robot", passwordFile: "bearer.password" } },
    there: { access: "per-client" },
  };
  return {
    adminTokenFile: "admin.token",
    audit: { file: join(folder, "data", "audit.jsonl") },
    upstreams: Object.fromEntries(
      [...upstreams].map(([name, { url }]) => [
        `${name.toLowerCase()}.example`,
        { url, redirectHosts: ["localhost"], ...auths[name] },
      ]),
    ),
    credentials: {
      dockerConfigFile: "docker.json",
      kubeletProviders: { configFile: "kubelet.json", binDir: "bin" },
    },
    clients: {
      htpasswdFile: "users.htpasswd",
      tokens: [{ issuer: "https://issuer.example", audience: "sluice", jwksFile: "jwks.json" }],
      anonymous: true,
    },
  };
}

function dockerConfig(): object {
  const auth = Buffer.from(`robot:${SECRETS.docker.value}`).toString("base64");
  return {
    auths: {
      "docker.example": { auth },
      "identity.example": { username: "robot", identitytoken: SECRETS.identity.value },
      "registry.example": { registrytoken: SECRETS.registry.value },
    },
    credHelpers: { "helper.example": "hush" },
  };
}

function kubeletConfig(): object {
  const apiVersion = "credentialprovider.kubelet.k8s.io/v1";
  return {
    apiVersion: "kubelet.config.k8s.io/v1",
    kind: "CredentialProviderConfig",
    providers: [
      {
        name: "plugin",
        apiVersion,
        matchImages: ["kubelet.example"],
        defaultCacheDuration: "0s",
        env: [{ name: "PLUGIN_SECRET", value: SECRETS.pluginEnv.value }],
      },
    ],
  };
}

/** They note what they were given; a file `crash` beside them makes them fail, and talk. */
function writeHelpers(folder: string): void {
  mkdirSync(join(folder, "bin"));
  const prelude = `#!${process.execPath}
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const input = readFileSync(0, "utf8");
const seen = { input, args: process.argv, env: process.env };
appendFileSync(${JSON.stringify(join(folder, "runs.log"))}, JSON.stringify(seen) + "\\n");
const crash = existsSync(${JSON.stringify(join(folder, "crash"))});
`;
  const helper = `
process.stdout.write(JSON.stringify({ Username: "robot", Secret: ${JSON.stringify(SECRETS.helper.value)} }) + (crash ? "}" : ""));
`;
  const plugin = `
if (crash) { process.stderr.write("cannot use " + process.env.PLUGIN_SECRET); process.exitCode = 3; }
process.stdout.write(JSON.stringify({
  apiVersion: "credentialprovider.kubelet.k8s.io/v1",
  kind: "CredentialProviderResponse",
  cacheKeyType: "Image",
  auth: { "kubelet.example": { username: "robot", password: ${JSON.stringify(SECRETS.kubelet.value)} } },
}) + (crash ? "}" : ""));
`;
  write(join(folder, "bin"), {
    "docker-credential-hush": prelude + helper,
    plugin: prelude + plugin,
  });
  for (const name of ["docker-credential-hush", "plugin"]) {
    chmodSync(join(folder, "bin", name), 0o755);
  }
}

function runsIn(path: string): readonly Place[] {
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => ({
      text: line,
      // They have the environment that the proxy has: their vendor's variables are in it.
      ...(line.includes("docker-credential-hush")
        ? { name: "the helper", mayHave: ["env"] }
        : { name: "the plugin", mayHave: ["env", "pluginEnv"] }),
    }));
}

function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  }
}
