import t from "tap";
import type { Authority } from "../../server/policy/authority.ts";
import { Judge } from "../../server/policy/judge.ts";
import type { Fake } from "../support/judge-rig.ts";
import {
  attestation,
  attested,
  evidenceOf,
  judge,
  looks,
  NOW_MS,
  ruleOf,
  SIGNATURE,
  SLSA,
  signedBy,
  VULN,
} from "../support/judge-rig.ts";

t.test("one good signature is enough, whatever stands beside it", (t) => {
  const judged = judge(
    signedBy("any", "a", "b"),
    evidenceOf({ by: "x" }, { by: "", throws: "problem" }, { by: "", throws: "bug" }, { by: "b" }),
  );
  t.match(judged, { isAllowed: true, reason: "signed", signers: ["the owner of b"], missing: [] });
  t.equal(judged.checks.filter(({ counts }) => counts).length, 1);
  t.end();
});

t.test("without one, each is listed with the reason, and nothing of our insides", (t) => {
  const judged = judge(
    signedBy("any", "a"),
    evidenceOf({ by: "x" }, { by: "", throws: "problem" }, { by: "", throws: "bug" }),
  );
  t.match(judged, { isAllowed: false, reason: "untrusted", missing: ["not signed by key a"] });
  t.strictSame(judged.checks.map(({ problem }) => problem).toSorted(), [
    "could not be verified",
    "is about another image",
    "was not made with a",
  ]);
  t.equal(judged.durations.length, 1);
  t.match(judged.durations[0], { format: "bundle", seconds: Number });
  t.end();
});

t.test("nothing found is unsigned", (t) => {
  const judged = judge(signedBy("any", "a", "b"), evidenceOf());
  t.match(judged, { isAllowed: false, reason: "unsigned", checks: [] });
  t.strictSame(judged.missing, ["not signed by any of: key a, key b"]);
  t.match(judge(attested({}), evidenceOf()), { isAllowed: false, reason: "unsigned" });
  t.end();
});

t.test("`all` wants each of them", (t) => {
  const rule = signedBy("all", "a", "b");
  const half = judge(rule, evidenceOf({ by: "a" }));
  t.match(half, { isAllowed: false, reason: "untrusted", missing: ["not signed by key b"] });
  t.strictSame(half.signers, ["the owner of a"]);
  const whole = judge(rule, evidenceOf({ by: "b" }, { by: "x" }, { by: "a" }));
  t.match(whole, { isAllowed: true, reason: "signed" });
  t.equal(whole.signers.length, 2);
  t.end();
});

t.test("an attestation by the right signer is no signature, and the reverse", (t) => {
  const says = attestation(SLSA);
  const judged = judge(signedBy("any", "ci"), evidenceOf({ by: "ci", says }));
  t.match(judged, { isAllowed: false, reason: "untrusted" });
  t.match(judged.checks[0], { counts: false, signer: "the owner of ci", problem: /attestation/ });
  const reverse = judge(attested({}), evidenceOf({ by: "ci" }));
  t.match(reverse, { isAllowed: false, reason: "attestation" });
  t.match(reverse.checks[0], { counts: false, problem: /signature/ });
  t.end();
});

t.test("what a signer on the deny list has signed is refused, whoever else has", (t) => {
  const rule = signedBy("any", "a", "b");
  const denied = judge(rule, evidenceOf({ by: "a" }), ["a"]);
  t.match(denied, { isAllowed: false, reason: "denied_signer", signers: [] });
  t.ok(denied.checks.some(({ problem }) => problem?.includes("stolen")));
  const beside = judge(rule, evidenceOf({ by: "b" }, { by: "a" }), ["a"]);
  t.match(beside, { isAllowed: false, reason: "denied_signer" });
  t.match(judge(rule, evidenceOf({ by: "x" }), ["x"]), { reason: "denied_signer" });
  t.match(judge(rule, evidenceOf({ by: "x" }), ["a"]), { reason: "untrusted" });
  const half = judge(signedBy("all", "a", "b"), evidenceOf({ by: "a" }, { by: "x" }), ["x"]);
  t.match(half, { isAllowed: false, reason: "denied_signer" });
  const both = { ...rule, attestations: attested({}).attestations };
  const says = attestation(SLSA);
  t.match(judge(both, evidenceOf({ by: "a" }, { by: "ci", says }), ["a"]), {
    reason: "denied_signer",
  });
  const attestedOnly = judge(attested({}), evidenceOf({ by: "ci", says }), ["ci"]);
  t.match(attestedOnly, { isAllowed: false }, "an attestation of theirs does not count");
  const harmless = judge(rule, evidenceOf({ by: "b" }, { by: "ci", says }), ["ci"]);
  t.match(harmless, { isAllowed: true }, "nor does it speak against the image");
  t.end();
});

t.test("without a rule, only the deny list matters", (t) => {
  const permitted = { isAllowed: true, reason: "permitted" };
  t.match(judge(undefined, evidenceOf({ by: "x" })), permitted);
  t.match(judge(undefined, evidenceOf({ by: "x" }), ["a"]), permitted);
  t.match(judge(undefined, evidenceOf(), ["a"]), permitted);
  t.match(judge(undefined, evidenceOf({ by: "x" }, { by: "a" }), ["a"]), {
    isAllowed: false,
    reason: "denied_signer",
  });
  t.match(judge(ruleOf({}), evidenceOf({ by: "a" }), ["a"]), { reason: "denied_signer" });
  t.match(judge(ruleOf({}), evidenceOf({ by: "a" })), permitted);
  t.end();
});

t.test("what is no longer valid does not count, and an allow ends with what it rests on", (t) => {
  const rule = signedBy("all", "a", "b");
  const over = judge(rule, evidenceOf({ by: "a", validUntilMs: NOW_MS }, { by: "b" }));
  t.match(over, { isAllowed: false, missing: ["not signed by key a"] });
  t.equal(over.validUntilMs, undefined);
  const until = NOW_MS + 1000;
  const allowed = judge(
    rule,
    evidenceOf({ by: "a", validUntilMs: until }, { by: "b", validUntilMs: until + 1 }),
  );
  t.match(allowed, { isAllowed: true, validUntilMs: until });
  t.end();
});

t.test("each authority looks at each candidate once, and at no more than 32", (t) => {
  looks.clear();
  const attestations = [
    ...attested({ predicateType: VULN, vulnerabilities: { refuse: [] } }, "a", "b").attestations,
    ...attested({}, "a", "b").attestations,
  ];
  const fakes = Array.from({ length: 100 }, (): Fake => ({ by: "x" }));
  const judged = judge({ ...signedBy("all", "a", "b"), attestations }, evidenceOf(...fakes));
  t.equal(judged.isAllowed, false);
  t.equal(Math.max(...looks.values()), 1);
  t.equal(looks.size, 64);
  t.match(judged.missing.at(-1), /100 signatures only 32/);
  t.end();
});

t.test("what is likely and small is looked at first", (t) => {
  looks.clear();
  const pad = attestation("x".repeat(5000));
  const evidence = evidenceOf(
    { by: "a", says: pad },
    { by: "x", format: "cosign-attestation" },
    { by: "x", format: "notation" },
    { by: "a", says: SIGNATURE, validUntilMs: NOW_MS + 1 },
  );
  t.match(judge(signedBy("any", "a"), evidence), { isAllowed: true });
  t.equal(looks.size, 1);
  t.end();
});

t.test("what others wrote is made printable", (t) => {
  const named: Authority = {
    name: "key a",
    verify: () => ({ signer: "evil\n\u202egro.example\u001b[31m", says: SIGNATURE }),
  };
  const rule = signedBy("any", "a");
  const judged = new Judge({ rule, deniedSigners: [], compile: () => named }).judge(
    evidenceOf({ by: "a" }),
    NOW_MS,
  );
  t.strictSame(judged.signers, ["evil??gro.example?[31m"]);
  t.end();
});
