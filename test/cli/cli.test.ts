import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const MAIN = join(import.meta.dirname, "../../server/main.ts");

function sluice(args: readonly string[], cwd = "."): Promise<Ran> {
  const env = { PATH: process.env["PATH"], TEAM_PASSWORD: "s3cret-value" };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { cwd, env }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

t.test("every command explains itself", async (t) => {
  const commands = await sluice(["--help"]);
  const names = [...commands.stdout.matchAll(/^ {2}([a-z-]+) .*$/gm)].map(([, name = ""]) => name);
  for (const name of ["serve", "check", "explain", "purge", "scrub", "export", "import", "hosts"]) {
    t.ok(names.includes(name), name);
  }
  for (const command of [[], ...names.filter((name) => name !== "help").map((name) => [name])]) {
    const { code, stdout, stderr } = await sluice([...command, "--help"]);
    t.same([code, stderr], [0, ""], `${command} --help`);
    t.match(stdout, /^Usage: sluice /);
  }
  const { code, stdout } = await sluice(["--version"]);
  t.equal(code, 0);
  t.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

t.test("wrong usage ends with 2 and says what is possible", async (t) => {
  const wrong: readonly (readonly [args: string[], stderr: RegExp])[] = [
    [[], /Usage: sluice/],
    [["chekc", "x"], /unknown command 'chekc'\n.*Did you mean check\?/],
    [["check"], /missing required argument 'file'/],
    [["check", "a", "b"], /too many arguments/],
    [["check", "a", "--jsno"], /unknown option '--jsno'\n.*Did you mean --json\?/],
    [["purge"], /say what is to go/],
    [["purge", "team.example/app", "--upstream", "team.example"], /not both/],
    [["purge", "--older-than", "30"], /takes an age such as 30d/],
    [["scrub", "--rate", "1k"], /1MiB to 10GiB/],
    [["export", "team.example/app:v1"], /--output/],
    [["import"], /missing required argument 'file'/],
    [["hosts"], /missing required argument 'dir'/],
    [["hosts", "x"], /--address is needed/],
    [["hosts", "x", "--address", "sluice:5000"], /must be an origin/],
    [["hosts", "x", "--address", "http://sluice/v2"], /must be an origin/],
    [
      ["hosts", "x", "--address", "https://s", "--ca", "ca.crt"],
      /ca\.crt must be an absolute path/,
    ],
    [["hosts", "x", "--address", "https://s", "--client-cert", "/c"], /go together/],
    [["hosts", "x", "--address", "http://s", "--ca", "/c"], /need an https address/],
    [["hosts", "x", "--address", "http://s", "--header", "hunter2"], /a header is "Name: value"/],
    [
      ["hosts", "x", "--address", "http://s", "--header-file", "/none"],
      /cannot be read \(ENOENT\)/,
    ],
    [
      ["hosts", "x", "--address", "http://s", "--upstreams", "A/b"],
      /"A\/b" is not a registry's name/,
    ],
  ];
  for (const [args, expected] of wrong) {
    const { code, stdout, stderr } = await sluice(args, t.testdir());
    t.equal(code, 2, args.join(" "));
    t.equal(stdout, "");
    t.match(stderr, expected);
    t.notMatch(stderr, /hunter2/);
  }
});

t.test("check prints what is in effect", async (t) => {
  const folder = t.testdir({
    "sluice.yaml": `upstreams:
  team.example:
    auth: { username: robot, password: "\${TEAM_PASSWORD}" }
`,
  });
  const { code, stdout, stderr } = await sluice(["check", "sluice.yaml"], folder);
  t.same([code, stderr], [0, ""]);
  t.match(parse(stdout), {
    listen: "127.0.0.1:5000",
    storage: { disk: { path: join(folder, "data"), maxBytes: "50GiB" } },
    upstreams: { "team.example": { auth: { username: "robot", password: "***" } } },
  });
  t.notMatch(stdout, /s3cret/);
  const json = await sluice(["check", "sluice.yaml", "--json"], folder);
  const remarks = { files: [], notes: [] };
  t.same(JSON.parse(json.stdout), { valid: true, config: parse(stdout), ...remarks });
});

t.test("check says what is wrong, a line each, and ends with 1", async (t) => {
  const folder = t.testdir({ "sluice.yaml": "listen: x\nfleet: {}\n" });
  const { code, stdout, stderr } = await sluice(["check", "sluice.yaml"], folder);
  t.same([code, stdout], [1, ""]);
  t.match(
    stderr,
    /^sluice\.yaml:1:9: found "x", expected an address.*\nsluice\.yaml:2:1: fleet.*\n$/,
  );
  const json = await sluice(["check", "--json", "sluice.yaml"], folder);
  t.equal(json.code, 1);
  t.match(JSON.parse(json.stdout), {
    valid: false,
    problems: [
      { file: "sluice.yaml", line: 1, column: 9, message: /found "x"/ },
      { line: 2, column: 1 },
    ],
  });
  const missing = await sluice(["check", "nowhere.yaml"], folder);
  t.same([missing.code, missing.stderr], [1, "nowhere.yaml: cannot be read: ENOENT\n"]);
});

t.test("hosts writes, checks, and tells by its exit code what it found", async (t) => {
  const folder = t.testdir({ "quay.io": { "hosts.toml": 'server = "https://quay.io"\n' } });
  const write = ["hosts", folder, "--address", "http://sluice.example:5000"];
  const first = await sluice([...write, "--upstreams", "quay.io"]);
  t.equal(first.code, 1, "a file that is not ours was left alone");
  t.match(first.stderr, /quay\.io\/hosts\.toml: not ours, left alone/);
  const found = await sluice(["hosts", folder, "--check", "--json"]);
  t.equal(found.code, 1);
  t.ok(JSON.parse(found.stdout).findings.length >= 2);
  t.equal(
    (await sluice([...write, "--force", "--header", "X-A: 1", "--header", "X-B: 2"])).code,
    0,
  );
  writeFileSync(join(folder, "..", "headers"), "Authorization: Basic czNjcmV0\n");
  t.equal(
    (await sluice([...write, "--force", "--header-file", join(folder, "..", "headers")])).code,
    0,
  );
  t.match(readFileSync(join(folder, "quay.io", "hosts.toml"), "utf8"), /Basic czNjcmV0/);
  const clean = await sluice(["hosts", folder, "--check"]);
  t.same([clean.code, clean.stdout], [0, ""]);
  const nowhere = await sluice(["hosts", join(folder, "nowhere"), "--check"]);
  t.equal(nowhere.code, 1);
  t.match(nowhere.stderr, /^sluice: ENOENT/);
});
