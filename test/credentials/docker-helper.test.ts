import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { FoundCredential } from "../../server/credentials/credential.ts";
import { DockerConfig } from "../../server/credentials/docker-config.ts";
import { CREDENTIAL_LIMITS } from "../../server/limits.ts";

/** What a helper prints and how it ends, for each server that it knows. */
type Answers = Readonly<Record<string, readonly [stdout: unknown, exitCode?: number]>>;

const BASIC = { ServerURL: "ignored", Username: "user", Secret: "pass" };

/** A folder on PATH with helpers, which write down what they are asked, and a docker configuration. */
class Machine {
  readonly configFile: string;
  readonly #folder: string;
  #nowMs = 0;
  readonly #config: DockerConfig;

  constructor(t: Test, config: unknown) {
    this.#folder = t.testdir({ "config.json": JSON.stringify(config), asked: "" });
    this.configFile = join(this.#folder, "config.json");
    this.#config = new DockerConfig(this.configFile, () => this.#nowMs);
    const path = process.env["PATH"] ?? "";
    process.env["PATH"] = [this.#folder, path].join(delimiter);
    t.teardown(() => {
      process.env["PATH"] = path;
    });
  }

  /** @param last - said after the answer, to stderr. */
  install(suffix: string, answers: Answers, last = ""): void {
    const path = join(this.#folder, `docker-credential-${suffix}`);
    writeFileSync(
      path,
      `#!${process.execPath}
      const server = require("node:fs").readFileSync(0, "utf8");
      const line = "${suffix} " + process.argv.slice(2).join(" ") + " " + server + "\\n";
      require("node:fs").appendFileSync(${JSON.stringify(join(this.#folder, "asked"))}, line);
      const missing = ["credentials not found in native keychain", 1];
      const [stdout, exitCode = 0] = (${JSON.stringify(answers)})[server] ?? missing;
      console.log(typeof stdout === "string" ? stdout : JSON.stringify(stdout));
      process.stderr.write(${JSON.stringify(last)});
      process.exitCode = exitCode;`,
    );
    chmodSync(path, 0o755);
  }

  find(registry: string, repository = "app"): Promise<readonly FoundCredential[]> {
    return this.#config.find({ registry, repository });
  }

  refuse(found: FoundCredential | undefined): void {
    if (found !== undefined) {
      this.#config.refused(found);
    }
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  get asked(): readonly string[] {
    return readFileSync(join(this.#folder, "asked"), "utf8").split("\n").slice(0, -1);
  }
}

/** In short. */
function passwordsOf(found: readonly FoundCredential[]): readonly string[] {
  return found.map(({ credential }) =>
    credential.kind === "basic" ? credential.password : credential.token,
  );
}

function auth(password: string): object {
  return { auth: Buffer.from(`user:${password}`).toString("base64") };
}

function secret(Secret: string): readonly [unknown] {
  return [{ ...BASIC, Secret }];
}

t.test("a host's helper is asked for the host, and nothing else is", async (t) => {
  const machine = new Machine(t, {
    credHelpers: {
      "gcr.example": "gcr",
      "team.example:5000": "team",
      "https://index.docker.io/v1/": "hub",
    },
    credsStore: "all",
  });
  machine.install("gcr", { "gcr.example": [{ ...BASIC, Username: "_token", Secret: "s" }] });
  machine.install("team", {
    "team.example:5000": [{ ...BASIC, Username: "<token>", Secret: "refresh" }],
  });
  machine.install("hub", { "https://index.docker.io/v1/": [BASIC] });
  machine.install("all", {});
  t.same(await machine.find("gcr.example"), [
    {
      credential: { kind: "basic", username: "_token", password: "s" },
      from: `${machine.configFile}, credHelpers: docker-credential-gcr for "gcr.example"`,
    },
  ]);
  t.match(await machine.find("team.example:5000"), [
    { credential: { kind: "identity", username: "<token>", token: "refresh" } },
  ]);
  t.same(passwordsOf(await machine.find("docker.io", "library/nginx")), ["pass"]);
  t.same(machine.asked, [
    "gcr get gcr.example",
    "team get team.example:5000",
    "hub get https://index.docker.io/v1/",
  ]);
});

t.test("a helper is for its host exactly", async (t) => {
  const machine = new Machine(t, { credHelpers: { "gcr.example": "gcr", "*.example": "gcr" } });
  for (const registry of ["eu.gcr.example", "gcr.example:443", "gcr.example.evil", "constructor"]) {
    t.same(await machine.find(registry), [], registry);
  }
});

t.test("a store is asked for the host, and for a key that the file only mentions", async (t) => {
  const machine = new Machine(t, {
    auths: {
      "https://team.example/v2/": {},
      "team.example/a": {},
      "team.example/b": {},
      "*.example": {},
      "https://index.docker.io/v1/": {},
    },
    credsStore: "all",
  });
  machine.install("all", {
    "team.example/a": secret("path"),
    "team.example": secret("host"),
    "https://index.docker.io/v1/": secret("hub"),
  });
  const found = await machine.find("team.example", "a/app");
  t.same(passwordsOf(found), ["path", "host"]);
  t.match(found[0]?.from, /config\.json, credsStore: docker-credential-all for "team.example\/a"$/);
  t.same(machine.asked.toSorted(), [
    "all get https://team.example/v2/",
    "all get team.example",
    "all get team.example/a",
  ]);
  t.same(passwordsOf(await machine.find("docker.io", "library/nginx")), ["hub"]);
  t.same(await machine.find("other.example"), [], "not known is no error");
});

t.test("the host's helper comes first, then the file; its store is for other hosts", async (t) => {
  const machine = new Machine(t, {
    auths: {
      "team.example": auth("file"),
      "other.example": auth("file"),
      "plain.example": auth("file"),
    },
    credHelpers: { "team.example": "team", "plain.example": "" },
    credsStore: "all",
  });
  machine.install("team", { "team.example": secret("helper") });
  machine.install("all", { "other.example": secret("store"), "plain.example": secret("store") });
  t.same(passwordsOf(await machine.find("team.example")), ["helper", "file"]);
  t.same(passwordsOf(await machine.find("plain.example")), ["file"], "an empty helper is none");
  t.same(machine.asked, ["team get team.example"]);
});

t.test("a store is asked only when the file has nothing, or nothing that is taken", async (t) => {
  const machine = new Machine(t, { auths: { "team.example": auth("file") }, credsStore: "all" });
  machine.install("all", { "team.example": secret("store") });
  const [first] = await machine.find("team.example");
  t.same(machine.asked, []);
  machine.refuse(first);
  t.same(passwordsOf(await machine.find("team.example")), ["file", "store"]);
});

t.test("a store that fails is no obstacle while the file has something", async (t) => {
  const machine = new Machine(t, {
    auths: { "team.example": auth("file") },
    credsStore: "nowhere",
  });
  const [first] = await machine.find("team.example");
  machine.refuse(first);
  t.same(passwordsOf(await machine.find("team.example")), ["file"]);
  await t.rejects(machine.find("other.example"), { name: "CredentialError" });
});

t.test("a helper is asked once for all who wait, and again when its answer is old", async (t) => {
  const machine = new Machine(t, { credHelpers: { "team.example": "team" } });
  machine.install("team", { "team.example": secret("one") });
  await Promise.all(Array.from({ length: 20 }, () => machine.find("team.example")));
  machine.pass(CREDENTIAL_LIMITS.helperKeptMs - 1);
  t.same(passwordsOf(await machine.find("team.example")), ["one"]);
  t.equal(machine.asked.length, 1);
  machine.install("team", { "team.example": secret("two") });
  machine.pass(1);
  t.same(passwordsOf(await machine.find("team.example")), ["two"]);
  t.equal(machine.asked.length, 2);
});

t.test("what a registry refuses is fetched anew, unless it is new", async (t) => {
  const machine = new Machine(t, {
    credHelpers: { "team.example": "team", "other.example": "team" },
  });
  machine.install("team", {
    "team.example": secret("one"),
    "other.example": secret("other"),
  });
  const [first] = await machine.find("team.example");
  await machine.find("other.example");
  machine.refuse(first);
  await machine.find("team.example");
  t.equal(machine.asked.length, 2, "it was new");
  machine.pass(CREDENTIAL_LIMITS.helperNewMs);
  machine.install("team", { "team.example": secret("two") });
  machine.refuse(first);
  t.same(passwordsOf(await machine.find("team.example")), ["two"]);
  t.same(passwordsOf(await machine.find("other.example")), ["other"]);
  t.equal(machine.asked.length, 3);
});

t.test("a helper that fails is told with its name, the file, and what to do", async (t) => {
  const names = [
    "gone",
    "fails",
    "text",
    "list",
    "types",
    "../../bin/sh",
    "a b",
    "",
    "x".repeat(65),
  ];
  const machine = new Machine(t, {
    credHelpers: Object.fromEntries(names.map((name, index) => [`h${index}.example`, name])),
  });
  const answers = (stdout: unknown, exitCode = 0): Answers =>
    Object.fromEntries(names.map((_, index) => [`h${index}.example`, [stdout, exitCode]]));
  machine.install("fails", answers("my-secret", 3), "the session\nexpired");
  machine.install("text", answers("my-secret"));
  machine.install("list", answers(["my-secret"]));
  machine.install("types", answers({ Username: "my-secret", Secret: 5 }));
  const noName =
    /^credHelpers of .*config\.json names no helper: expected what follows docker-cred/;
  const cases: [registry: string, message: RegExp][] = [
    [
      "h0.example",
      /^docker-credential-gone, which credHelpers of .*config\.json names, cannot be run: there is no docker-credential-gone on PATH \(.*\); install it there/,
    ],
    [
      "h1.example",
      /^docker-credential-fails, .* failed with exit code 3 \(it said: the session expired\); see what it says to "echo h1.example \| docker-credential-fails get"/,
    ],
    ["h2.example", /^docker-credential-text, .* answered with something else than a JSON object/],
    ["h3.example", /^docker-credential-list, .* answered with something else than a JSON object/],
    ["h4.example", /^docker-credential-types, .* answered with something else than a JSON object/],
    ["h5.example", noName],
    ["h6.example", noName],
    ["h8.example", noName],
  ];
  for (const [registry, message] of cases) {
    const error = await machine.find(registry).catch((reason: unknown) => reason);
    t.match(error, { name: "CredentialError", message }, registry);
    t.notMatch(String(error), /my-secret/);
  }
  t.same(await machine.find("h7.example"), []);
});

t.test("a helper that failed is not asked again at once, but soon", async (t) => {
  const machine = new Machine(t, { credHelpers: { "team.example": "team" } });
  machine.install("team", { "team.example": ["broken", 2] });
  await t.rejects(machine.find("team.example"), { name: "CredentialError" });
  await t.rejects(machine.find("team.example"), { name: "CredentialError" });
  t.equal(machine.asked.length, 1);
  machine.install("team", { "team.example": secret("well") });
  machine.pass(CREDENTIAL_LIMITS.helperFailedMs);
  t.same(passwordsOf(await machine.find("team.example")), ["well"]);
});

t.test("a helper without a secret has no log-in", async (t) => {
  const machine = new Machine(t, { credHelpers: { "team.example": "team" } });
  machine.install("team", { "team.example": [{ ServerURL: "", Username: "", Secret: "" }] });
  t.same(await machine.find("team.example"), []);
});
