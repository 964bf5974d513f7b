import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { Audit } from "../server/audit.ts";
import type { Decision } from "../server/decision.ts";
import { LineFile } from "../server/line-file.ts";

const DECISION: Decision = {
  verdict: "deny",
  rule: "team",
  mode: "warn",
  reason: "untrusted",
  message: "no signature counts",
  digest: `sha256:${"a".repeat(64)}`,
  signers: [],
  checks: [],
  evidence: undefined,
  exception: undefined,
  policyRevision: "p1",
  trustRevision: "t1",
  decidedAtMs: 0,
};
const ENTRY = {
  id: "1-2",
  client: "192.0.2.7",
  upstream: "team.example",
  repository: "prod/app",
  reference: "v1",
};

function lines(file: string): unknown[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

t.test("a decision is one line with every field", async (t) => {
  const written: object[] = [];
  const audit = new Audit(
    { write: (line) => written.push(JSON.parse(line)) },
    () => 1_785_000_000_123,
  );
  audit.record({ ...ENTRY, decision: DECISION });
  const signers = ["keyless a@acme.example (https://accounts.google.com)", "key cosign.pub"];
  const signed = { verdict: "allow", mode: "enforce", reason: "signed", signers } as const;
  const evidence = `sha256:${"e".repeat(64)}`;
  audit.record({
    ...ENTRY,
    client: undefined,
    decision: { ...DECISION, ...signed, evidence, exception: "OPS-12" },
  });
  audit.record({ ...ENTRY, decision: { ...DECISION, ...signed } });
  const first = {
    time: "2026-07-25T17:20:00.123Z",
    ...ENTRY,
    user: null,
    digest: DECISION.digest,
    rule: "team",
    mode: "warn",
    verdict: "deny",
    served: true,
    reason: "untrusted",
    message: "no signature counts",
    signer: null,
    signers: [],
    exception: null,
    evidence: null,
    policyRevision: "p1",
    trustRevision: "t1",
  };
  t.strictSame(JSON.parse(JSON.stringify(written)), [
    first,
    {
      ...first,
      client: null,
      ...signed,
      signer: signers[0],
      evidence,
      exception: "OPS-12",
    },
    { ...first, ...signed, message: null, signer: signers[0] },
  ]);
});

t.test("what a client sends makes no line longer than it should be", async (t) => {
  const written: string[] = [];
  const audit = new Audit({ write: (line) => written.push(line) });
  const long = "\u0000".repeat(1_000_000);
  const signers = Array.from({ length: 1000 }, () => long);
  const fields = { id: long, client: long, repository: long, reference: long };
  audit.record({ ...ENTRY, ...fields, decision: { ...DECISION, message: long, signers } });
  t.equal(written.length, 1);
  t.ok((written[0]?.length ?? 0) < 300_000);
  t.match(JSON.parse(written[0] ?? ""), { reference: /^\0{1024}…$/ });
});

t.test("a file that is full is put aside, and so many are kept", async (t) => {
  const folder = t.testdir({ "a.jsonl.7": "of a time when more were kept\n", "a.jsonl.2026x": "" });
  const file = join(folder, "a.jsonl");
  for (let batch = 1; batch <= 6; batch += 1) {
    const log = new LineFile({ file }, { rotation: { maxBytes: 25, keep: 3 } });
    log.info({ batch, of: 1 });
    log.info({ batch, of: 2 });
    await log.close();
    t.equal(log.lost, 0);
  }
  t.same(readdirSync(folder).sort(), [
    "a.jsonl",
    "a.jsonl.1",
    "a.jsonl.2",
    "a.jsonl.2026x",
    "a.jsonl.3",
  ]);
  t.match(
    ["", ".1", ".2", ".3"].map((suffix) => lines(file + suffix)),
    [6, 5, 4, 3].map((batch) => [
      { batch, of: 1 },
      { batch, of: 2 },
    ]),
  );
});

t.test("a file that cannot be put aside is written on", async (t) => {
  const folder = t.testdir({ "a.jsonl.1": { "in the way": "" } });
  const file = join(folder, "a.jsonl");
  for (let batch = 1; batch <= 3; batch += 1) {
    const log = new LineFile({ file }, { rotation: { maxBytes: 10, keep: 1 } });
    log.info({ batch });
    await log.close();
  }
  t.same(lines(file), [{ batch: 1 }, { batch: 2 }, { batch: 3 }]);
});

t.test("a file that was moved away is begun anew", async (t) => {
  const folder = t.testdir();
  const file = join(folder, "logs", "a.jsonl");
  const log = new LineFile({ file });
  log.info({ line: 1 });
  log.reopen();
  while (!existsSync(file) || lines(file).length < 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  renameSync(file, `${file}-20270131`);
  log.reopen();
  while (!existsSync(file)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same(lines(`${file}-20270131`), [{ line: 1 }]);
  rmSync(join(folder, "logs"), { recursive: true });
  log.info({ line: 2 });
  await log.close();
  t.same(lines(file), [{ line: 2 }], "also when its folder is gone, and nobody says so");
});

t.test("lines that cannot be written are counted, and later ones are written", async (t) => {
  const folder = t.testdir();
  const file = join(folder, "a.jsonl");
  mkdirSync(file);
  const told: number[] = [];
  const log = new LineFile({ file }, { onLost: (lines) => told.push(lines) });
  log.info({ line: 1 });
  log.info({ line: 2 });
  log.reopen();
  while (log.lost === 0) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same([log.lost, told], [2, [2]]);
  rmSync(file, { recursive: true });
  log.info({ line: 3 });
  await log.close();
  t.same(lines(file), [{ line: 3 }]);
});

t.test("a line that a crash cut short does not spoil the next", async (t) => {
  const file = join(t.testdir(), "a.jsonl");
  writeFileSync(file, '{"line":1}\n{"li');
  const log = new LineFile({ file });
  log.info({ line: 2 });
  await log.close();
  t.equal(readFileSync(file, "utf8"), '{"line":1}\n{"li\n{"line":2}\n');
});

t.test("a pipe is written to, and is nothing to put aside", async (t) => {
  const program = `import { LineFile } from "./server/line-file.ts";
    const log = new LineFile({ file: "/dev/stdout" }, { rotation: { maxBytes: 10, keep: 1 } });
    for (let line = 1; line <= 3; line += 1) { log.info({ line }); log.reopen(); }
    await log.close();
    process.stderr.write(String(log.lost));`;
  const shell = ["-c", '"$0" --input-type=module --eval "$1" | cat', process.execPath, program];
  const { stdout, stderr } = await promisify(execFile)("sh", shell);
  t.same([stdout, stderr], ['{"line":1}\n{"line":2}\n{"line":3}\n', "0"]);
});

t.test(
  "a full disk loses lines and ends nothing",
  { skip: !existsSync("/dev/full") && "there is no /dev/full here" },
  async (t) => {
    const log = new LineFile({ file: "/dev/full" }, { rotation: { maxBytes: 10, keep: 1 } });
    log.info({ line: 1 });
    log.info({ line: 2 });
    await log.close();
    t.equal(log.lost, 2);
  },
);
