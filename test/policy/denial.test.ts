import t from "tap";
import type { Check, Decision } from "../../server/decision.ts";
import { explainLines, messageOf } from "../../server/policy/denial.ts";
import type { Case, Finding } from "../../server/policy/finding.ts";
import { decisionOf } from "../../server/policy/finding.ts";
import type { PolicyMode, RuleSettings } from "../../server/policy-settings.ts";
import { parseDigest } from "../../storage/digest.ts";

const DIGEST = parseDigest(`sha256:${"ab12".repeat(16)}`);
const PRINTABLE_LINE = /^[\x20-\x7e]*$/;
const BIDI = "\u202eevil\u0000\n\r\u001b[31m é";

function settings(name: string, mode: PolicyMode): RuleSettings {
  const match = ["team.example/prod/**"];
  return { name, match, mode, attestations: [], children: "inherit", foreignLayers: "refuse" };
}

function caseOf(rest: Partial<Case> = {}, mode: PolicyMode = "enforce", rule = "team"): Case {
  return {
    name: "team.example/prod/app",
    digest: DIGEST,
    rule: { name: rule, mode, settings: settings(rule, mode) },
    policyRevision: "0123456789ab",
    trustRevision: "bundled",
    nowMs: 0,
    ...rest,
  };
}

function check(problem: string): Check {
  return {
    format: "bundle",
    artifact: DIGEST,
    authority: "key cosign.pub",
    counts: false,
    problem,
  };
}

const UNTRUSTED: Finding = {
  verdict: "deny",
  reason: "untrusted",
  missing: ["not signed by key cosign.pub"],
  checks: [check("is about another image")],
};

t.test("a denial begins with who refuses what and why", (t) => {
  const message = messageOf(caseOf(), UNTRUSTED);
  t.equal(
    message.slice(0, 113),
    'policy rule "team" denies team.example/prod/app@sha256:ab12ab12ab12...: not signed by key cosign.pub. Looked at: ',
  );
  t.match(message, /is about another image/);
  t.match(message, /sluice explain --config FILE team\.example\/prod\/app@sha256:(?:ab12){16}"/);
  t.match(message, /exception/);
  t.match(message, /Policy 0123456789ab/);
  t.end();
});

t.test("even with long names the reason is within what clients show", (t) => {
  const name = `team.example/${"deep/".repeat(40)}app`;
  const message = messageOf(caseOf({ name }, "enforce", "r".repeat(200)), UNTRUSTED);
  t.match(message.slice(0, 150), /\.\.\.: not signed by key cosign/);
  t.match(message.slice(0, 150), /deep\/app@sha256:ab12/);
  t.end();
});

t.test("each reason says what is wrong and what to do", (t) => {
  const cases: readonly [finding: Partial<Finding>, says: RegExp, advises: RegExp][] = [
    [
      { reason: "unsigned", missing: ["not signed by key a"] },
      /no signature found; not signed by key a/,
      /signed by whom/,
    ],
    [{ reason: "attestation", missing: ["no attestation x"] }, /no attestation x/, /attested/],
    [{ reason: "tag", problem: "the tag latest is none of v*" }, /latest is none/, /by a tag/],
    [
      { reason: "denied_digest", problem: "bad build" },
      /on the deny list: bad build/,
      /no exception/,
    ],
    [{ reason: "denied_signer" }, /signer on the deny list/, /no exception/],
    [{ reason: "foreign_layers" }, /layers with urls/, /Push its layers/],
    [{ reason: "malformed", problem: "it is not UTF-8" }, /it is not UTF-8/, /push it again/],
  ];
  for (const [finding, says, advises] of cases) {
    const message = messageOf(caseOf(), { ...UNTRUSTED, checks: [], ...finding });
    t.match(message.slice(0, 150), says);
    t.match(message, advises);
  }
  const rule = { name: "unmatched", mode: "enforce", settings: undefined } as const;
  t.match(
    messageOf(caseOf({ rule }), { verdict: "deny", reason: "unmatched" }),
    /^the policy denies team\.example\/prod\/app@.*: no rule names this repository\. Ask the/,
  );
  t.match(
    messageOf(caseOf({ tag: "latest" }), { verdict: "deny", reason: "tag", problem: "x" }),
    /denies team\.example\/prod\/app:latest: x/,
  );
  t.end();
});

t.test("a warning says that it would deny, but for the deny list", (t) => {
  t.match(messageOf(caseOf({}, "warn"), UNTRUSTED), /^policy rule "team" would deny team/);
  const listed: Finding = { verdict: "deny", reason: "denied_digest", problem: "x" };
  t.match(messageOf(caseOf({}, "warn"), listed), /^policy rule "team" denies team/);
  t.end();
});

t.test("what could not be judged is said to be nobody's guilt", (t) => {
  const message = messageOf(caseOf(), {
    verdict: "indeterminate",
    reason: "lookup_failed",
    failures: ["the referrers could not be looked up: it took too long"],
  });
  t.match(message.slice(0, 150), /cannot judge team.*now: the referrers could not be looked up/);
  t.match(message, /nothing against .*try again/);
  t.end();
});

t.test("an allow says what it rests on", (t) => {
  const allow = (finding: Partial<Finding>): string =>
    messageOf(caseOf(), { verdict: "allow", reason: "signed", ...finding });
  t.match(allow({ signers: ["a", "b"] }), /allows team.*: signed by a, b$/);
  t.match(allow({ reason: "inherited", parent: DIGEST }), /the index sha256:ab12.* is allowed$/);
  t.match(allow({ reason: "artefact" }), /a signature or an attestation itself/);
  t.match(allow({ reason: "permitted" }), /asks for no signature/);
  const exception = {
    name: "OPS-12",
    match: [],
    untilMs: 0,
    reason: "migration",
    ticket: "OPS-12",
  };
  t.match(
    allow({ reason: "exception", exception }),
    /the exception OPS-12 lets it pass until 1970-01-01T00:00:00\.000Z: migration \(OPS-12\)/,
  );
  t.end();
});

t.test("hostile texts stay in one printable line of bounded size", (t) => {
  const long = `${BIDI}${"x".repeat(100_000)}`;
  const hostile: Finding = {
    verdict: "deny",
    reason: "untrusted",
    missing: Array.from({ length: 50 }, () => long),
    problem: long,
    signers: Array.from({ length: 50 }, () => long),
    failures: [long, long],
    passedOver: Array.from({ length: 64 }, () => ({ artifact: long, problem: long })),
    checks: Array.from({ length: 64 }, () => ({ ...check(long), authority: long, signer: long })),
    exception: { name: long, match: [], untilMs: 0, reason: long, ticket: long },
  };
  const reasons = [
    "untrusted",
    "tag",
    "malformed",
    "denied_digest",
    "exception",
    "inherited",
  ] as const;
  for (const verdict of ["allow", "deny", "indeterminate"] as const) {
    for (const reason of reasons) {
      const about = caseOf({ name: long, tag: long, trustRevision: long }, "enforce", long);
      const message = messageOf(about, { ...hostile, verdict, reason });
      t.match(message, PRINTABLE_LINE, `${verdict} ${reason}`);
      t.ok(message.length <= 4096, `${verdict} ${reason} has ${message.length}`);
      if (verdict === "deny") {
        t.match(message, /sluice explain/);
        t.match(message, /Policy 0123456789ab/);
      }
    }
  }
  const few = { ...hostile, missing: ["short"], problem: "short" };
  t.match(
    messageOf(caseOf(), { ...few, checks: few.checks?.slice(0, 12) ?? [], passedOver: [] }),
    /and 2 more\./,
  );
  t.end();
});

t.test("an explanation has a line for everything that was looked at", (t) => {
  const decision: Decision = decisionOf(caseOf(), {
    ...UNTRUSTED,
    signers: ["a\nb"],
    checks: [
      check("is about another image"),
      { ...check(""), counts: true, signer: "the owner of k" },
    ],
    evidence: DIGEST,
  });
  const lines = explainLines(decision, "team.example/prod/app:v1\u202e");
  t.equal(lines[0], "team.example/prod/app:v1?");
  for (const says of [
    /verdict {3}deny \(untrusted\)/,
    /rule {6}team, enforce/,
    /does not {2}bundle sha256:ab12ab12ab12 is about another image/,
    /counts {4}bundle sha256:ab12ab12ab12 by the owner of k counts for key cosign\.pub/,
    /policy {4}0123456789ab, trust bundled/,
    /decided {3}1970-01-01/,
  ]) {
    t.ok(
      lines.some((line) => says.test(line)),
      String(says),
    );
  }
  t.ok(lines.every((line) => PRINTABLE_LINE.test(line)));
  t.end();
});
