import t from "tap";
import { isScannerOf, readScan, scanProblem } from "../../server/policy/vulnerabilities.ts";

const FINISHED = "2026-03-01T12:00:00.104726629Z";
const FINISHED_MS = Date.parse(FINISHED);
const DAY_MS = 86_400_000;
const TRIVY = "pkg:github/aquasecurity/trivy@0.58.0";

function predicate(result: unknown, rest: object = {}): unknown {
  return {
    invocation: { parameters: null, uri: "", event_id: "", "builder.id": "" },
    scanner: { uri: TRIVY, version: "0.58.0", db: { uri: "", version: "" }, result },
    metadata: { scanStartedOn: FINISHED, scanFinishedOn: FINISHED },
    ...rest,
  };
}

function trivy(...severities: readonly unknown[]): object {
  return {
    SchemaVersion: 2,
    ArtifactName: "alpine:3.12",
    Results: [
      { Target: "app", Class: "secret" },
      { Target: "alpine", Vulnerabilities: severities.map((Severity) => ({ Severity })) },
    ],
  };
}

function grype(...severities: readonly unknown[]): object {
  return {
    matches: severities.map((severity) => ({ vulnerability: { id: "CVE-1", severity } })),
    descriptor: { name: "grype" },
  };
}

/** What a rule that refuses critical and high has to say of a report. */
function problemOf(result: unknown, refuse = ["critical", "high"]): string | undefined {
  const scan = readScan(predicate(result));
  return scan === undefined ? "unread" : scanProblem(scan, { refuse }, FINISHED_MS);
}

t.test("reports of Trivy and Grype are read, in their spelling of severities", (t) => {
  t.match(problemOf(trivy("CRITICAL", "HIGH", "HIGH", "LOW")), /found 1 critical, 2 high$/);
  t.match(problemOf(grype("Critical", "Negligible")), /found 1 critical$/);
  t.equal(problemOf(trivy("MEDIUM", "UNKNOWN")), undefined);
  t.equal(problemOf(grype("Medium", "Unknown", "")), undefined);
  t.equal(problemOf(trivy()), undefined);
  t.equal(problemOf({ SchemaVersion: 2, ArtifactName: "scratch" }), undefined, "nothing found");
  t.equal(problemOf({ SchemaVersion: 2, Results: null }), undefined);
  t.equal(problemOf(grype()), undefined);
  t.match(problemOf(trivy(undefined), ["unknown"]), /found 1 unknown$/);
  t.end();
});

t.test("what cannot be read to its end is not a pass", (t) => {
  for (const result of [
    undefined,
    null,
    {},
    [],
    "clean",
    { SchemaVersion: 1, Results: [] },
    { SchemaVersion: "2" },
    { SchemaVersion: 2, Results: {} },
    { SchemaVersion: 2, Results: [null] },
    { SchemaVersion: 2, Results: [{ Vulnerabilities: "none" }] },
    { SchemaVersion: 2, Results: [{ Vulnerabilities: [null] }] },
    trivy("CATASTROPHIC"),
    trivy(7),
    { matches: null },
    { matches: [{}] },
    { matches: [null] },
    grype({}),
    { vulnerabilities: [] },
  ]) {
    t.match(problemOf(result), /cannot be read/, JSON.stringify(result));
  }
  t.end();
});

t.test("a scan without a time is none", (t) => {
  for (const scanFinishedOn of [
    undefined,
    "",
    "yesterday",
    7,
    "0001-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z",
  ]) {
    t.equal(readScan(predicate(trivy(), { metadata: { scanFinishedOn } })), undefined);
  }
  for (const shape of [undefined, null, 7, [], {}, { metadata: [] }, { scanner: 1, metadata: 2 }]) {
    t.equal(readScan(shape), undefined);
  }
  t.end();
});

t.test("a scan grows old, and cannot come from the future", (t) => {
  const scan = readScan(predicate(trivy()));
  if (scan === undefined) {
    throw new Error("not read");
  }
  const weekly = { maxAgeSeconds: 7 * 86_400, refuse: [] };
  t.equal(scanProblem(scan, weekly, FINISHED_MS + 7 * DAY_MS - 1), undefined);
  t.match(scanProblem(scan, weekly, FINISHED_MS + 7 * DAY_MS), /older than 7 d/);
  t.equal(scanProblem(scan, weekly, FINISHED_MS - 299_000), undefined, "clocks go apart");
  t.match(scanProblem(scan, weekly, FINISHED_MS - 301_000), /future/);
  t.equal(scanProblem(scan, { refuse: [] }, FINISHED_MS + 1000 * DAY_MS), undefined);
  t.end();
});

t.test("a rule may name the scanners that it goes by", (t) => {
  const scan = readScan(predicate(trivy()));
  if (scan === undefined) {
    throw new Error("not read");
  }
  t.ok(isScannerOf(scan, { refuse: [] }));
  t.ok(isScannerOf(scan, { refuse: [], scanner: ["pkg:github/aquasecurity/trivy@*"] }));
  t.notOk(isScannerOf(scan, { refuse: [], scanner: ["pkg:github/anchore/grype@*"] }));
  t.notOk(isScannerOf({ ...scan, scanner: "" }, { refuse: [], scanner: ["pkg:**"] }));
  t.end();
});
