import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { checkHosts } from "../../server/cli/hosts-check.ts";
import type { ProxyAccess } from "../../server/cli/hosts-file.ts";
import { renderHostsFile } from "../../server/cli/hosts-file.ts";
import { parseHostsFile } from "../../server/cli/hosts-toml.ts";
import { writeHosts } from "../../server/cli/hosts-write.ts";

const ADDRESS = "http://sluice.example:5000";
const PROXY: ProxyAccess = { address: ADDRESS, headers: [] };
const GOOD = renderHostsFile(PROXY);

function write(folder: string, registries: readonly string[], options: Partial<ProxyAccess> = {}) {
  return writeHosts({ folder, registries, proxy: { ...PROXY, ...options }, force: false });
}

t.test("what is written leaves no way round", async (t) => {
  const folder = join(t.testdir(), "certs.d");
  const { written, foreign } = write(folder, ["docker.io", "team.example:5000"]);
  t.same(
    written.map((file) => file.slice(folder.length)),
    ["/_default/hosts.toml", "/docker.io/hosts.toml", "/team.example_5000_/hosts.toml"],
  );
  t.same(foreign, []);
  t.same(checkHosts(folder, ADDRESS), []);
  t.same(checkHosts(folder, undefined), []);
  t.equal(checkHosts(folder, "http://other:5000").length, 6, "two entries in three files");
});

t.test("the proxy is host and server alike, with all that it takes to reach it", async (t) => {
  const text = renderHostsFile({
    address: "https://sluice.example",
    ca: "/etc/ca.pem",
    client: { cert: "/etc/c.pem", key: "/etc/k.pem" },
    headers: [["Authorization", 'Basic "x"\\']],
  });
  t.equal(
    text,
    `# Written by "sluice hosts"; written again by it as long as this line is here.
# Every error ends at the proxy: requests never go on to the registry itself.
server = "https://sluice.example"
capabilities = ["pull", "resolve"]
ca = "/etc/ca.pem"
client = [["/etc/c.pem", "/etc/k.pem"]]

[header]
"Authorization" = ["Basic \\"x\\"\\\\"]

[host."https://sluice.example"]
capabilities = ["pull", "resolve"]
ca = "/etc/ca.pem"
client = [["/etc/c.pem", "/etc/k.pem"]]

[host."https://sluice.example".header]
"Authorization" = ["Basic \\"x\\"\\\\"]
`,
  );
  const { hosts, server } = parseHostsFile(text);
  t.match(hosts, [
    { url: "https://sluice.example", files: ["/etc/ca.pem", "/etc/c.pem", "/etc/k.pem"] },
  ]);
  t.match(server, { url: "https://sluice.example", capabilities: ["pull", "resolve"] });
});

t.test("folders that are there get the file, files of others stay as they are", async (t) => {
  const folder = t.testdir({
    "quay.io": { "hosts.toml": 'server = "https://quay.io"\n' },
    "old.example": { "hosts.toml": renderHostsFile({ ...PROXY, address: "http://old:1" }) },
    "certs.example": { "ca.crt": "x" },
    README: "not a folder",
  });
  const quay = join(folder, "quay.io", "hosts.toml");
  const first = write(folder, ["quay.io"]);
  t.same(first.foreign, [quay]);
  t.equal(readFileSync(quay, "utf8"), 'server = "https://quay.io"\n');
  t.equal(readFileSync(join(folder, "old.example", "hosts.toml"), "utf8"), GOOD);
  t.equal(readFileSync(join(folder, "certs.example", "hosts.toml"), "utf8"), GOOD);
  t.same(write(folder, []).written, [], "a second time there is nothing to do");
  writeHosts({ folder, registries: [], proxy: PROXY, force: true });
  t.equal(readFileSync(quay, "utf8"), GOOD);
  t.same(checkHosts(folder, ADDRESS), []);
  t.same(readdirSync(join(folder, "quay.io")), ["hosts.toml"], "no temporary file is left");
});

t.test("a file with a secret in a header is for its owner alone", async (t) => {
  const folder = t.testdir();
  write(folder, []);
  const file = join(folder, "_default", "hosts.toml");
  t.equal(statSync(file).mode & 0o777, 0o644);
  write(folder, [], { headers: [["Authorization", "Basic x"]] });
  t.equal(statSync(file).mode & 0o777, 0o600);
});

/** A folder of good files and one that is this; undefined for a folder without one. */
function withFile(t: Test, text: string | undefined, beside: Record<string, string> = {}): string {
  const folder = t.testdir({ "a.example": beside });
  write(join(folder), ["docker.io"]);
  const file = join(folder, "a.example", "hosts.toml");
  writeFileSync(file, text ?? "");
  return folder;
}

const HOST = `[host."${ADDRESS}"]\n`;
const CLEAN = `server = "${ADDRESS}"\n${HOST}capabilities = ["pull", "resolve"]\n`;

const WAYS_ROUND: readonly (readonly [what: string, text: string, ...findings: RegExp[]])[] = [
  [
    "server alone",
    `server = "${ADDRESS}"\n`,
    /has no \[host\."…"\] table; containerd before 1\.7\.32/,
  ],
  ["host alone", HOST, /has no server; the registry itself is the last entry/],
  ["server after the table", `${HOST}server = "${ADDRESS}"\n`, /has no server/],
  [
    "hosts in an inline table",
    `server = "${ADDRESS}"\nhost = { "${ADDRESS}" = {} }\n`,
    /has no \[host/,
  ],
  [
    "another server",
    `server = "https://quay.io"\n${HOST}`,
    /server is "https:\/\/quay\.io"; not the proxy/,
  ],
  ["a slash at the end", `server = "${ADDRESS}/"\n${HOST}`, /server is .*; not the proxy/],
  [
    "https for http",
    `server = "sluice.example:5000"\n${HOST}`,
    /server is "sluice\.example:5000"; not/,
  ],
  [
    "one more host",
    `${CLEAN}[host."https://m.example"]\n`,
    /has host "https:\/\/m\.example"; not the proxy/,
  ],
  [
    "referrers",
    `${CLEAN.replace('"pull"', '"referrers", "pull"')}`,
    /"referrers"; containerd before 2\.2/,
  ],
  [
    "another capability",
    `${CLEAN.replace('"pull"', '"fly", "pull"')}`,
    /"fly"; containerd takes the file/,
  ],
  ["no resolve", `${CLEAN.replace(', "resolve"', "")}`, /lacks capability "resolve"/],
  ["an empty file", "", /is empty; containerd passes over it/],
  ["only a comment", "# nothing\n", /has no server/, /has no \[host/],
  ["a syntax error", "server = \n", /is broken: line 2: .*containerd passes over it/],
  ["what only TOML 1.1 allows", `${CLEAN}x = { a = 1,\n b = 2 }\n`, /is broken: line 5/],
  ["a key twice", `${CLEAN}${CLEAN}`, /is broken: line 5/],
  ["a server that is no text", `server = 5\n${HOST}`, /is broken: server is not a text/],
  ["a server in a prototype", `[__proto__]\nserver = "${ADDRESS}"\n${HOST}`, /has no server/],
  [
    "capabilities that are a text",
    `${CLEAN.replace(/\[".*\]/, '"pull"')}`,
    /is broken: capabilities/,
  ],
  ["a timeout that is none", `${CLEAN}dial_timeout = "soon"\n`, /is broken: dial_timeout/],
  [
    "a header that is a number",
    `${CLEAN}[host."${ADDRESS}".header]\nX = 5\n`,
    /is broken: a header/,
  ],
  [
    "a ca that is missing",
    `${CLEAN}ca = "no.crt"\n`,
    /names no\.crt, which does not exist here; every pull/,
  ],
  [
    "skip_verify over http",
    `${CLEAN}skip_verify = true\n`,
    /has skip_verify; containerd 2 asks for https first/,
  ],
  ["override_path", `${CLEAN}override_path = true\n`, /has override_path; requests lack \/v2\//],
];

t.test("every way round is found", async (t) => {
  for (const [what, text, ...expected] of WAYS_ROUND) {
    const folder = withFile(t, text);
    const findings = checkHosts(folder, ADDRESS);
    const lines = findings.map(({ what, why, remedy }) => `${what}; ${why}; ${remedy}`);
    t.equal(lines.length, expected.length, `${what}: ${lines.join(" | ")}`);
    for (const [index, pattern] of expected.entries()) {
      t.match(lines[index], pattern, what);
    }
    t.ok(findings.every(({ path }) => path === join(folder, "a.example", "hosts.toml")));
  }
});

t.test("other spellings of a closed file are no findings", async (t) => {
  const closed = [
    CLEAN,
    CLEAN.replace(ADDRESS, `${ADDRESS}/v2`),
    CLEAN.replace("sluice", "SLUICE"),
    `server = "${ADDRESS}"\n${HOST}`,
    `${CLEAN}ca = ["ca.crt"]\nclient = [["ca.crt", "ca.crt"], "ca.crt"]\ndial_timeout = "1m30s"\n`,
    `# a comment\r\nserver = '${ADDRESS}'\r\n[host.'${ADDRESS}']\r\n[host.'${ADDRESS}'.header]\r\nx = "y"\r\n`,
  ];
  for (const text of closed) {
    t.same(checkHosts(withFile(t, text, { "ca.crt": "x" }), ADDRESS), [], text);
  }
});

t.test("folders without a file, and no _default", async (t) => {
  const folder = t.testdir({
    "certs.example": { "ca.crt": "x", "client.cert": "x" },
    "empty.example": {},
    "quay.io": { "hosts.toml": CLEAN },
  });
  symlinkSync("quay.io", join(folder, "linked.example"));
  t.match(checkHosts(folder, undefined), [
    {
      path: join(folder, "_default", "hosts.toml"),
      what: "does not exist",
      why: /without a folder/,
    },
    {
      what: "does not exist beside certificates",
      why: /instead of _default and asks the registry/,
    },
    { path: join(folder, "empty.example", "hosts.toml"), what: "does not exist", remedy: /remove/ },
  ]);
  mkdirSync(join(folder, "_default", "hosts.toml"), { recursive: true });
  t.match(checkHosts(folder, ADDRESS)[0], {
    what: "cannot be read (EISDIR)",
    why: /refuses every pull/,
  });
});
