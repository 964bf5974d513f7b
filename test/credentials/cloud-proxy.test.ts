import { createServer } from "node:net";
import type { Test } from "tap";
import t from "tap";
import type { CloudAuth } from "../../server/settings.ts";
import { setCloudEnvironment, startCloudServices } from "../support/cloud-services.ts";
import type { AuthOptions, FakeUpstream } from "../support/fake-upstream.ts";
import { portOf, startFakeUpstream } from "../support/fake-upstream.ts";
import { Daemon } from "../support/processes.ts";
import { startProxy } from "../support/start-proxy.ts";
import { toolOptions } from "../support/tools.ts";

const REPOSITORY = "team/app";
const AWS = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "hush-hush" };
const services = await startCloudServices(t);

interface Case {
  readonly auth: CloudAuth;
  readonly wanted: AuthOptions;
}

const CASES: readonly Case[] = [
  {
    auth: { provider: "ecr", region: "eu-central-1", endpoint: services.url },
    wanted: { scheme: "basic", username: "AWS", password: "password-1" },
  },
  {
    auth: { provider: "ecr-public", endpoint: services.url },
    wanted: { scheme: "basic", username: "AWS", password: "password-1" },
  },
  {
    auth: { provider: "acr", endpoint: services.url },
    wanted: { scheme: "bearer", username: "nobody", password: "refresh-token" },
  },
  {
    auth: { provider: "google" },
    wanted: { scheme: "basic", username: "oauth2accesstoken", password: "password-1" },
  },
];

async function start(
  t: Test,
  { auth, wanted }: Case,
): Promise<{ url: string; image: FakeUpstream }> {
  services.reset();
  services.answer("acr-exchange", { body: { refresh_token: "refresh-token" } });
  setCloudEnvironment(t, {
    ...AWS,
    IDENTITY_ENDPOINT: `${services.url}/msi/token`,
    IDENTITY_HEADER: "header",
    GCE_METADATA_HOST: services.host,
  });
  const image = await startFakeUpstream();
  t.teardown(() => image.close());
  image.addImage(REPOSITORY, "1", [Buffer.from("layer")]);
  await image.requireAuth(wanted);
  const proxy = await startProxy(t, { upstreams: [{ urls: [image.url], auth }] });
  return { url: `${proxy.url}/v2/${REPOSITORY}`, image };
}

for (const one of CASES) {
  const { provider } = one.auth;
  t.test(`${provider}: a private image is pulled with what the cloud hands out`, async (t) => {
    const { url } = await start(t, one);
    const pulls = await Promise.all([1, 2, 3].map(() => pull(`${url}/manifests/1`)));
    t.same(
      pulls.map(({ status }) => status),
      [200, 200, 200],
    );
    t.equal((await pull(`${url}/tags/list`)).status, 200);
    const last = services.requests.filter(({ service }) => service !== "azure-identity");
    t.equal(last.length, 1, "one log-in for all of them");
  });

  t.test(
    `${provider}: what the registry refuses is refused, without asking the cloud again`,
    async (t) => {
      const { url, image } = await start(t, one);
      await image.requireAuth({ ...one.wanted, password: "another" });
      const { status, body } = await pull(`${url}/manifests/1`);
      t.equal(status, 403);
      t.notMatch(body, /password-1|refresh-token/);
      await pull(`${url}/manifests/1`);
      const last = services.requests.filter(({ service }) => service !== "azure-identity");
      t.equal(last.length, 1);
    },
  );
}

t.test(
  "when a cloud hands out nothing the pull says so, and the registry is not asked",
  async (t) => {
    const { url, image } = await start(t, CASES[0] as Case);
    services.answer("ecr", {
      status: 400,
      body: { __type: "AccessDeniedException", message: "role is not authorized" },
    });
    const { status, body } = await pull(`${url}/manifests/1`);
    t.equal(status, 503);
    t.match(
      body,
      /credential that is configured for team\.example cannot be looked up: auth of upstream team\.example, with provider ecr/,
    );
    t.equal(image.requests.length, 0);
  },
);

t.test(
  "moto, which stands for AWS, hands out a log-in to ECR",
  toolOptions("moto_server"),
  async (t) => {
    const port = await freePort();
    await using moto = new Daemon("moto_server", ["-H", "127.0.0.1", "-p", String(port)]);
    await moto.line(/Running on/);
    const { url } = await start(t, {
      auth: { provider: "ecr", region: "eu-central-1", endpoint: `http://127.0.0.1:${port}` },
      wanted: { scheme: "basic", username: "AWS", password: "123456789012-auth-token" },
    });
    t.equal((await pull(`${url}/manifests/1`)).status, 200);
  },
);

async function pull(url: string): Promise<{ readonly status: number; readonly body: string }> {
  const response = await fetch(url);
  return { status: response.status, body: await response.text() };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = portOf(server as Parameters<typeof portOf>[0]);
  await new Promise((resolve) => server.close(resolve));
  return port;
}
