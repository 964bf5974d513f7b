import { writeFileSync } from "node:fs";
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
