import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { parse } from "yaml";
import { loadConfig } from "../../server/config/config.ts";
import { effectiveConfig } from "../../server/config/effective.ts";
import { ConfigError, formatProblem } from "../../server/config/errors.ts";
import { publishedSchema } from "../../server/config/schema.ts";
import { POLICY_FILES } from "../support/policy-files.ts";

const ENVIRONMENT = {
  TEAM_PASSWORD: "s3cret-value",
  TEAM_HOST: "registry.team.example",
  EMPTY: "",
};

const VALID = `# a comment
listen: "[::1]:5000"
admin: :5001
adminTokenFile: tls.crt
tls: { certFile: tls.crt, keyFile: tls.crt, clientCaFile: tls.crt }
storage:
  disk: { path: cache, maxBytes: 20 GiB }
  verifyReads: always
defaultUpstream: team.example
upstreams:
  docker.io: {}
  team.example: &team
    url: [https://registry-a.example/, "https://\${TEAM_HOST}/prefix"]
    aliases: [team.example:443, mirror.example:5000]
    caFile: tls.crt
    auth: { username: robot, password: "\${TEAM_PASSWORD}" }
    tokenHosts: [auth.example]
    redirectHosts: [storage.internal:9000]
    tagFreshSeconds: 0
    access: per-client
  127.0.0.1:5555: { url: http://127.0.0.1:5555 }
  plain.example: { url: http://plain.example, insecure: true, auth: { username: x, passwordFile: tls.crt } }
  123456789012.dkr.ecr.eu-central-1.amazonaws.com: { auth: { provider: ecr, region: eu-central-1, endpoint: https://ecr.example/ } }
credentials: { dockerConfigFile: config.json }
clients:
  htpasswdFile: users
  tokens:
    - { issuer: https://issuer.example, audience: sluice, jwksFile: keys.json, nameClaim: email }
    - { issuer: https://issuer.example, audience: other, jwksUrl: http://localhost:8080/keys?v=1, caFile: tls.crt, tokenFile: tls.crt, groupsClaim: roles }
  certificates: { name: san }
  anonymous: true
  rules:
    - { who: ["user:alice", "group:**", anonymous], pull: [team.example/a/**] }
    - { who: ["*"], pull: ["**"] }
policy:
  unmatched: deny
  rules:
    - name: kubernetes
      match: [docker.io/**]
      mode: warn
      tags: { allow: ["v*"], semver: true }
      signatures:
        any:
          - keyless: { issuer: https://accounts.google.com, subject: a@acme.example, trustedRootFile: trusted_root.json }
          - key: { file: cosign.pub, log: ignore }
          - notation: { trustStoreDir: ca, subjects: ["O=acme"] }
      attestations:
        - predicateType: https://cosign.sigstore.dev/attestation/vuln/v1
          by: { key: { file: cosign.pub } }
          vulnerabilities: { maxAgeDays: 7, refuse: [critical] }
      children: require-own
  exceptions:
    - { match: [docker.io/library/*], until: 2027-01-31, reason: migration, ticket: OPS 12 }
  deny:
    - { signer: { key: { file: cosign.pub } }, reason: stolen }
trust: { publicGood: tuf, tufRootFile: root.json }
audit: { file: audit.jsonl, maxBytes: 10MiB, keep: 3 }
accessLog: { file: access.jsonl }
`;

function writeConfig(t: Test, text: string | Buffer): string {
  const folder = t.testdir({
    "tls.crt": "not looked into",
    "config.json": '{ "auths": {} }',
    "blank.token": " \n",
    "keys.json": '{"keys":[{}]}',
    "large.txt": "x".repeat(1_048_577),
    users: `alice:$2y$10$${"a".repeat(21)}.${"a".repeat(30)}.\n`,
    ...POLICY_FILES,
  });
  const file = join(folder, "sluice.yaml");
  writeFileSync(file, text);
  return file;
}

function problemsOf(t: Test, text: string | Buffer, env = ENVIRONMENT): readonly string[] {
  return problemsIn(writeConfig(t, text), env);
}

function problemsIn(file: string, env = ENVIRONMENT): readonly string[] {
  try {
    loadConfig(file, env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.problems.map((problem) => formatProblem({ ...problem, file: "f" }));
    }
    throw error;
  }
}

t.test("a full file is read, resolved against its folder and frozen", async (t) => {
  const file = writeConfig(t, VALID);
  const folder = join(file, "..");
  const settings = loadConfig(file, ENVIRONMENT);
  t.same(settings.listen, { host: "::1", port: 5000 });
  t.same(settings.admin, { host: "::", port: 5001 });
  t.same(settings.storage, {
    disk: { path: join(folder, "cache"), maxBytes: 20 * 1024 ** 3 },
    verifyReads: "always",
  });
  t.same(settings.accessLog, { file: join(folder, "access.jsonl") });
  t.equal(settings.defaultUpstream, "team.example");
  t.same(
    settings.upstreams.map(({ name }) => name),
    [
      "docker.io",
      "team.example",
      "127.0.0.1:5555",
      "plain.example",
      "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    ],
  );
  t.match(settings.upstreams[0], {
    urls: ["https://registry-1.docker.io"],
    aliases: ["index.docker.io", "registry-1.docker.io"],
    tokenHosts: ["auth.docker.io"],
  });
  t.same(settings.upstreams[1], {
    name: "team.example",
    urls: ["https://registry-a.example", "https://registry.team.example/prefix"],
    aliases: ["team.example:443", "mirror.example:5000"],
    insecure: false,
    caFile: join(folder, "tls.crt"),
    auth: { username: "robot", password: "s3cret-value" },
    tokenHosts: ["auth.example"],
    redirectHosts: ["storage.internal:9000"],
    tagFreshSeconds: 0,
    serveStaleSeconds: 86_400,
    access: "per-client",
  });
  t.throws(() => Object.assign(settings.upstreams[1]?.auth ?? {}, { username: "x" }), TypeError);
  t.throws(() => Object.assign(settings, { listen: undefined }), TypeError);
});

t.test("without a file the public registries are served on loopback", async (t) => {
  const settings = loadConfig(undefined, {}, "/srv/work");
  t.same(settings.listen, { host: "127.0.0.1", port: 5000 });
  t.same(settings.admin, { host: "127.0.0.1", port: 5001 });
  t.same(settings.storage.disk, { path: "/srv/work/data", maxBytes: 50 * 1024 ** 3 });
  t.equal(settings.defaultUpstream, "docker.io");
  t.ok(settings.upstreams.some(({ name }) => name === "registry.k8s.io"));
  t.same(loadConfig(undefined, {}, "/srv/work"), settings, "and the same each time");
});

t.test("a file with upstreams configures those and no others", async (t) => {
  const file = writeConfig(t, "upstreams: { quay.io: {} }\n");
  const settings = loadConfig(file, {});
  t.same(
    settings.upstreams.map(({ name, urls }) => [name, urls]),
    [["quay.io", ["https://quay.io"]]],
  );
  t.equal(settings.defaultUpstream, undefined, "docker.io is not a default that is not configured");
  const named = loadConfig(writeConfig(t, "listen: :0\nadmin: :0\n"), {});
  t.equal(named.upstreams.length > 5, true, "a file without them has the public ones");
});

t.test("a known registry's own aliases give way to an upstream of that name", async (t) => {
  const text = "upstreams: { docker.io: {}, registry-1.docker.io: {} }\n";
  const { upstreams } = loadConfig(writeConfig(t, text), {});
  t.same(upstreams[0]?.aliases, ["index.docker.io"]);
  const mirror = "upstreams: { docker.io: { url: https://hub.corp.example } }\n";
  const [hub] = loadConfig(writeConfig(t, mirror), {}).upstreams;
  t.same(hub?.tokenHosts, [], "credentials for a server of our own do not go to Docker's");
  t.same(hub?.aliases, ["index.docker.io", "registry-1.docker.io"]);
});

t.test("the environment goes before the file, and is told apart when it is wrong", async (t) => {
  const file = writeConfig(t, "listen: 127.0.0.1:7000\n");
  const env = { SLUICE_LISTEN: "localhost:0", SLUICE_ADMIN: "", SLUICE_DATA: "there" };
  const settings = loadConfig(file, env, "/srv/work");
  t.same(settings.listen, { host: "localhost", port: 0 });
  t.same(settings.admin, { host: "127.0.0.1", port: 5001 }, "set to nothing is not set");
  t.equal(settings.storage.disk.path, "/srv/work/there");
  t.throws(() => loadConfig(file, { SLUICE_ADMIN: "5001" }), {
    message:
      'SLUICE_ADMIN: found "5001", expected an address such as 127.0.0.1:5000, [::1]:5000 or :5000',
  });
  t.throws(() => loadConfig(file, { SLUICE_ADMIN: ":7000" }), {
    message: /^SLUICE_ADMIN: found port 7000/,
  });
});

t.test("what is wrong is said, and where", async (t) => {
  const texts = ["./refusals.txt", "./policy-refusals.txt", "./client-refusals.txt"].map((file) =>
    readFileSync(new URL(file, import.meta.url), "utf8"),
  );
  for (const block of texts.flatMap((text) => text.split(/^## /mu).slice(1))) {
    const [title = "", ...lines] = block.trimEnd().split("\n");
    const text = lines.filter((line) => !line.startsWith("=> "));
    const expected = lines.filter((line) => line.startsWith("=> "));
    const problems = problemsOf(t, `${text.join("\n")}\n`);
    t.same(
      problems.map((problem) => problem.replace(/^f:/u, "=> ")),
      expected,
      title,
    );
    t.notMatch(problems.join("\n"), /hunter2|s3cret-value/, `${title}: no secret is shown`);
  }
});

t.test("what a later version knows is refused, not passed over", async (t) => {
  const text = `fleet: {}
adminTls: {}
`;
  const problems = problemsOf(t, text);
  t.equal(problems.length, 2);
  t.ok(problems.every((problem) => problem.includes("not supported by this version: without it")));
  t.match(problems[0], /^f:1:1: fleet is not supported by this version: without it each replica/);
  t.match(problems.at(-1), /^f:2:1: adminTls is not supported/);
});

t.test("all that is wrong is reported at once, by position", async (t) => {
  const text =
    "admin: x\nlisten: y\nfoo: 1\nupstreams:\n  b.example: { url: [http://c], caFile: z }\n";
  const places = problemsOf(t, text).map((problem) => problem.split(": ")[0]);
  t.same(places, ["f:1:8", "f:2:9", "f:3:1", "f:5:22", "f:5:41"]);
});

t.test("bytes that are not text, and files that are not there", async (t) => {
  const latin1 = Buffer.from("listen: :1\n# caf\xe9\n", "latin1");
  t.same(problemsOf(t, latin1), ["f:2:6: found bytes that are not UTF-8, expected UTF-8 text"]);
  t.match(problemsOf(t, Buffer.alloc(524_289, "#"))[0], /^f: is larger than 524288 bytes$/);
  t.throws(() => loadConfig(t.testdirName, {}), {
    code: "config-invalid",
    message: /cannot be read/,
  });
  t.throws(() => loadConfig("/no/such.yaml", {}), {
    message: "/no/such.yaml: cannot be read: ENOENT",
  });
});

t.test(
  "a file that we may not read",
  { skip: process.getuid?.() === 0 && "root reads all" },
  (t) => {
    const file = writeConfig(t, "credentials: { dockerConfigFile: secret }\n");
    writeFileSync(join(file, "..", "secret"), "x");
    chmodSync(join(file, "..", "secret"), 0);
    t.throws(() => loadConfig(file, {}), { message: /:1:34: .* cannot be read \(EACCES\)/ });
    t.end();
  },
);

t.test("a docker configuration that is broken is refused, without a word of it", (t) => {
  const file = writeConfig(t, "credentials: { dockerConfigFile: config.json }\n");
  writeFileSync(join(file, "..", "config.json"), '{ "auths": { "a": { "auth": "c2VjcmV0"');
  t.throws(() => loadConfig(file, {}), {
    message: /:1:34: .*config\.json is not JSON: it ends at line 1, column 39/,
  });
  t.notMatch(problemsIn(file).join(), /c2VjcmV0/);
  t.end();
});

t.test("a bomb of aliases or of brackets is refused before it goes off", async (t) => {
  const levels = Array.from({ length: 12 }, (_, index) => {
    const before = Array.from({ length: 10 }, () => `*a${index}`).join(", ");
    return `a${index + 1}: &a${index + 1} [${index === 0 ? "x, x" : before}]`;
  });
  t.match(problemsOf(t, `${levels.join("\n")}\n`)[0], /aliases expanded/);
  t.match(problemsOf(t, "[".repeat(50_000))[0], /not valid YAML/);
  t.match(problemsOf(t, `a: ${"[".repeat(40)}${"]".repeat(40)}\n`)[0], /more than 32 levels/);
});

t.test("aliases within reason are understood", async (t) => {
  const text = "upstreams:\n  a.example: &fresh { tagFreshSeconds: 5 }\n  b.example: *fresh\n";
  const { upstreams } = loadConfig(writeConfig(t, text), {});
  t.same(
    upstreams.map(({ tagFreshSeconds }) => tagFreshSeconds),
    [5, 5],
  );
});

t.test(`$\${ stands for \${`, async (t) => {
  const file = writeConfig(t, `accessLog: { file: 'a$\${TEAM_HOST}' }\n`);
  t.same(loadConfig(file, ENVIRONMENT).accessLog, { file: join(file, "..", `a\${TEAM_HOST}`) });
});

t.test("the effective configuration is a configuration, without its secrets", async (t) => {
  const file = writeConfig(t, VALID);
  const settings = loadConfig(file, ENVIRONMENT);
  const text = effectiveConfig(settings);
  t.notMatch(text, /s3cret-value/);
  t.match(text, /password: "?\*\*\*/);
  writeFileSync(file, text.replace(/"?\*\*\*"?/, `\${TEAM_PASSWORD}`));
  t.same(loadConfig(file, ENVIRONMENT), settings);
});

t.test("the published schema is the one in use", async (t) => {
  const published = readFileSync(
    new URL("../../deploy/sluice.schema.json", import.meta.url),
    "utf8",
  );
  t.equal(published, publishedSchema(), "node server/main.ts schema > deploy/sluice.schema.json");
  t.same(openPlaces(JSON.parse(published), "schema"), []);
});

/** Where an editor would let an unknown key pass, or could not say what a key is for. */
function openPlaces(schema: unknown, path: string): string[] {
  const { type, additionalProperties, properties, anyOf } = Object(schema);
  const own = type === "object" && additionalProperties !== false ? [`${path} is open`] : [];
  const unexplained = Object.entries(Object(properties))
    .filter(([, property]) => Object(property).description === undefined && anyOf === undefined)
    .map(([name]) => `${path}/${name} has no description`);
  const inside = Object.values(Object(schema))
    .flatMap((value) => (typeof value === "object" ? Object.entries(Object(value)) : []))
    .filter(([, value]) => typeof value === "object")
    .flatMap(([name, value]) => openPlaces(value, `${path}/${name}`));
  return [...own, ...unexplained, ...inside];
}

/** Numbers that repeat, so that a failure can be looked at again (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const SPLINTERS = [
  "",
  "\n",
  "  ",
  "\t",
  ":",
  ": ",
  "- ",
  "{",
  "}",
  "[",
  "]",
  "&a ",
  "*a",
  "!!set ",
  "|",
  ">",
  "'",
  '"',
  "#",
  `\${`,
  "}",
  `$\${`,
  "null",
  "~",
  "__proto__: ",
  "constructor: ",
  "0x",
  "1e999",
  ".nan",
  "\u0000",
  "\ud800",
  "é",
  "?",
  "---\n",
  "<<: ",
];

t.test("a damaged file is refused or understood, and nothing else", async (t) => {
  const file = writeConfig(t, VALID);
  let refused = 0;
  for (let seed = 1; seed <= 1500; seed += 1) {
    const next = random(seed);
    let text = VALID;
    for (let cuts = 1 + Math.floor(next() * 4); cuts > 0; cuts -= 1) {
      const at = Math.floor(next() * text.length);
      const splinter = SPLINTERS[Math.floor(next() * SPLINTERS.length)] ?? "";
      text = text.slice(0, at) + splinter + text.slice(at + Math.floor(next() * 12));
    }
    writeFileSync(file, text);
    try {
      parse(effectiveConfig(loadConfig(file, ENVIRONMENT)));
    } catch (error) {
      refused += 1;
      if (!(error instanceof ConfigError) || error.problems.length === 0) {
        t.fail(`seed ${seed}: ${error}`, { text, error });
      }
    }
  }
  t.ok(refused > 1000, `most are refused: ${refused}`);
});
