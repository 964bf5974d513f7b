import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Credential } from "../../server/credentials/credential.ts";
import { DockerConfig } from "../../server/credentials/docker-config.ts";

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

interface Opened {
  find(registry: string, repository: string): Promise<Credential | undefined>;
}

function open(t: Test, config: unknown): Opened {
  const folder = t.testdir({ "config.json": JSON.stringify(config) });
  return opened(new DockerConfig(join(folder, "config.json")));
}

/** What is tried first. */
function opened(config: DockerConfig): Opened {
  return {
    find: async (registry, repository) =>
      (await config.find({ registry, repository }))[0]?.credential,
  };
}

t.test("every way of writing a log-in is read", async (t) => {
  const config = open(t, {
    auths: {
      "a.example": { auth: base64("user:pass:with:colons") },
      "https://b.example": { username: "user", password: "pass" },
      "https://c.example/v2/": { auth: base64("user:wins"), username: "other", password: "loses" },
      "d.example": { auth: base64("user:\0padded\0") },
      "e.example": { identitytoken: "refresh", auth: base64("robot:") },
      "f.example": { registrytoken: "bearer" },
      "g.example": {},
      "h.example": { auth: "not base64 of a pair" },
    },
  });
  const basic = (password: string): object => ({ kind: "basic", username: "user", password });
  t.same(await config.find("a.example", "x"), basic("pass:with:colons"));
  t.same(await config.find("b.example", "x"), basic("pass"));
  t.same(await config.find("c.example", "x"), basic("wins"));
  t.same(await config.find("d.example", "x"), basic("padded"));
  t.same(await config.find("e.example", "x"), {
    kind: "identity",
    username: "robot",
    token: "refresh",
  });
  t.same(await config.find("f.example", "x"), { kind: "registry", token: "bearer" });
  t.equal(await config.find("g.example", "x"), undefined);
  t.equal(await config.find("h.example", "x"), undefined);
});

t.test("Docker Hub is found under the name that docker login gives it", async (t) => {
  for (const key of ["https://index.docker.io/v1/", "docker.io", "index.docker.io"]) {
    const config = open(t, { auths: { [key]: { auth: base64("user:pass") } } });
    t.match(await config.find("docker.io", "library/nginx"), { username: "user" }, key);
  }
});

t.test("the older form without auths is read, too", async (t) => {
  const config = open(t, { "a.example": { auth: base64("user:pass") } });
  t.match(await config.find("a.example", "x"), { username: "user" });
});

t.test("keys match as the kubelet matches them", async (t) => {
  const auth = (username: string): object => ({ auth: base64(`${username}:pass`) });
  const config = open(t, {
    auths: {
      "*.example.com": auth("any"),
      "registry.example.com": auth("host"),
      "registry.example.com/team": auth("team"),
      "registry.example.com/team/app": auth("app"),
      "port.example.com:5000": auth("port"),
      "reg*.gl*b.example": auth("glob"),
    },
  });
  const cases: [registry: string, repository: string, username: string | undefined][] = [
    ["registry.example.com", "team/app", "app"],
    ["registry.example.com", "team/other", "team"],
    ["registry.example.com", "elsewhere", "host"],
    ["mirror.example.com", "x", "any"],
    ["a.b.example.com", "x", undefined],
    ["example.com", "x", undefined],
    ["registry.example.com:443", "x", undefined],
    ["port.example.com:5000", "x", "port"],
    ["port.example.com:5001", "x", undefined],
    ["registry.glob.example", "x", "glob"],
    ["registry.example.com.evil.com", "x", undefined],
    ["xregistry.example.comx", "x", undefined],
  ];
  for (const [registry, repository, username] of cases) {
    const found = await config.find(registry, repository);
    t.equal(found?.kind === "basic" ? found.username : undefined, username, registry);
  }
});

t.test("a file that changes is read anew; one that breaks is not", async (t) => {
  const folder = t.testdir({});
  const path = join(folder, "config.json");
  const write = (username: string): void =>
    writeFileSync(path, JSON.stringify({ auths: { "a.example": { username, password: "p" } } }));
  const config = opened(new DockerConfig(path));
  await t.rejects(config.find("a.example", "x"), { code: "ENOENT" });
  write("first");
  t.match(await config.find("a.example", "x"), { username: "first" });
  write("the second");
  t.match(await config.find("a.example", "x"), { username: "the second" });
  writeFileSync(path, "{ half");
  t.match(await config.find("a.example", "x"), { username: "the second" });
});

t.test(
  "all that matches is found, the best first, with where it stands and no secret",
  async (t) => {
    const folder = t.testdir({
      "config.json": JSON.stringify({
        auths: {
          "*.example": { auth: base64("user:secret-1") },
          "https://team.example/v2/": { auth: base64("user:secret-2") },
          "team.example/a": { identitytoken: "secret-3" },
          "team.example/b": { auth: base64("user:secret-4") },
        },
      }),
    });
    const path = join(folder, "config.json");
    const found = await new DockerConfig(path).find({
      registry: "team.example",
      repository: "a/app",
    });
    t.same(
      found.map(({ from }) => from),
      [
        `${path}, auths key "team.example/a"`,
        `${path}, auths key "https://team.example/v2/"`,
        `${path}, auths key "*.example"`,
      ],
    );
    t.notMatch(JSON.stringify(found.map(({ from }) => from)), /secret-[0-9]|user/);
  },
);

t.test("credentials are for the registry that a key names, and for no other", async (t) => {
  const config = open(t, {
    auths: {
      "https://index.docker.io/v1/": { auth: base64("user:pass") },
      "registry.docker.io@evil.example": { auth: base64("user:pass") },
    },
  });
  for (const registry of [
    "docker.io.evil.example",
    "evil-docker.io",
    "xdocker.io",
    "index.docker.io.evil.example",
    "docker.io:5000",
    "evil.example",
    "registry.docker.io",
  ]) {
    t.equal(await config.find(registry, "library/nginx"), undefined, registry);
  }
});

t.test("names that mean something to JavaScript are names like others", async (t) => {
  const config = opened(
    new DockerConfig(
      join(
        t.testdir({
          "config.json":
            `{"auths": {"__proto__": {"auth": "${base64("a:b")}"}, "constructor": {}, "x.example": {"__proto__": ` +
            `{"username": "polluted", "password": "p"}}}, "credHelpers": {"__proto__": "nothing"}}`,
        }),
        "config.json",
      ),
    ),
  );
  t.equal(await config.find("constructor", "x"), undefined);
  t.equal(await config.find("x.example", "x"), undefined);
  t.equal(Object.hasOwn(Object.prototype, "username"), false);
});

t.test("a Kubernetes secret mounted as a file is read anew when it is swapped", async (t) => {
  const folder = t.testdir({});
  const mount = (version: string, username: string): void => {
    mkdirSync(join(folder, version));
    const text = JSON.stringify({ auths: { "a.example": { username, password: "p" } } });
    writeFileSync(join(folder, version, ".dockerconfigjson"), text);
    symlinkSync(version, join(folder, "..data_tmp"));
    renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  };
  mount("..1", "first");
  symlinkSync(join("..data", ".dockerconfigjson"), join(folder, ".dockerconfigjson"));
  const config = opened(new DockerConfig(join(folder, ".dockerconfigjson")));
  t.match(await config.find("a.example", "x"), { username: "first" });
  mount("..2", "other");
  rmSync(join(folder, "..1"), { recursive: true });
  t.match(await config.find("a.example", "x"), { username: "other" });
  mount("..3", "third");
  rmSync(join(folder, "..2"), { recursive: true });
  t.match(await config.find("a.example", "x"), { username: "third" });
});

t.test("a file that is wrong from the start says what, where and what is expected", async (t) => {
  const many = Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [`h${n}.example`, {}]));
  const cases: [text: string, message: RegExp][] = [
    ["", /is not JSON: it ends at line 1, column 1: expected a value; expected what docker login/],
    ["\ufeff{}", /is not JSON: line 1, column 1: expected a value/],
    [base64('{"auths": {}}'), /is not JSON: line 1, column 1: .*decoded from base64/],
    ['{"auths": {"my-secret": x}}', /is not JSON: line 1, column 25: expected a value/],
    ['{\n "auths": {\n  "my-secret": {},\n }}', /line 4, column 2: expected a name in double/],
    ['{"auths": {"my-secret": {"auth" "x"}}}', /line 1, column 33: expected ":"/],
    ['{"auths": {"a": "my-secret" "b"}}', /line 1, column 29: expected "," or the end/],
    ['{"auths": {"a": {"auth": "my-secret', /line 1, column 26: the text that begins here has no/],
    ['{"auths": {"a": {"auth": "my-secret\t"', /line 1, column 26: the text that begins/],
    ['["my-secret"]', /config\.json is not a JSON object; expected/],
    ['"my-secret"', /config\.json is not a JSON object; expected/],
    ['{"auths": ["my-secret"]}', /auths of .*config\.json is not a JSON object; expected/],
    ['{"credHelpers": "my-secret"}', /credHelpers of .*config\.json is not a JSON object/],
    ['{"credHelpers": {"a": 1}}', /credHelpers of .* has an entry that is no text; expected/],
    ['{"credsStore": {}}', /credsStore of .*config\.json is no text; expected the name of a/],
    [JSON.stringify({ auths: many }), /has 1001 entries in auths; expected at most 1000/],
    [JSON.stringify(many), /has 1001 entries in auths; expected at most 1000/],
    ["[".repeat(1_000_000), /is not JSON: it ends at line 1, column 1000001/],
    [" ".repeat(1_048_577), /config\.json has 1048577 bytes; expected at most 1048576/],
  ];
  const path = join(t.testdir({}), "config.json");
  for (const [text, message] of cases) {
    writeFileSync(path, text);
    const found = new DockerConfig(path).find({ registry: "a.example", repository: "x" });
    const error = await found.catch((reason: unknown) => reason);
    t.match(error, { name: "CredentialError", message }, text.slice(0, 40));
    t.ok(String(error).includes(path));
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      t.notMatch(cause.message, /my-secret/);
    }
  }
});

t.test(
  "a folder in place of the file, as Docker makes one for a missing mount, is told",
  async (t) => {
    const path = join(t.testdir({ "config.json": {} }), "config.json");
    await t.rejects(new DockerConfig(path).find({ registry: "a.example", repository: "x" }), {
      name: "CredentialError",
      message: /config\.json is a folder; expected a file/,
    });
  },
);

t.test("what could not be sent is no log-in", async (t) => {
  const config = open(t, {
    auths: {
      "a.example": { registrytoken: "token\r\nX-Injected: yes" },
      "b.example": { registrytoken: 5, identitytoken: ["x"], username: {}, password: 1 },
      "c.example": "text",
      "d.example": null,
    },
  });
  for (const registry of ["a.example", "b.example", "c.example", "d.example"]) {
    t.equal(await config.find(registry, "x"), undefined, registry);
  }
});
