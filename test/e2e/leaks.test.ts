import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import type { Place } from "../support/leak-canaries.ts";
import { filesBelow, leaksIn } from "../support/leak-canaries.ts";
import type { LeakRig, SecretName } from "../support/leak-rig.ts";
import { imageOf, leakRig, pathOf, SECRETS, UPSTREAMS } from "../support/leak-rig.ts";
import { run } from "../support/processes.ts";
import { SluiceProcess } from "../support/sluice-process.ts";
import { GOOD_CERTIFICATE } from "../support/tls-fixture.ts";
import type { Fault } from "../support/upstream-faults.ts";

t.setTimeout(180_000);

const MAIN = join(import.meta.dirname, "..", "..", "server", "main.ts");
const CANARIES = Object.values(SECRETS);

t.test("no secret is found where it does not belong", async (t) => {
  const rig = await leakRig(t);
  const { folder, config, env } = rig;
  await using sluice = await SluiceProcess.start({ config, folder, env });
  const answers: Place[] = [];
  const pull = async (name: SecretName, rest: string): Promise<number> => {
    const answer = await answerOf(sluice.registry + pathOf(name, rest), authorizationFor(name));
    answers.push(answer.place);
    return answer.status;
  };

  await t.test("when all goes well", async (t) => {
    for (const name of UPSTREAMS) {
      t.equal(await pull(name, "manifests/v1"), 200, name);
      t.equal(await pull(name, `blobs/${rig.layers.get(name)}`), 200, name);
      t.equal(await pull(name, "tags/list"), 200, name);
    }
    for (const authorization of clientLogIns(rig)) {
      const url = sluice.registry + pathOf("file", "manifests/v1");
      const { status, place } = await answerOf(url, authorization);
      answers.push(place);
      t.equal(status, authorization.includes("wrong") ? 401 : 200);
    }
  });

  await t.test("with each kind of failure", async (t) => {
    let round = 0;
    for (const fault of faultsOf(rig)) {
      round += 1;
      for (const name of UPSTREAMS) {
        const upstream = rig.upstreams.get(name);
        const planned = upstream?.on({ path: /^\/v2\// }, fault(name));
        for (const rest of [
          `manifests/v${round}0`,
          `blobs/sha256:${String(round).repeat(64).slice(0, 64)}`,
        ]) {
          t.ok((await pull(name, rest)) >= 400, `${round}: ${name}`);
        }
        planned?.remove();
      }
    }
    await failTokens(rig, pull);
    writeFileSync(join(folder, "crash"), "");
    await pull("helper", "manifests/v100");
    t.ok((await pull("kubelet", "manifests/v100")) >= 400);
  });

  const admin: Place[] = [];
  for (const text of [config, ...badConfigs(SECRETS.file.value)]) {
    writeFileSync(join(folder, "sluice.yaml"), text);
    for (const authorization of [undefined, `Bearer ${SECRETS.admin.value}`]) {
      const url = `${sluice.admin}/api/v1/reload`;
      admin.push((await answerOf(url, authorization, "POST")).place);
    }
  }
  const places: readonly Place[] = [
    { name: "the log", text: sluice.logs.join("\n") },
    { name: "metrics", text: await sluice.metrics() },
    { name: "cmdline", text: readFileSync(`/proc/${sluice.pid}/cmdline`, "utf8") },
    ...admin,
    ...answers,
    ...filesBelow(join(folder, "data")),
    ...sentTo(rig),
    ...rig.helperRuns(),
  ];
  const made = [
    { name: "client's token", value: rig.clientToken },
    { name: "client's hash", value: rig.clientHash },
  ];
  t.same(leaksIn(places, [...CANARIES, ...made]), []);
  t.same(
    UPSTREAMS.filter((name) => leaksIn(withoutLeave(sentTo(rig)), [SECRETS[name]]).length === 0),
    [],
    "each was sent what it wanted",
  );
  t.ok(sluice.logs.length > 100 && sluice.logs.length < 4000, "all of the log was looked at");
});

function withoutLeave(places: readonly Place[]): readonly Place[] {
  return places.map(({ name, text }) => ({ name, text }));
}

function authorizationFor(name: SecretName): string | undefined {
  return name === "there" ? basic("robot", SECRETS.there.value) : undefined;
}

function clientLogIns({ clientToken }: LeakRig): readonly string[] {
  return [
    basic("anna", SECRETS.client.value),
    basic("anna", clientToken),
    `Bearer ${clientToken}`,
    `Bearer ${clientToken}wrong`,
  ];
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

async function answerOf(
  url: string,
  authorization: string | undefined,
  method = "GET",
): Promise<{ readonly status: number; readonly place: Place }> {
  const headers = authorization === undefined ? {} : { authorization };
  const response = await fetch(url, { method, headers });
  const text = [response.statusText, ...response.headers].flat().join("\n");
  const place = { name: `the answer to ${url}`, text: `${text}\n${await response.text()}` };
  return { status: response.status, place };
}

/** What a registry answers: among it, what it was sent. */
function faultsOf({ elsewhere }: LeakRig): readonly ((name: SecretName) => Fault)[] {
  const { signature, token } = SECRETS;
  const query = `X-Signature=${encodeURIComponent(signature.value)}`;
  elsewhere.on({ path: "/broken" }, { status: 500 });
  elsewhere.on({ path: "/refused" }, { status: 403 });
  elsewhere.on({ path: "/cut" }, { reset: true });
  const told = (name: SecretName): string => {
    const { value } = SECRETS[name];
    const encoded = Buffer.from(`robot:${value}`).toString("base64");
    const message = `robot with ${value} (Basic ${encoded}, Bearer ${token.value}-1) is wrong`;
    return JSON.stringify({ errors: [{ code: "DENIED", message }] });
  };
  return [
    (name) => ({ status: 403, body: told(name) }),
    (name) => ({ status: 404, body: told(name) }),
    (name) => ({ status: 401, body: told(name) }),
    (name) => ({ status: 418, body: told(name) }),
    () => ({ redirect: `${elsewhere.url}/refused?${query}` }),
    () => ({
      redirect: `http://robot:${encodeURIComponent(signature.value)}@localhost/x?${query}`,
    }),
    () => ({ redirect: `ftp://localhost/x?${query}` }),
    () => ({ redirect: `http://10.0.0.1/${signature.value}?${query}` }),
    () => ({ redirect: `http://[/${signature.value}?${query}` }),
    () => ({
      headers: { "www-authenticate": `Bearer realm="${elsewhere.url}/t?${query}"` },
      status: 401,
    }),
    () => ({ redirect: `${elsewhere.url}/cut?${query}` }),
    () => ({ redirect: `${elsewhere.url}/broken?${query}` }),
    (name) => ({ status: 429, body: told(name) }),
    (name) => ({ status: 500, body: told(name) }),
    () => ({ reset: true }),
  ];
}

async function failTokens(
  { upstreams }: LeakRig,
  pull: (name: SecretName, rest: string) => Promise<number>,
): Promise<void> {
  for (const name of ["bearer", "identity"] as const) {
    const tokens = upstreams.get(name)?.tokens;
    const { value } = SECRETS[name];
    const bodies = [
      { status: 401, body: { details: `no: ${value}` } },
      { status: 200, body: { token: `${SECRETS.token.value}\r\nx: y` } },
      { status: 200, body: `{"token": "${SECRETS.token.value}"` },
      { status: 307, headers: { location: `http://127.0.0.1:9/?t=${value}` }, body: "" },
      { status: 500, body: { errors: [{ code: "UNKNOWN", message: value }] } },
    ];
    for (const [at, body] of bodies.entries()) {
      tokens?.revokeAll();
      tokens?.fail(body);
      await pull(name, `manifests/t${at}`);
    }
    tokens?.fail(undefined);
  }
}

/** Every request of every registry, each of which may see its own. */
function sentTo({ upstreams, elsewhere }: LeakRig): readonly Place[] {
  const registries = [...upstreams].flatMap(([name, upstream]) =>
    seenBy(upstream, name, [name, "token"]),
  );
  const services = (["bearer", "identity"] as const).flatMap((name) =>
    (upstreams.get(name)?.tokens.requests ?? []).map((request) => ({
      name: `what the token service of ${name} was sent`,
      text: `${JSON.stringify(request)} ${request.parameters}`,
      mayHave: [name],
    })),
  );
  return [...registries, ...services, ...seenBy(elsewhere, "elsewhere", ["signature"])];
}

function seenBy(
  { requests }: FakeUpstream,
  name: string,
  mayHave: readonly string[],
): readonly Place[] {
  return requests.map((request) => ({
    name: `what ${name} was sent`,
    text: JSON.stringify(request),
    mayHave,
  }));
}

t.test("no command of the product tells a secret", async (t) => {
  const { folder, config, env } = await leakRig(t);
  const file = join(folder, "sluice.yaml");
  const places: Place[] = [];
  const sluice = async (...args: readonly string[]): Promise<number> => {
    const { code, output } = await run(process.execPath, [MAIN, ...args], { env });
    places.push({ name: args.join(" "), text: output });
    return code;
  };
  writeFileSync(file, config);
  t.equal(await sluice("check", file), 0);
  t.equal(await sluice("check", file, "--json"), 0);
  const images = ["file", "env", "docker", "identity", "registry", "helper", "kubelet"] as const;
  for (const crash of [false, true]) {
    for (const name of images) {
      const code = await sluice("explain", imageOf(name), "--credentials", "--config", file);
      t.equal(code, crash && (name === "helper" || name === "kubelet") ? 1 : 0, name);
    }
    await sluice("explain", imageOf("kubelet"), "--credentials", "--config", file, "--json");
    await sluice("explain", imageOf("helper"), "--credentials", "--config", file, "--json");
    writeFileSync(join(folder, "crash"), "");
  }
  const { value } = SECRETS.file;
  for (const text of badConfigs(value)) {
    writeFileSync(join(folder, "bad.yaml"), text);
    t.not(await sluice("check", join(folder, "bad.yaml")), 0, text);
    t.not(await sluice("check", join(folder, "bad.yaml"), "--json"), 0, text);
  }
  const plain = { name: "file, without odd characters", value: value.replace(/[+/]/g, "") };
  t.same(leaksIn(places, [...CANARIES, plain]), []);
});

/** Secrets where they do not belong, or where they cannot be read. */
function badConfigs(value: string): readonly string[] {
  return [
    `upstreams: { "a.example": { auth: { username: robot, password: "${value}" } } }`,
    `upstreams: { "a.example": { url: "https://robot:${value.replace(/[+/]/g, "")}@a.example" } }`,
    `upstreams: { "a.example": { auth: "${value}" } }`,
    `upstreams: { "a.example": { auth: { username: robot, passwordfile: "${value}" } } }`,
    `upstreams:\n  a.example:\n    auth: { username: robot, password: "${value}"\n`,
    `upstreams:\n  a.example:\n    auth: { username: robot, password: "${value}", password: x }\n`,
    `upstreams:\n\ta.example: { auth: { password: ${value} } }\n`,
    `adminTokenFile: [ "${value}" ]`,
    `credentials: { dockerConfigFile: { auths: { a: { auth: "${value}" } } } }`,
    `clients: { htpasswdFile: { anna: "${value}" } }`,
  ];
}

t.test("a broken file is not quoted", async (t) => {
  const { value } = SECRETS.file;
  const broken: readonly (readonly [file: string, text: string])[] = [
    ["docker.json", `{"auths": {"docker.example": {"auth": "${value}"}}`],
    ["docker.json", `{"auths": {"docker.example": {"auth": "${value}"}}}`],
    ["docker.json", `{"auths": {"docker.example": "${value}"}}`],
    ["docker.json", `{"credHelpers": {"docker.example": "${value}"}}`],
    ["kubelet.json", `{"providers": [{"env": [{"name": "A", "value": "${value}"}]}]`],
    ["kubelet.json", `{"kind": "${value}"}`],
    ["users.htpasswd", `anna:${value}\n`],
    ["users.htpasswd", `${value}\n`],
    ["jwks.json", `{"keys": [{"kty": "EC", "d": "${value}"}]}`],
    ["jwks.json", `{"keys": [{"kty": "EC", "d": "${value}"}`],
    ["tls.key", `-----BEGIN PRIVATE KEY-----\n${value}\n-----END PRIVATE KEY-----\n`],
  ];
  for (const [at, [name, text]] of broken.entries()) {
    const { folder, config, env } = await leakRig(t);
    const tls = name === "tls.key" ? "tls: { certFile: tls.crt, keyFile: tls.key }\n" : "";
    const file = join(folder, "sluice.yaml");
    writeFileSync(join(folder, "tls.crt"), GOOD_CERTIFICATE.cert);
    writeFileSync(join(folder, name), text);
    writeFileSync(file, config + tls);
    const places: Place[] = [];
    const image = name === "kubelet.json" ? imageOf("kubelet") : imageOf("docker");
    for (const args of [
      ["check", file],
      ["explain", image, "--credentials", "--config", file],
    ]) {
      places.push({ name, text: (await run(process.execPath, [MAIN, ...args], { env })).output });
    }
    places.push(...(await servedWith(folder, config + tls, env)));
    t.same(leaksIn(places, [SECRETS.file]), [], `${at}: ${name}`);
  }
});

/** What it says when it is started, and, if it starts, when something is pulled. */
async function servedWith(
  folder: string,
  config: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly Place[]> {
  try {
    await using sluice = await SluiceProcess.start({ config, folder, env });
    const places: Place[] = [];
    for (const name of ["docker", "kubelet"] as const) {
      const url = sluice.registry + pathOf(name, "manifests/v1");
      places.push((await answerOf(url, undefined)).place);
    }
    return [...places, { name: "the log", text: sluice.logs.join("\n") }];
  } catch (error) {
    return [{ name: "why it does not start", text: String(error) }];
  }
}
