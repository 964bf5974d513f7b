import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { chmod, copyFile, glob, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  CreateBucketCommand,
  GetBucketLifecycleConfigurationCommand,
  PutBucketLifecycleConfigurationCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import t from "tap";
import { parse, parseAllDocuments } from "yaml";
import { renderHostsFile } from "../server/cli/hosts-file.ts";
import { loadConfig } from "../server/config/config.ts";
import { parseResponse } from "../server/credentials/kubelet-response.ts";
import { Metrics } from "../server/metrics.ts";
import { motoEnvironment, startMoto } from "./support/moto.ts";
import { POLICY_FILES } from "./support/policy-files.ts";
import { GOOD_CERTIFICATE, TEST_CA } from "./support/tls-fixture.ts";
import { toolOptions } from "./support/tools.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "..");
const DEPLOY = join(ROOT, "deploy");
const PROMETHEUS = join(DEPLOY, "prometheus");

const PULL_SECRET = '{ "auths": { "ghcr.io": { "auth": "cm9ib3Q6c2VjcmV0" } } }';
/** What configurations name beside them, as far as it matters that it is what it should be. */
const PLUGINS = { "ecr-credential-provider": "#!/bin/sh\nexit 1\n" };
const TLS = { "tls.crt": GOOD_CERTIFICATE.cert, "tls.key": GOOD_CERTIFICATE.key };

function read(...path: string[]): Promise<string> {
  return readFile(join(DEPLOY, ...path), "utf8");
}

/** What `sluice check` prints of a file that it takes. */
async function check(file: string): Promise<string> {
  return (await run(process.execPath, [join(ROOT, "server", "main.ts"), "check", file])).stdout;
}

t.test("every YAML file is one", async (t) => {
  for await (const file of glob("**/*.{yaml,yml}", { cwd: DEPLOY })) {
    for (const document of parseAllDocuments(await read(file))) {
      t.same([...document.errors, ...document.warnings], [], file);
    }
  }
});

t.test("Kubernetes starts it with a configuration that it takes", async (t) => {
  const { data } = parse(await read("kubernetes", "config.yaml"));
  const file = join(t.testdir(), "config.yaml");
  await writeFile(file, data["config.yaml"]);
  const settings = loadConfig(file, {});
  const [set] = parseAllDocuments(await read("kubernetes", "sluice.yaml"));
  const { template, volumeClaimTemplates } = set?.toJS().spec ?? {};
  const [container] = template.spec.containers;
  t.match(container, {
    args: ["--config", "/etc/sluice/config.yaml"],
    ports: [{ containerPort: settings.listen.port }, { containerPort: settings.admin.port }],
    livenessProbe: { httpGet: { path: "/livez", port: "admin" } },
    readinessProbe: { httpGet: { path: "/readyz", port: "admin" } },
    securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false },
    volumeMounts: [{ mountPath: "/etc/sluice" }, { mountPath: settings.storage.disk.path }],
  });
  t.match(volumeClaimTemplates, [{ spec: { resources: { requests: { storage: "50Gi" } } } }]);
  t.ok(settings.storage.disk.maxBytes < 50 * 1024 ** 3, "the cache fits on its volume");
  t.ok(template.spec.terminationGracePeriodSeconds >= 35, "longer than a drain takes");
  const { resources } = parse(await read("kubernetes", "kustomization.yaml"));
  const files = await Array.fromAsync(glob("*.yaml", { cwd: join(DEPLOY, "kubernetes") }));
  t.same(files.filter((name) => name !== "kustomization.yaml").sort(), resources.toSorted());
});

t.test("sample policies are taken once their files are there", async (t) => {
  const keys = ["cosign.pub", "scanner.pub", "stolen.pub"];
  const key = String(POLICY_FILES["cosign.pub"]);
  const folder = t.testdir({ ...POLICY_FILES, ...Object.fromEntries(keys.map((k) => [k, key])) });
  for await (const name of glob("*.yaml", { cwd: join(DEPLOY, "policies") })) {
    const file = join(folder, name);
    await copyFile(join(DEPLOY, "policies", name), file);
    const { policy, audit } = loadConfig(file, {});
    t.ok((policy?.rules.length ?? 0) > 0, name);
    t.same(audit?.target, { file: join(folder, "data", "audit.jsonl") }, name);
  }
  const { policy } = loadConfig(join(folder, "kubernetes.yaml"), {});
  t.match(policy?.rules, [
    {
      match: ["registry.k8s.io/**"],
      mode: "enforce",
      signatures: { authorities: [{ kind: "keyless", issuer: "https://accounts.google.com" }] },
    },
  ]);
  const stdout = await check(join(folder, "exceptions.yaml"));
  t.match(stdout, /^# \S+cosign\.pub sha256:[0-9a-f]{64}$/m);
  t.notMatch(stdout, "BEGIN PUBLIC KEY");
});

t.test("samples of log-ins are taken once their files are there", async (t) => {
  const jwk = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({
    format: "jwk",
  });
  const folder = t.testdir({
    "ca.crt": TEST_CA,
    "cluster.jwks.json": JSON.stringify({ keys: [{ ...jwk, kid: "a", alg: "RS256" }] }),
    "users.htpasswd": "",
    plugins: PLUGINS,
    secrets: {
      ...Object.fromEntries(
        ["harbor", "gitlab", "nexus", "artifactory", "team"].map((name) => [name, "secret\n"]),
      ),
      "config.json": PULL_SECRET,
    },
    tls: { ...TLS, "nodes-ca.crt": TEST_CA },
  });
  await chmod(join(folder, "plugins", "ecr-credential-provider"), 0o755);
  for await (const name of glob("*.yaml", { cwd: join(DEPLOY, "samples") })) {
    await copyFile(join(DEPLOY, "samples", name), join(folder, name));
  }
  const registries = await check(join(folder, "private-registries.yaml"));
  t.match(registries, /username: robot\$team\+puller/, "the $ is no variable");
  const clients = await check(join(folder, "clients.yaml"));
  t.notMatch(clients, /^# note: (?!admin)/m, "nothing that is worth a look");
});

t.test("the sample with a bucket is taken, as it is for Amazon and for others", async (t) => {
  const sample = await read("samples", "bucket.yaml");
  const folder = t.testdir({ secrets: { team: "secret\n" } });
  const at = async (text: string) => {
    const file = join(folder, "bucket.yaml");
    await writeFile(file, text);
    return loadConfig(file, {}).storage;
  };
  const amazon = await at(sample);
  t.match(amazon.s3, { bucket: "acme-images", region: "eu-central-1", forcePathStyle: false });
  t.notOk(amazon.s3?.endpoint);
  t.match(amazon.retention, [{ unusedDays: 14, keepTags: 10 }, { match: ["**"] }]);
  const own = sample.replace(/^ {4}region: .*\n/m, "").replace(/# (endpoint: \S+minio)/, "$1");
  const { s3 } = await at(own.replace("# forcePathStyle", "forcePathStyle"));
  t.match(s3, { endpoint: "https://minio.example:9000", forcePathStyle: true });
  const r2 = sample.replace(/^ {4}region: .*\n/m, "").replace(/# (endpoint: \S+r2)/, "$1");
  t.match((await at(r2.replace("# region: auto", "region: auto"))).s3, { region: "auto" });

  const { bucket = "", prefix = "" } = amazon.s3 ?? {};
  const lifecycle = JSON.parse(await read("s3", "lifecycle.json"));
  for (const { Filter, Status } of lifecycle.Rules) {
    t.same([Filter, Status], [{ Prefix: `${prefix}v1/` }, "Enabled"], "nothing of anybody else");
  }
  const policy = JSON.parse(await read("s3", "policy.json"));
  t.match(policy.Statement, [
    { Resource: `arn:aws:s3:::${bucket}/${prefix}v1/*` },
    { Resource: `arn:aws:s3:::${bucket}` },
  ]);
});

t.test("S3 takes the lifecycle rules", toolOptions("moto_server"), async (t) => {
  Object.assign(process.env, motoEnvironment(await startMoto(t)));
  const client = new S3Client({ region: "us-east-1", forcePathStyle: true });
  t.teardown(() => client.destroy());
  const Bucket = "acme-images";
  await client.send(new CreateBucketCommand({ Bucket }));
  const LifecycleConfiguration = JSON.parse(await read("s3", "lifecycle.json"));
  await client.send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration }));
  const { Rules } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }));
  t.match(Rules, LifecycleConfiguration.Rules);
});

t.test("Kubernetes mounts what the configuration with log-ins names", async (t) => {
  const { data } = parse(await read("kubernetes-private", "config.yaml"));
  const secrets = parseAllDocuments(await read("kubernetes-private", "secrets.yaml"));
  const contentOf = (name: string) =>
    secrets.map((one) => one.toJS()).find(({ metadata }) => metadata.name === name)?.stringData;
  const { spec } = parse(await read("kubernetes-private", "sluice.yaml")).spec.template;
  const mounts: readonly { mountPath: string }[] = spec.containers[0].volumeMounts;
  const mounted = mounts.map(({ mountPath }) => mountPath);
  const named: readonly string[] = data["config.yaml"].match(/\/run\/[a-z]+(?:\/[a-z]+)?/g) ?? [];
  t.same([...new Set(named)].sort(), mounted.toSorted(), "all of it, and nothing else");
  for (const secret of [
    contentOf("registries")[".dockerconfigjson"],
    contentOf("registries-dockercfg")[".dockercfg"],
  ]) {
    const folder = t.testdir({
      "credential-providers.yaml": data["credential-providers.yaml"],
      plugins: PLUGINS,
      api: { "ca.crt": TEST_CA, token: "a.b.c" },
      clients: contentOf("clients"),
      registries: { "config.json": secret },
      tls: TLS,
      "config.yaml": data["config.yaml"]
        .replaceAll("/run/secrets/", "")
        .replaceAll("/run/", "")
        .replaceAll("/etc/sluice/", ""),
    });
    await chmod(join(folder, "plugins", "ecr-credential-provider"), 0o755);
    await check(join(folder, "config.yaml"));
    const { stdout } = await run(process.execPath, [
      join(ROOT, "server", "main.ts"),
      ...["explain", "--credentials", "--config", join(folder, "config.yaml")],
      "team.example/a/app:v1",
    ]);
    t.match(stdout, /auths key "team\.example": user and password, user "robot"/);
  }
});

t.test(
  "the kubelet's plugin hands a pod's token on, to one registry",
  toolOptions("tr"),
  async (t) => {
    const { providers } = parse(await read("kubelet", "credential-providers.yaml"));
    const [{ name, args, matchImages, tokenAttributes }] = providers;
    t.same(args, matchImages);
    const { data } = parse(await read("kubernetes-private", "config.yaml"));
    const [, audience] = /audience: (\S+)/.exec(data["config.yaml"]) ?? [];
    t.equal(tokenAttributes.serviceAccountTokenAudience, audience);
    const ask = (request: object) => {
      const asked = run(join(DEPLOY, "kubelet", name), args);
      asked.child.stdin?.end(JSON.stringify(request));
      return asked;
    };
    const request = { kind: "CredentialProviderRequest", image: "team.example/a/app" };
    const { stdout } = await ask({ ...request, serviceAccountToken: "eyJh.eyJp.c2ln-_" });
    t.match(parseResponse(stdout), {
      scope: "Registry",
      logIns: [{ key: "team.example", username: "token", password: "eyJh.eyJp.c2ln-_" }],
    });
    await t.rejects(ask(request), { code: 1, stdout: "", stderr: /see tokenAttributes/ });
  },
);

t.test("compose leaves it the time that a drain takes", async (t) => {
  const { services } = parse(await read("compose.yaml"));
  t.match(services.sluice, { read_only: true, stop_grace_period: "35s" });
});

t.test("the hosts.toml for containerd is what sluice hosts writes", async (t) => {
  const proxy = { address: "http://sluice.example:5000", headers: [] };
  t.equal(await read("containerd", "hosts.toml"), renderHostsFile(proxy));
});

t.test("the image holds the sources, without what builds or tests them", async (t) => {
  const dockerfile = await readFile(join(ROOT, "Dockerfile"), "utf8");
  for (const part of ["--omit=dev", "--ignore-scripts", "USER 10001", "VOLUME /var/lib/sluice"]) {
    t.ok(dockerfile.includes(part), part);
  }
  const ignored = await readFile(join(ROOT, ".dockerignore"), "utf8");
  t.match(ignored, /^\*$/m);
  for (const [, sources = ""] of dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
    for (const source of sources.split(" ")) {
      t.ok(ignored.includes(`!${source.replace("./", "")}\n`), `${source} is in the build context`);
    }
  }
});

t.test("alerts and their tests name metrics that there are", async (t) => {
  const metrics = new Metrics();
  metrics.watchStore("disk", () => ({ bytes: 0, blobs: 0 }));
  metrics.watchFills(() => ({ fills: 0, readers: 0 }));
  const known = await metrics.expose();
  for (const file of ["alerts.yaml", "alerts.test.yaml"]) {
    for (const [name] of (await read("prometheus", file)).matchAll(/\bsluice_[a-z_]+/g)) {
      const family = name.replace(/_bucket$/, "");
      t.ok(known.includes(`# TYPE ${family} `), `${file}: ${name}`);
    }
  }
});

t.test("promtool takes the configuration and the alerts", toolOptions("promtool"), async (t) => {
  const options = { cwd: PROMETHEUS };
  await t.resolves(run("promtool", ["check", "config", "prometheus.yml"], options));
  await t.resolves(run("promtool", ["check", "rules", "alerts.yaml"], options));
  await t.resolves(run("promtool", ["test", "rules", "alerts.test.yaml"], options));
});
