import { execFile } from "node:child_process";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { genSaltSync, getRounds, hashSync } from "bcrypt";
import type { Test } from "tap";
import t from "tap";
import { checkHtpasswd, parseHtpasswd } from "../../server/clients/htpasswd.ts";
import { compareBcrypt, Passwords } from "../../server/clients/passwords.ts";
import { ACCESS_LIMITS } from "../../server/limits.ts";
import { toolOptions } from "../support/tools.ts";

const run = promisify(execFile);

/** As `htpasswd -B` does, at the lowest cost. */
function hashOf(password: string, version: "2a" | "2b" | "2y" = "2y"): string {
  const hash = hashSync(password, genSaltSync(4, version === "2a" ? "a" : "b"));
  return version === "2y" ? hash.replace("$2b$", "$2y$") : hash;
}

const ALICE = `alice:${hashOf("secret")}`;

interface Rig {
  readonly passwords: Passwords;
  readonly path: string;
  readonly faults: unknown[];
  /** What was compared, in order. */
  readonly compared: { readonly password: string; readonly hash: string }[];
  pass(ms: number): void;
  isIn(user: string, password: string): Promise<boolean>;
}

async function openPasswords(
  t: Test,
  text: string,
  compare: (password: string, hash: string) => Promise<boolean> = compareBcrypt,
): Promise<Rig> {
  const path = join(t.testdir({ "users.htpasswd": text }), "users.htpasswd");
  const faults: unknown[] = [];
  const compared: Rig["compared"] = [];
  let nowMs = Date.now();
  const passwords = await Passwords.create({
    path,
    now: () => nowMs,
    onFault: (error) => faults.push(error),
    compare: (password, hash) => {
      compared.push({ password, hash });
      return compare(password, hash);
    },
  });
  return {
    passwords,
    path,
    faults,
    compared,
    pass: (ms) => {
      nowMs += ms;
    },
    isIn: (user, password) =>
      passwords.identify(user, password).then(
        () => true,
        (error: unknown) => {
          t.match(error, { name: "LogInProblem", message: /user name or the password/ });
          return false;
        },
      ),
  };
}

t.test("users log in with the passwords that their lines were made of", async (t) => {
  const text = [
    "# comment",
    "",
    ALICE,
    `bob:${hashOf("p:w ü", "2b")}\r`,
    `carol:${hashOf("old", "2a")}`,
    `jürgen:${hashOf("x")}`,
  ];
  const { isIn, passwords } = await openPasswords(t, `\ufeff${text.join("\n")}\n`);
  t.same(await passwords.identify("alice", "secret"), {
    name: "alice",
    names: ["alice"],
    groups: [],
    method: "password",
  });
  t.ok(await isIn("bob", "p:w ü"));
  t.ok(await isIn("carol", "old"));
  t.ok(await isIn("jürgen", "x"));
  for (const [user, password] of [
    ["alice", "Secret"],
    ["alice", "secret "],
    ["alice", ""],
    ["alice", "secret\0"],
    ["alice", "secret\0secret"],
    ["alice\0", "secret"],
    ["Alice", "secret"],
    ["alice ", "secret"],
    ["", "secret"],
    ["bob", "secret"],
    ["# comment", ""],
    ["__proto__", "secret"],
    ["constructor", "secret"],
    ["alice", hashOf("secret")],
  ] as const) {
    t.notOk(await isIn(user, password), JSON.stringify([user, password]));
  }
});

t.test("a line that is not what htpasswd -B writes is named, and never quoted", async (t) => {
  const hash = hashOf("secret");
  const cases: readonly [line: string, problem: RegExp][] = [
    ["alice", /no colon/],
    ["alice secret", /no colon/],
    [`:${hash}`, /no user/],
    [` alice:${hash}`, /begins or ends with a space/],
    [`al\tice:${hash}`, /control character/],
    [`${"a".repeat(600)}:${hash}`, /longer than 512/],
    ["alice:", /no bcrypt hash/],
    ["alice:secret", /no bcrypt hash/],
    ["alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", /no bcrypt hash/],
    ["alice:$apr1$salt1234$CDfIDr5jUmSKQKmkZkVvj/", /no bcrypt hash/],
    ["alice:$5$rounds=1000$salt$abcdefghijklmnopqrstuvwxyz", /no bcrypt hash/],
    ["alice:rqXexS6ZhobKA", /no bcrypt hash/],
    [`alice:${hash.replace("2y", "2x")}`, /no bcrypt hash/],
    [`alice:${hash.replace("2y", "2")}`, /no bcrypt hash/],
    [`alice:${hash.slice(0, -1)}`, /no bcrypt hash/],
    [`alice:${hash}.`, /no bcrypt hash/],
    [`alice:${hash}:extra`, /no bcrypt hash/],
    [`alice:${hash.slice(0, 28)}/${hash.slice(29)}`, /no bcrypt hash/],
    [`alice:${hash.replace("$04$", "$15$")}`, /cost is 15; expected 4 to 14/],
    [`alice:${hash.replace("$04$", "$31$")}`, /cost is 31/],
    [`alice:${hash.replace("$04$", "$03$")}`, /cost is 3/],
    [`bob:${hash}`, /in the file already/],
  ];
  for (const [line, problem] of cases) {
    const text = `bob:${hash}\n${line}\n`;
    const found = checkHtpasswd(text);
    t.equal(found.length, 1, line);
    t.match(found[0], { line: 2, problem });
    const error = t.throws(() => parseHtpasswd(text), { message: /^line 2: / });
    t.notMatch(JSON.stringify([found, String(error)]), /alice|secret|\$04\$/);
  }
  const many = Array.from({ length: ACCESS_LIMITS.usersMax + 1 }, (_, n) => `u${n}:${hash}`);
  t.match(checkHtpasswd(many.join("\n")), [{ line: 10_001, problem: /more than 10000 users/ }]);
  t.equal(checkHtpasswd("x\n".repeat(1000)).length, 20, "not a problem for each line");
  t.same(checkHtpasswd(""), []);
});

t.test("a file that cannot be used is known at the start, by its name", async (t) => {
  const folder = t.testdir({
    bad: "alice:secret\n",
    large: "#".repeat(ACCESS_LIMITS.passwordFileBytesMax + 1),
    latin: Buffer.from("j\xfcrgen:x\n", "latin1"),
    folder: {},
  });
  for (const [name, problem] of [
    ["bad", /line 1: what follows its user is no bcrypt hash/],
    ["large", /larger than 1048576 bytes/],
    ["latin", /not UTF-8/],
    ["folder", /not a file/],
    ["nowhere", /cannot be read \(ENOENT\)/],
  ] as const) {
    const path = join(folder, name);
    const error = await Passwords.create({ path, now: Date.now, onFault: () => undefined }).catch(
      (reason: unknown) => reason,
    );
    t.match(error, { name: "ClientsError", message: problem });
    t.match(error, { message: `clients.htpasswdFile ${path}` });
  }
});

t.test("an unknown user costs what a known one does", async (t) => {
  const text = [ALICE, `bob:${hashOf("b")}`, `carol:${hashSync("c", 5)}`].join("\n");
  const { isIn, compared } = await openPasswords(t, text);
  t.notOk(await isIn("alice", "wrong"));
  t.notOk(await isIn("mallory", "wrong"));
  t.equal(compared.length, 2);
  t.equal(compared[1]?.hash.slice(0, 7), "$2b$04$", "the cost that most have");
  const { decoy } = parseHtpasswd("");
  t.not(parseHtpasswd("").decoy, decoy, "and nobody knows it");
  t.equal(getRounds(decoy), 10, "bcrypt takes the trouble of comparing with it");
});

t.test("nobody gets in by a password that fits the decoy", async (t) => {
  const { isIn } = await openPasswords(t, ALICE, () => Promise.resolve(true));
  t.notOk(await isIn("mallory", "anything"));
});

t.test("a crowd with one password is one comparison, and so is the minute after it", async (t) => {
  const { isIn, compared, pass } = await openPasswords(t, ALICE);
  const crowd = Array.from({ length: 200 }, () => isIn("alice", "secret"));
  t.ok((await Promise.all(crowd)).every(Boolean));
  t.equal(compared.length, 1);
  pass(50_000);
  t.ok(await isIn("alice", "secret"));
  pass(50_000);
  t.ok(await isIn("alice", "secret"));
  t.equal(compared.length, 1, "a minute after it was last used");
  pass(61_000);
  t.ok(await isIn("alice", "secret"));
  t.equal(compared.length, 2);
});

t.test("a wrong password is known for some seconds, and pushes out no right one", async (t) => {
  const { isIn, compared, pass } = await openPasswords(t, ALICE);
  t.notOk(await isIn("alice", "wrong"));
  t.notOk(await isIn("alice", "wrong"));
  t.equal(compared.length, 1);
  pass(5001);
  t.notOk(await isIn("alice", "wrong"));
  t.equal(compared.length, 2);
});

t.test("a changed file counts at once: a new user, a new password, a user who left", async (t) => {
  const { isIn, pass, path, faults } = await openPasswords(t, `${ALICE}\nbob:${hashOf("b")}\n`);
  t.ok(await isIn("alice", "secret"));
  t.ok(await isIn("bob", "b"));
  t.notOk(await isIn("carol", "c"));
  await writeFile(path, `alice:${hashOf("new")}\ncarol:${hashOf("c")}\n`);
  pass(1000);
  t.notOk(await isIn("alice", "secret"));
  t.ok(await isIn("alice", "new"));
  t.notOk(await isIn("bob", "b"));
  t.ok(await isIn("carol", "c"));
  t.same(faults, []);
});

t.test("a file that breaks keeps its users, and is told of once", async (t) => {
  const { isIn, pass, path, faults } = await openPasswords(t, ALICE);
  const look = async (): Promise<boolean> => {
    pass(1000);
    return await isIn("alice", "secret");
  };
  await writeFile(path, `${ALICE}\nbob:plain-text\n`);
  t.ok(await look());
  t.ok(await look());
  t.equal(faults.length, 1);
  t.match(faults[0], { message: /users\.htpasswd: line 2: .*what it held before stays in force/ });
  t.notMatch(String(faults[0]), /plain-text|bob/);
  await rm(path);
  t.ok(await look());
  t.ok(await look());
  t.equal(faults.length, 2);
  t.match(faults[1], { message: /ENOENT/ });
  await writeFile(`${path}.new`, `bob:${hashOf("b")}\n`);
  await rename(`${path}.new`, path);
  t.notOk(await look());
  t.ok(await isIn("bob", "b"));
  await rm(path);
  pass(1000);
  t.ok(await isIn("bob", "b"));
  t.equal(faults.length, 3, "what was mended is told of again");
});

t.test("few are compared at once, few wait, and the rest are told to come again", async (t) => {
  let running = 0;
  let most = 0;
  const ends: (() => void)[] = [];
  const { passwords, compared } = await openPasswords(t, ALICE, async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise<void>((resolve) => {
      ends.push(resolve);
    });
    running -= 1;
    return false;
  });
  const { passwordChecksMax, checkQueueMax } = ACCESS_LIMITS;
  const total = passwordChecksMax + checkQueueMax + 10;
  const outcomes = Array.from({ length: total }, (_, n) =>
    passwords.identify("alice", `guess ${n}`).catch((error: unknown) => error),
  );
  const refused = outcomes.slice(-10);
  t.match(
    await Promise.all(refused),
    refused.map(() => ({ code: "overloaded" })),
  );
  while (compared.length < passwordChecksMax + checkQueueMax || running > 0) {
    ends.splice(0).forEach((end) => {
      end();
    });
    await new Promise(setImmediate);
  }
  const rest = await Promise.all(outcomes.slice(0, -10));
  t.ok(rest.every((error) => error instanceof Error && error.name === "LogInProblem"));
  t.equal(most, passwordChecksMax);
});

t.test("what the htpasswd command writes is taken", toolOptions("htpasswd"), async (t) => {
  const folder = t.testdir({});
  const path = join(folder, "users");
  await run("htpasswd", ["-cbB", path, "alice", "from the command"]);
  await run("htpasswd", ["-bB", "-C", "6", path, "bob", "é"]);
  const passwords = await Passwords.create({ path, now: Date.now, onFault: () => undefined });
  t.match(await passwords.identify("alice", "from the command"), { name: "alice" });
  t.match(await passwords.identify("bob", "é"), { name: "bob" });
});

t.test("a password is compared as far as bcrypt goes: 72 bytes", async (t) => {
  const long = "ü".repeat(36);
  const { isIn } = await openPasswords(t, `alice:${hashOf(`${long}and more`)}`);
  t.ok(await isIn("alice", long));
  t.ok(await isIn("alice", `${long}something else`));
  t.notOk(await isIn("alice", long.slice(1)));
});
