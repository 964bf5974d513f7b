import t from "tap";
import type { SignatureContent } from "../../server/policy/authority.ts";
import type { Fake } from "../support/judge-rig.ts";
import {
  attestation,
  attested,
  DAY_MS,
  evidenceOf,
  judge,
  key,
  NOW_MS,
  ruleOf,
  SLSA,
  scan,
  signedBy,
  VULN,
} from "../support/judge-rig.ts";

t.test("an attestation must be of the very type, by whom the rule names", (t) => {
  const rule = { ...signedBy("any", "a"), attestations: attested({}).attestations };
  const cases: readonly [fake: Fake, isAllowed: boolean][] = [
    [{ by: "ci", says: attestation(SLSA) }, true],
    [{ by: "ci", says: attestation(`${SLSA}.1`) }, false],
    [{ by: "ci", says: attestation("https://slsa.dev/provenance/") }, false],
    [{ by: "a", says: attestation(SLSA) }, false],
  ];
  for (const [fake, isAllowed] of cases) {
    const judged = judge(rule, evidenceOf(fake, { by: "a" }));
    t.match(judged, { isAllowed, reason: isAllowed ? "signed" : "attestation" });
  }
  t.match(judge(rule, evidenceOf({ by: "ci", says: attestation(SLSA) })), { reason: "untrusted" });
  t.match(judge(rule, evidenceOf({ by: "a" })).missing, [
    /no attestation .*provenance\/v1 by key ci/,
  ]);
  t.end();
});

t.test("builder and source are compared, in one and the same attestation", (t) => {
  const rule = attested({ builder: ["https://b/*"], source: ["git+https://github.com/acme/**"] });
  const says = (id: string, uri: string): SignatureContent =>
    attestation(SLSA, {
      buildDefinition: { resolvedDependencies: [{ uri }] },
      runDetails: { builder: { id } },
    });
  const good = says("https://b/1", "git+https://github.com/acme/app@main");
  const otherBuilder = says("https://c/1", "git+https://github.com/acme/app@main");
  const otherSource = says("https://b/1", "git+https://github.com/evil/app@main");
  const empty = attestation(SLSA, {});
  t.match(judge(rule, evidenceOf({ by: "ci", says: otherBuilder }, { by: "ci", says: good })), {
    isAllowed: true,
  });
  for (const bad of [otherBuilder, otherSource, empty]) {
    t.match(judge(rule, evidenceOf({ by: "ci", says: bad })), {
      isAllowed: false,
      reason: "attestation",
    });
  }
  t.match(
    judge(rule, evidenceOf({ by: "ci", says: otherBuilder }, { by: "ci", says: otherSource })),
    { isAllowed: false },
  );
  t.end();
});

t.test("attestations by all of several are wanted from each", (t) => {
  const by = { require: "all", authorities: ["ci", "qa"].map(key) } as const;
  const rule = ruleOf({ attestations: [{ predicateType: SLSA, by }] });
  const says = attestation(SLSA);
  t.match(judge(rule, evidenceOf({ by: "ci", says })), {
    isAllowed: false,
    missing: [/by key qa/],
  });
  t.match(judge(rule, evidenceOf({ by: "ci", says }, { by: "qa", says })), { isAllowed: true });
  t.end();
});

t.test("the newest scan decides, whichever is found first", (t) => {
  const rule = attested({
    predicateType: VULN,
    vulnerabilities: { refuse: ["critical"], maxAgeSeconds: (7 * DAY_MS) / 1000 },
  });
  const clean = { by: "ci", says: scan(5) };
  const bad = { by: "ci", says: scan(1, "CRITICAL") };
  for (const fakes of [
    [clean, bad],
    [bad, clean],
  ]) {
    const judged = judge(rule, evidenceOf(...fakes));
    t.match(judged, { isAllowed: false, reason: "attestation", missing: [/found 1 critical/] });
  }
  const mended = judge(
    rule,
    evidenceOf({ by: "ci", says: scan(3, "CRITICAL") }, { by: "ci", says: scan(2) }),
  );
  t.match(mended, { isAllowed: true, reason: "signed" });
  t.equal(mended.validUntilMs, NOW_MS + 5 * DAY_MS, "until the scan is too old");
  t.match(judge(rule, evidenceOf({ by: "ci", says: scan(8) })), {
    isAllowed: false,
    missing: [/older than 7 d/],
  });
  t.match(judge(rule, evidenceOf(clean, { by: "x", says: scan(1, "CRITICAL") })), {
    isAllowed: true,
  });
  t.match(judge(rule, evidenceOf(clean, { by: "ci", says: attestation(VULN, {}) })), {
    isAllowed: true,
  });
  t.end();
});

t.test("two scans of one moment must both be clean", (t) => {
  const rule = attested({ predicateType: VULN, vulnerabilities: { refuse: ["critical"] } });
  const bad = { by: "ci", says: scan(1, "CRITICAL") };
  const clean = { by: "ci", says: scan(1) };
  t.match(judge(rule, evidenceOf(bad, clean)), { isAllowed: false });
  t.match(judge(rule, evidenceOf(clean, bad)), { isAllowed: false });
  t.end();
});

t.test("a scan that cannot be read, or of the future, does not let an older one pass", (t) => {
  const rule = attested({ predicateType: VULN, vulnerabilities: { refuse: [] } });
  const scanner = { uri: "", result: {} };
  const metadata = { scanFinishedOn: new Date(NOW_MS).toISOString() };
  const unread = attestation(VULN, { scanner, metadata });
  t.match(judge(rule, evidenceOf({ by: "ci", says: scan(1) }, { by: "ci", says: unread })), {
    isAllowed: false,
    missing: [/cannot be read/],
  });
  t.match(judge(rule, evidenceOf({ by: "ci", says: scan(1) }, { by: "ci", says: scan(-1) })), {
    isAllowed: false,
    missing: [/future/],
  });
  t.end();
});

t.test("scans by other scanners are passed over", (t) => {
  const vulnerabilities = { refuse: ["critical"], scanner: ["pkg:github/aquasecurity/trivy@*"] };
  const rule = attested({ predicateType: VULN, vulnerabilities });
  const other = { by: "ci", says: scan(0, "CRITICAL", "pkg:other") };
  t.match(judge(rule, evidenceOf(other, { by: "ci", says: scan(3) })), { isAllowed: true });
  t.match(judge(rule, evidenceOf(other)), { isAllowed: false, missing: [/with the scanner pkg:/] });
  t.end();
});
