import { join } from "node:path";
import { hashSync } from "bcrypt";
import type { Test } from "tap";
import t from "tap";
import { isEmptyLogIn, parseAuthorization } from "../../server/clients/authorization.ts";
import { Clients } from "../../server/clients/clients.ts";
import type { Identity, Presented } from "../../server/clients/identity.ts";
import { AccessRules } from "../../server/clients/rules.ts";
import { basicHeaderOf } from "../../server/credentials/credential.ts";
import type { ClientSettings } from "../../server/settings.ts";
import { certificateOf, keyPairOf } from "../support/notation-certificates.ts";
import { GOOD, MAIN, START, STRANGER, sign, tokenSettings } from "./token-rig.ts";

const CHALLENGE = 'Basic realm="Sluice", charset="UTF-8"';
const KEYS = keyPairOf("p256");
const NODE = { isTrusted: true, raw: certificate("CN=node-1, O=nodes") };
const STRANGE_NODE = { ...NODE, isTrusted: false };
const NAMELESS = { isTrusted: true, raw: certificate("O=nodes") };
const TOKEN = await sign(GOOD);
const ALICE = basicHeaderOf("alice", "secret");
const WRONG = basicHeaderOf("alice", "wrong");
const ALL = ["passwords", "tokens", "certificates"] as const;

type Way = (typeof ALL)[number] | "anonymous";

function certificate(subjectDN: string): Buffer {
  return certificateOf(KEYS.publicKey, { subjectDN: "CN=authority", keys: KEYS }, { subjectDN });
}

async function openClients(
  t: Test,
  ways: readonly Way[],
  rules?: ClientSettings["rules"],
): Promise<Clients> {
  const folder = t.testdir({
    users: `alice:${hashSync("secret", 4).replace("$2b$", "$2y$")}\n`,
    "jwks.json": JSON.stringify({ keys: [MAIN.jwk] }),
  });
  const settings: ClientSettings = {
    ...(ways.includes("passwords") ? { htpasswdFile: join(folder, "users") } : {}),
    tokens: ways.includes("tokens") ? [tokenSettings(join(folder, "jwks.json"))] : [],
    ...(ways.includes("certificates") ? { certificates: { name: "subject" as const } } : {}),
    anonymous: ways.includes("anonymous"),
    ...(rules === undefined ? {} : { rules }),
  };
  const now = (): number => START * 1000;
  const clients = await Clients.create({
    settings,
    now,
    onFault: (error) => t.fail(String(error)),
  });
  t.teardown(() => clients[Symbol.asyncDispose]());
  return clients;
}

type Shown = Partial<Presented>;

function present(clients: Clients, shown: Shown): ReturnType<Clients["identify"]> {
  return clients.identify({
    authorization: undefined,
    certificate: undefined,
    mayBeForUpstream: false,
    ...shown,
  });
}

function identity(name: string, method: Identity["method"], groups: string[] = []): Identity {
  return { name, names: method === "anonymous" ? [] : [name], groups, method };
}

t.test("clients are known by what they show", async (t) => {
  const cases: readonly [ways: readonly Way[], shown: Shown, name: string, isOurs: boolean][] = [
    [ALL, { authorization: ALICE }, "alice password", true],
    [ALL, { authorization: ALICE.replace("Basic ", "bAsIc   ") }, "alice password", true],
    [ALL, { authorization: `Bearer ${TOKEN}` }, "alice token", true],
    [ALL, { authorization: basicHeaderOf("anybody", TOKEN) }, "alice token", true],
    [ALL, { authorization: basicHeaderOf("", TOKEN) }, "alice token", true],
    [ALL, { certificate: NODE }, "node-1 certificate", false],
    [ALL, { certificate: NODE, authorization: ALICE }, "alice password", true],
    [ALL, { certificate: NODE, authorization: "" }, "node-1 certificate", false],
    [ALL, { certificate: NODE, authorization: "Basic Og==" }, "node-1 certificate", false],
    [ALL, { certificate: STRANGE_NODE, authorization: ALICE }, "alice password", true],
    [ALL, { certificate: NAMELESS, authorization: ALICE }, "alice password", true],
    [["anonymous"], {}, "anonymous anonymous", false],
    [["anonymous"], { authorization: WRONG }, "anonymous anonymous", false],
    [["anonymous"], { certificate: NODE }, "anonymous anonymous", false],
    [["anonymous", "passwords"], { authorization: "Basic Og==" }, "anonymous anonymous", false],
    [["anonymous", "passwords"], { authorization: ALICE }, "alice password", true],
    [["anonymous", "certificates"], { certificate: NODE }, "node-1 certificate", false],
    [["anonymous", "certificates"], { certificate: STRANGE_NODE }, "anonymous anonymous", false],
    [["certificates"], { certificate: NODE, authorization: WRONG }, "node-1 certificate", false],
  ];
  for (const [ways, shown, name, isOurs] of cases) {
    const clients = await openClients(t, ways);
    const identified = await present(clients, shown);
    t.equal(`${identified.identity.name} ${identified.identity.method}`, name);
    t.equal(identified.isOurs, isOurs, JSON.stringify([ways, name]));
  }
});

t.test("whoever shows nothing of use is told what is wrong, and what to do", async (t) => {
  const forged = await sign(GOOD, STRANGER);
  const cases: readonly [ways: readonly Way[], shown: Shown, reason: RegExp][] = [
    [ALL, {}, /carries no log-in: use docker login, an imagePullSecret/],
    [ALL, { authorization: "Basic Og==" }, /carries no log-in/],
    [ALL, { certificate: STRANGE_NODE }, /certificate is from no configured authority/],
    [ALL, { certificate: NAMELESS }, /no CN in its subject: see clients.certificates/],
    [ALL, { authorization: WRONG }, /user name or the password is wrong: use docker login/],
    [ALL, { authorization: basicHeaderOf("bob", "wrong") }, /user name or the password is wrong/],
    [ALL, { authorization: basicHeaderOf("alice", "") }, /user name or the password is wrong/],
    [ALL, { authorization: basicHeaderOf("", "secret") }, /user name or the password is wrong/],
    [ALL, { authorization: WRONG, certificate: NODE }, /user name or the password is wrong/],
    [ALL, { authorization: `Bearer ${forged}` }, /signature of the token is wrong/],
    [ALL, { authorization: basicHeaderOf("alice", forged) }, /signature of the token is wrong/],
    [ALL, { authorization: "Bearer secret" }, /not a JWT/],
    [ALL, { authorization: "Bearer" }, /neither Basic nor Bearer, or malformed/],
    [ALL, { authorization: "Negotiate abc" }, /neither Basic nor Bearer/],
    [ALL, { authorization: "Basic ===" }, /neither Basic nor Bearer/],
    [["anonymous", "passwords"], { authorization: WRONG }, /user name or the password/],
    [["anonymous", "passwords"], { authorization: `Bearer ${TOKEN}` }, /Bearer token is not taken/],
    [["passwords"], { authorization: basicHeaderOf("alice", TOKEN) }, /user name or the password/],
    [["tokens"], { authorization: ALICE }, /password is no token \(JWT\), and only tokens/],
    [["certificates"], {}, /client certificate is needed here: give the node one/],
    [["certificates"], { authorization: ALICE }, /client certificate is needed here/],
    [["certificates"], { certificate: STRANGE_NODE }, /from no configured authority, or not valid/],
  ];
  for (const [ways, shown, message] of cases) {
    const clients = await openClients(t, ways);
    const challenges = ways.includes("passwords") || ways.includes("tokens") ? [CHALLENGE] : [];
    t.same(clients.challenges, challenges);
    const error: unknown = await present(clients, shown).catch((refusal: unknown) => refusal);
    const code = challenges.length > 0 ? "client-unknown" : "client-denied";
    t.match(error, { code, message });
    t.same(error instanceof Object && "challenges" in error && error.challenges, challenges);
    t.notMatch(String(error), /alice|bob|secret\b(?! words)|eyJ/);
  }
});

t.test("a header that is no log-in of our users may be for the upstream", async (t) => {
  const forUpstream = (shown: Shown): Shown => ({ ...shown, mayBeForUpstream: true });
  const clients = await openClients(t, [...ALL, "anonymous"]);
  await t.rejects(present(clients, forUpstream({ authorization: WRONG, certificate: NODE })), {
    code: "client-unknown",
    message: /password is wrong/,
  });
  for (const authorization of ["Bearer ghp_token", basicHeaderOf("AWS", "x"), "Digest a"]) {
    const node = await present(clients, forUpstream({ authorization, certificate: NODE }));
    t.match(node, { identity: { name: "node-1" }, isOurs: false });
    const nobody = await present(clients, forUpstream({ authorization }));
    t.same(nobody, { identity: identity("anonymous", "anonymous"), isOurs: false });
    await t.rejects(present(clients, { authorization, certificate: NODE }), {
      code: "client-unknown",
    });
  }
  t.match(await present(clients, forUpstream({ authorization: ALICE })), {
    identity: { name: "alice" },
    isOurs: true,
  });
  const strict = await openClients(t, ALL);
  const shown = forUpstream({ authorization: WRONG, certificate: STRANGE_NODE });
  await t.rejects(present(strict, shown), { code: "client-unknown", message: /password is wrong/ });
});

t.test("a header is read in one way, or not at all", (t) => {
  const encode = (text: string | Buffer): string => Buffer.from(text).toString("base64");
  t.same(parseAuthorization(`Basic ${encode("alice:a:b")}`), {
    scheme: "basic",
    username: "alice",
    password: "a:b",
  });
  t.same(parseAuthorization(`BASIC ${encode("jürgen:ü")}`), {
    scheme: "basic",
    username: "jürgen",
    password: "ü",
  });
  const malformed = [
    "Basic",
    "Basic ",
    `Basic ${encode("alice")}`,
    `Basic ${encode("alice:x1").replaceAll("=", "")}`,
    `Basic ${encode("alice:x1")} `,
    `Basic ${encode("alice:x1")},Basic ${encode("bob:x1")}`,
    `Basic  ${encode("alice:x1").slice(1)}`,
    "Basic YTpiYR==",
    "Basic YTpi\tYQ==",
    "Basic YTpi_Q==",
    "Basic %%%%",
    `Basic ${encode(Buffer.from([0x61, 0x3a, 0xff]))}`,
    `Basic\u00a0${encode("a:b")}`,
    "Bearer a b",
    "Bearer =",
    "Bearer a\u00e4",
    `Bearer: ${TOKEN}`,
    "Token abc",
  ];
  for (const header of malformed) {
    t.equal(parseAuthorization(header), undefined, JSON.stringify(header));
    t.notOk(isEmptyLogIn(header), "which is not nothing");
  }
  t.end();
});

t.test("the first rule that fits lets pull, and nothing else does", (t) => {
  const rules = new AccessRules([
    { who: ["user:alice", "group:team-*"], pull: ["team.example/a/**"] },
    { who: ["user:spiffe://team.example/**"], pull: ["team.example/*"] },
    { who: ["anonymous"], pull: ["docker.io/library/alpine"] },
    { who: ["user:CN=node-1,O=nodes"], pull: ["**"] },
    { who: ["*"], pull: ["docker.io/library/b*"] },
  ]);
  const nobody = identity("anonymous", "anonymous");
  const cases: readonly [who: Identity, name: string, may: boolean][] = [
    [identity("alice", "password"), "team.example/a/b/c", true],
    [identity("alice", "password"), "team.example/a", false],
    [identity("alice", "password"), "team.example/b", false],
    [identity("alice", "password"), "evil-team.example/a/b", false],
    [identity("alice2", "password"), "team.example/a/b", false],
    [identity("bob", "token", ["team-a"]), "team.example/a/b", true],
    [identity("bob", "token", ["team-a/b"]), "team.example/a/b", false],
    [identity("team-a", "token"), "team.example/a/b", false],
    [identity("bob", "token", ["alice"]), "team.example/a/b", false],
    [identity("spiffe://team.example/ns/a", "certificate"), "team.example/x", true],
    [identity("spiffe://team.example.evil/ns/a", "certificate"), "team.example/x", false],
    [nobody, "docker.io/library/alpine", true],
    [nobody, "docker.io/library/busybox", true],
    [nobody, "team.example/a/b", false],
    [identity("anonymous", "password"), "docker.io/library/alpine", false],
    [{ ...identity("node-1", "certificate"), names: ["node-1", "CN=node-1,O=nodes"] }, "x/y", true],
    [identity("node-1", "certificate"), "x/y", false],
  ];
  for (const [who, name, may] of cases) {
    t.equal(rules.allow(who, name), may, `${who.name} and ${name}`);
  }
  t.ok(new AccessRules(undefined).allow(nobody, "any/thing"), "without rules all may");
  t.notOk(new AccessRules([]).allow(nobody, "any/thing"), "of no rules none fits");
  for (const who of ["alice", "user:", "group", "users:alice", "", "Anonymous"]) {
    t.throws(() => new AccessRules([{ who: [who], pull: ["**"] }]), { name: "ClientsError" });
  }
  t.end();
});

t.test("a pull that no rule allows is denied in words that fit a pod's events", async (t) => {
  const rules = [{ who: ["user:alice"], pull: ["team.example/a/**"] }];
  const clients = await openClients(t, [...ALL, "anonymous"], rules);
  const alice = identity("alice", "password");
  t.doesNotThrow(() => clients.requirePull(alice, "team.example/a/b"));
  t.throws(() => clients.requirePull(alice, "team.example/b"), {
    code: "client-denied",
    message:
      /^'alice' \(password\) may not pull team.example\/b: no rule of clients.rules allows it/,
  });
  const odd = identity(`mallory\r\nx: ${"y".repeat(500)}`, "token");
  t.throws(() => clients.requirePull(odd, "team.example/b"), {
    message: /^'mallory\?\?x: y{1,100}' \(token\) may not pull team.example\/b: no rule/,
  });
  const nobody = identity("anonymous", "anonymous");
  t.throws(() => clients.requirePull(nobody, "team.example/a/b"), {
    code: "client-unknown",
    message: /^team.example\/a\/b is not pulled without a log-in: use docker login/,
    challenges: [CHALLENGE],
  });
  const open = await openClients(t, ["anonymous"], rules);
  t.throws(() => open.requirePull(nobody, "team.example/a/b"), {
    code: "client-denied",
    message: /^a client without a log-in may not pull team.example\/a\/b: no rule/,
  });
});
