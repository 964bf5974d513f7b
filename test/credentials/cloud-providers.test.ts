import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { mock } from "node:test";
import type { Test } from "tap";
import t from "tap";
import { CloudLogin } from "../../server/credentials/cloud-login.ts";
import type { Credential } from "../../server/credentials/credential.ts";
import type { CloudAuth } from "../../server/settings.ts";
import type { CloudService, CloudServices } from "../support/cloud-services.ts";
import {
  setCloudEnvironment,
  startCloudServices,
  tokenEndingAt,
} from "../support/cloud-services.ts";
import { GOOD_CERTIFICATE, TEST_CA } from "../support/tls-fixture.ts";

const HOUR_MS = 3_600_000;
const AWS = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "hush-hush" };
const KEY = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;

interface Rig {
  /** Milliseconds that the clock is ahead. */
  readonly clock: { aheadMs: number };
  readonly login: CloudLogin;
  logIn(): Promise<Credential | undefined>;
}

interface RigOptions {
  readonly auth: () => CloudAuth;
  readonly environment?: () => Readonly<Record<string, string>>;
}

/** One for the whole file: Azure's library remembers for the process where identities are from. */
const services = await startCloudServices(t);

function rig(t: Test, { auth, environment }: RigOptions): Rig {
  services.reset();
  setCloudEnvironment(t, environment?.() ?? {});
  const clock = { aheadMs: 0 };
  const upstream = { name: "team.example", urls: [services.url] };
  const login = new CloudLogin(upstream, auth(), () => Date.now() + clock.aheadMs);
  const logIn = async (): Promise<Credential | undefined> => (await login.find())[0]?.credential;
  return { clock, login, logIn };
}

const ECR: RigOptions = {
  auth: () => ({ provider: "ecr", region: "eu-central-1", endpoint: services.url }),
  environment: () => AWS,
};
/** Each test has an identity of its own: the library keeps tokens by identity for the process. */
let identities = 0;
const ACR: RigOptions = {
  auth: () => ({ provider: "acr", clientId: `00000000-0000-4000-8000-00000000000${++identities}` }),
  environment: () => ({
    IDENTITY_ENDPOINT: `${services.url}/msi/token`,
    IDENTITY_HEADER: "header",
  }),
};
const GOOGLE: RigOptions = {
  auth: () => ({ provider: "google" }),
  environment: () => ({ GCE_METADATA_HOST: services.host }),
};

t.test("ECR: the environment's keys become a log-in, renewed before 12 hours", async (t) => {
  const { clock, logIn } = rig(t, ECR);
  t.same(await logIn(), { kind: "basic", username: "AWS", password: "password-1" });
  const [request] = services.seen("ecr");
  t.match(request?.headers["x-amz-target"], /\.GetAuthorizationToken$/);
  t.match(request?.headers.authorization, /Credential=AKIDEXAMPLE\/\d+\/eu-central-1\/ecr\//);
  t.notMatch(JSON.stringify(request), /hush-hush/);
  clock.aheadMs = 9 * HOUR_MS;
  t.match(await logIn(), { password: "password-1" });
  clock.aheadMs = 12 * HOUR_MS;
  t.match(await logIn(), { password: "password-2" });
  t.equal(services.seen("ecr").length, 2);
});

t.test("ECR Public: the same, asked in us-east-1, whose answer has no list", async (t) => {
  const { logIn } = rig(t, {
    auth: () => ({ provider: "ecr-public", endpoint: services.url }),
    environment: () => ({ ...AWS, AWS_REGION: "eu-west-1" }),
  });
  t.match(await logIn(), { username: "AWS", password: "password-1" });
  const [request] = services.seen("ecr-public");
  t.match(request?.headers.authorization, /\/us-east-1\/ecr-public\//);
});

t.test("ECR: a machine without AWS credentials is told what to set", async (t) => {
  const { logIn } = rig(t, { auth: ECR.auth });
  await t.rejects(logIn(), {
    message:
      /^auth of upstream team\.example, with provider ecr: Amazon ECR gave no log-in: CredentialsProviderError: .*AWS_ACCESS_KEY_ID.*ecr:GetAuthorizationToken/,
  });
  t.equal(services.requests.length, 0);
});

t.test(
  "ECR: keys that are refused are named by AWS's reason, and not asked for at once",
  async (t) => {
    const { clock, logIn } = rig(t, ECR);
    services.answer("ecr", {
      status: 400,
      headers: { "x-amzn-errortype": "ExpiredTokenException" },
      body: {
        __type: "ExpiredTokenException",
        message: "The security token included in the request is expired; x-amz-security-token:hush",
      },
    });
    const refusal = {
      message: /ExpiredTokenException: The security token.* is expired.*\(status 400\)/,
    };
    await t.rejects(logIn(), refusal);
    const error = await logIn().catch((caught: unknown) => caught);
    t.notMatch(String(error), /hush/);
    t.equal(services.seen("ecr").length, 1);
    services.answer("ecr", undefined);
    clock.aheadMs = 5000;
    t.match(await logIn(), { username: "AWS" }, "granted meanwhile");
  },
);

t.test("ECR: rubbish in place of AWS is no log-in", async (t) => {
  const { clock, logIn } = rig(t, ECR);
  const answers: readonly (readonly [string | object, RegExp])[] = [
    ["<html>welcome</html>", /gave no log-in: it cannot understand what it read/],
    [{}, /without an authorizationToken that holds a log-in/],
    [{ authorizationData: [] }, /without an authorizationToken/],
    [{ authorizationData: [{ authorizationToken: "####" }] }, /without an authorizationToken/],
    [{ authorizationData: [{ authorizationToken: base64("no colon") }] }, /without an auth/],
    [{ authorizationData: [{ authorizationToken: base64("AWS:a\r\nb: c") }] }, /without an auth/],
    [{ authorizationData: [{ authorizationToken: "QVdT".repeat(9000) }] }, /without an auth/],
  ];
  for (const [body, problem] of answers) {
    services.answer("ecr", { body });
    await t.rejects(logIn(), { message: problem }, JSON.stringify(body).slice(0, 60));
    clock.aheadMs += 5000;
  }
});

t.test("ACR: the machine's identity is exchanged for a token of the registry", async (t) => {
  const { clock, login, logIn } = rig(t, ACR);
  const credential = await logIn();
  t.match(credential, { kind: "identity", username: "00000000-0000-0000-0000-000000000000" });
  const [identity] = services.seen("azure-identity");
  t.match(identity?.path, /resource=https%3A%2F%2Fcontainerregistry\.azure\.net(?:&|$)/);
  t.match(identity?.path, /client_id=00000000-0000-4000-8000-/);
  t.equal(identity?.headers["x-identity-header"], "header");
  const [exchange] = services.seen("acr-exchange");
  t.same(Object.fromEntries(new URLSearchParams(exchange?.body)), {
    grant_type: "access_token",
    service: services.host,
    access_token: "password-1",
  });
  clock.aheadMs = HOUR_MS;
  t.same(await logIn(), credential, "as long as the token's own end says");
  login.refused({ credential: credential ?? { kind: "registry", token: "" }, from: "" });
  t.notSame(await logIn(), credential, "revoked at the registry");
  clock.aheadMs = 4 * HOUR_MS;
  await logIn();
  t.equal(services.seen("acr-exchange").length, 3);
});

t.test("ACR: an end that its token claims is believed for 12 hours at most", async (t) => {
  const { clock, logIn } = rig(t, ACR);
  services.answer("acr-exchange", { body: { refresh_token: tokenEndingAt(9e15, "first") } });
  await logIn();
  services.answer("acr-exchange", { body: { refresh_token: "no-jwt-at-all" } });
  clock.aheadMs = 12 * HOUR_MS;
  t.match(await logIn(), { token: "no-jwt-at-all" });
});

t.test("ACR: what the registry says of an exchange that it refuses is told", async (t) => {
  const { logIn } = rig(t, ACR);
  services.answer("acr-exchange", {
    status: 401,
    body: { errors: [{ code: "UNAUTHORIZED", message: "client with IP is not allowed\u001b[2J" }] },
  });
  await t.rejects(logIn(), {
    message:
      /answered 401 when Azure's token was to be exchanged for one of its own: client with IP is not allowed \[2J; give the identity the role AcrPull/,
  });
});

t.test("ACR: no redirect is followed with a token, and rubbish is none", async (t) => {
  const { clock, logIn } = rig(t, ACR);
  const elsewhere = await startCloudServices(t);
  const answers: readonly (readonly [Parameters<CloudServices["answer"]>[1], RegExp])[] = [
    [{ status: 307, headers: { location: `${elsewhere.url}/oauth2/exchange` } }, /answered 307/],
    [{ body: "<html>" }, /without a usable refresh_token/],
    [{ body: "[]" }, /without a usable refresh_token/],
    [{ body: { refresh_token: 7 } }, /without a usable refresh_token/],
    [{ body: { refresh_token: "a\r\nb" } }, /without a usable refresh_token/],
    [{ body: { refresh_token: "a".repeat(20_000) } }, /without a usable refresh_token/],
    [{ body: "a".repeat(1_000_000) }, /it was answered far more than a log-in/],
  ];
  for (const [answer, problem] of answers) {
    services.answer("acr-exchange", answer);
    await t.rejects(logIn(), { message: problem });
    clock.aheadMs += 5000;
  }
  t.equal(elsewhere.requests.length, 0);
});

t.test("ACR: an identity that is refused is told with Azure's reason", async (t) => {
  const { logIn } = rig(t, ACR);
  services.answer("azure-identity", {
    status: 400,
    body: { error: "invalid_request", error_description: "Identity not found" },
  });
  await t.rejects(logIn(), {
    message: /Azure gave no log-in: .*Identity not found.*AZURE_CLIENT_ID.*clientId.*AcrPull/,
  });
  t.equal(services.seen("acr-exchange").length, 0);
});

t.test("Google: the machine's own account, with a scope that only reads", async (t) => {
  const { clock, logIn } = rig(t, GOOGLE);
  t.same(await logIn(), {
    kind: "basic",
    username: "oauth2accesstoken",
    password: "password-1",
  });
  const [request] = services.seen("google-metadata");
  t.match(request?.path, /\/default\/token\?scopes=.*devstorage\.read_only$/);
  clock.aheadMs = HOUR_MS;
  t.match(await logIn(), { password: "password-2" });
});

t.test("Google: a metadata server that comes later is found", async (t) => {
  const { clock, logIn } = rig(t, GOOGLE);
  services.answer("google-metadata", { status: 404, body: "no such account" });
  await t.rejects(logIn(), {
    message: /Google Cloud gave no log-in: .*404.*keyFile or GOOGLE_APPLICATION_CREDENTIALS/,
  });
  services.answer("google-metadata", { body: "rubbish" });
  clock.aheadMs = 5000;
  await t.rejects(logIn(), { message: /it cannot understand what it read or was answered/ });
  services.answer("google-metadata", { body: { access_token: "a\r\nb" } });
  clock.aheadMs = 10_000;
  await t.rejects(logIn(), { message: /without a usable access_token/ });
  services.answer("google-metadata", undefined);
  clock.aheadMs = 15_000;
  t.match(await logIn(), { username: "oauth2accesstoken" });
});

t.test("Google: a key file is signed with, and read anew each time", async (t) => {
  const folder = t.testdir({
    "key.json": keyFile("robot@project.example"),
    "bad.json": "hush-hush",
  });
  const { logIn } = rig(t, {
    auth: () => ({
      provider: "google",
      keyFile: join(folder, "key.json"),
      endpoint: `${services.url}/token`,
    }),
  });
  t.match(await logIn(), { username: "oauth2accesstoken", password: "password-1" });
  const form = new URLSearchParams(services.seen("google-token")[0]?.body);
  const claims = JSON.parse(
    Buffer.from((form.get("assertion") ?? "").split(".")[1] ?? "", "base64url").toString(),
  );
  t.match(claims, {
    iss: "robot@project.example",
    scope: "https://www.googleapis.com/auth/devstorage.read_only",
  });
});

t.test("Google: a key that is revoked, missing or broken is said to be", async (t) => {
  const folder = t.testdir({
    "key.json": keyFile("robot@project.example"),
    "bad.json": "hush-hush",
  });
  const { logIn } = rig(t, {
    auth: () => ({
      provider: "google",
      keyFile: join(folder, "key.json"),
      endpoint: `${services.url}/token`,
    }),
  });
  services.answer("google-token", {
    status: 400,
    body: { error: "invalid_grant", error_description: "Invalid JWT Signature." },
  });
  await t.rejects(logIn(), {
    message: /invalid_grant: Invalid JWT Signature\..*give the account of .*key\.json the role/,
  });
  const upstream = { name: "gcr.io", urls: ["https://gcr.io"] };
  for (const [file, problem] of [
    ["none.json", /none\.json does not exist/],
    ["bad.json", /it cannot understand what it read/],
  ] as const) {
    const login = new CloudLogin(upstream, { provider: "google", keyFile: join(folder, file) });
    const error = await login.find().catch((caught: unknown) => caught);
    t.match(error, { message: problem });
    t.notMatch(String(error), /hush/);
  }
});

t.test("Google: default credentials come from the file that the environment names", async (t) => {
  const folder = t.testdir({ "key.json": keyFile("robot@project.example") });
  const { logIn } = rig(t, {
    auth: () => ({ provider: "google", endpoint: `${services.url}/token` }),
    environment: () => ({ GOOGLE_APPLICATION_CREDENTIALS: join(folder, "key.json") }),
  });
  t.match(await logIn(), { username: "oauth2accesstoken", password: "password-1" });
  t.equal(services.seen("google-token").length, 1);
});

t.test("proxies of the environment see nothing of it", async (t) => {
  const proxy = await startCloudServices(t);
  for (const options of [ECR, ACR, GOOGLE]) {
    const { logIn } = rig(t, options);
    for (const name of ["HTTP_PROXY", "HTTPS_PROXY"]) {
      process.env[name] = proxy.url;
      t.teardown(() => Reflect.deleteProperty(process.env, name));
    }
    t.ok(await logIn());
  }
  t.equal(proxy.requests.length, 0);
});

t.test("ACR: the exchange trusts the upstream's own authorities, and nobody unknown", async (t) => {
  const server = createServer(GOOD_CERTIFICATE, (_request, response) => {
    response.end(JSON.stringify({ refresh_token: "by-tls" }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  rig(t, ACR);
  const upstream = { name: "team.example", urls: [`https://localhost:${port}`] };
  const folder = t.testdir({ "ca.crt": TEST_CA });
  const trusting = new CloudLogin({ ...upstream, caFile: join(folder, "ca.crt") }, ACR.auth());
  t.match(await trusting.find(), [{ credential: { kind: "identity", token: "by-tls" } }]);
  await t.rejects(new CloudLogin(upstream, ACR.auth()).find(), {
    message: /localhost:\d+ cannot be asked to exchange Azure's token.*certificate/,
  });
});

t.test(
  "a service that accepts a request and says nothing is given up after 10 seconds",
  async (t) => {
    const slow: readonly (readonly [CloudService, RigOptions])[] = [
      ["ecr", ECR],
      ["azure-identity", ACR],
      ["acr-exchange", ACR],
      ["google-metadata", GOOGLE],
    ];
    for (const [service, options] of slow) {
      const { logIn } = rig(t, options);
      services.answer(service, { hang: true });
      mock.timers.enable({ apis: ["setTimeout"] });
      const isAsked = service === "acr-exchange" ? [services.arrival()] : [];
      const refused = t.rejects(logIn(), { message: /gave no log-in within 10 s/ }, service);
      await Promise.all(isAsked);
      await services.arrival();
      mock.timers.tick(10_000);
      await refused;
      mock.timers.reset();
    }
  },
);

function keyFile(email: string): string {
  return JSON.stringify({
    type: "service_account",
    project_id: "project",
    private_key_id: "1",
    private_key: KEY.export({ type: "pkcs8", format: "pem" }),
    client_email: email,
  });
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
