import t from "tap";
import { Policy } from "../../server/policy/policy.ts";
import { tagProblem } from "../../server/policy/tag-rules.ts";
import type { PolicySettings, RuleSettings } from "../../server/policy-settings.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const OTHER = `sha256:${"b".repeat(64)}`;

function rule(
  name: string,
  match: readonly string[],
  rest: Partial<RuleSettings> = {},
): RuleSettings {
  return {
    name,
    match,
    mode: "enforce",
    attestations: [],
    children: "inherit",
    foreignLayers: "refuse",
    ...rest,
  };
}

function policy(settings: Partial<PolicySettings>): Policy {
  return new Policy({ unmatched: "allow", rules: [], exceptions: [], deny: [], ...settings });
}

t.test("the first rule that matches decides, whichever was asked for before", (t) => {
  const made = policy({
    rules: [
      rule("legacy", ["team.example/prod/legacy"], { mode: "warn" }),
      rule("team", ["team.example/prod/**", "team.example/base/*"]),
    ],
  });
  for (let round = 0; round < 2; round += 1) {
    t.match(made.ruleFor("team.example/prod/legacy"), { name: "legacy", mode: "warn" });
    t.match(made.ruleFor("team.example/prod/legacy/x"), { name: "team", mode: "enforce" });
    t.match(made.ruleFor("team.example/base/a"), { name: "team" });
    t.match(made.ruleFor("team.example/base/a/b"), { name: "unmatched", settings: undefined });
    t.match(made.ruleFor("evil.team.example/prod/a"), { name: "unmatched" });
  }
  t.end();
});

t.test("what no rule names is as `unmatched` says", (t) => {
  for (const [unmatched, mode] of [
    ["allow", "off"],
    ["warn", "warn"],
    ["deny", "enforce"],
  ] as const) {
    t.match(policy({ unmatched }).ruleFor("a.b/c"), { name: "unmatched", mode });
  }
  t.match(new Policy(undefined).ruleFor("a.b/c"), { name: "none", mode: "off" });
  t.end();
});

t.test("the revision changes with what is said, and not with the order of saying it", (t) => {
  const one = rule("a", ["x.y/**"]);
  const same = Object.fromEntries(Object.entries(one).toReversed()) as unknown as RuleSettings;
  const revision = policy({ rules: [one] }).revision;
  t.match(revision, /^[0-9a-f]{12}$/);
  t.equal(policy({ rules: [same] }).revision, revision);
  t.not(policy({ rules: [rule("a", ["x.y/*"])] }).revision, revision);
  t.not(policy({ rules: [one], unmatched: "deny" }).revision, revision);
  t.not(
    policy({ rules: [one, rule("b", ["c.d/**"])] }).revision,
    policy({ rules: [rule("b", ["c.d/**"]), one] }).revision,
  );
  t.equal(new Policy(undefined).revision, "none");
  t.end();
});

t.test("an exception lets pass what it names, until its moment", (t) => {
  const shared = { match: ["team.example/prod/legacy"], reason: "migration" };
  const made = policy({
    exceptions: [
      { ...shared, name: "one", digest: DIGEST, untilMs: 1000 },
      { ...shared, name: "any", untilMs: 500 },
    ],
  });
  const name = "team.example/prod/legacy";
  t.match(made.exceptionFor(name, DIGEST, 0), { name: "one" });
  t.match(made.exceptionFor(name, OTHER, 499), { name: "any" });
  t.equal(made.exceptionFor(name, OTHER, 500), undefined);
  t.match(made.exceptionFor(name, DIGEST, 999), { name: "one" });
  t.equal(made.exceptionFor(name, DIGEST, 1000), undefined);
  t.equal(made.exceptionFor("team.example/prod/other", DIGEST, 0), undefined);
  t.end();
});

t.test("the deny list is asked by digest, and tells of signers", (t) => {
  const made = policy({ deny: [{ digest: DIGEST, reason: "compromised build" }] });
  t.strictSame(made.deniedDigest(DIGEST), { reason: "compromised build" });
  t.equal(made.deniedDigest(OTHER), undefined);
  t.equal(made.hasDeniedSigners, false);
  const signer = {
    kind: "key",
    file: "k.pub",
    pem: "",
    log: "ignore",
    trustedRoot: "public-good",
  } as const;
  t.equal(policy({ deny: [{ signer, reason: "stolen" }] }).hasDeniedSigners, true);
  t.end();
});

t.test("a rule may ask for digests, for tags of a form, or for versions", (t) => {
  const none = { semver: false, digestOnly: false };
  t.equal(tagProblem(undefined, "latest"), undefined);
  t.equal(tagProblem(none, "latest"), undefined);
  t.match(tagProblem({ ...none, digestOnly: true }, "v1.2.3"), /digests only/);
  t.match(
    tagProblem({ ...none, allow: ["v*", "stable"] }, "latest"),
    /latest is none of v\* stable/,
  );
  t.equal(tagProblem({ ...none, allow: ["v*", "stable"] }, "stable"), undefined);
  t.match(tagProblem({ ...none, allow: ["v*"], semver: true }, "vlatest"), /version/);
  t.match(tagProblem({ ...none, allow: ["v*"], semver: true }, "1.2.3"), /none of/);
  for (const tag of ["1.2.3", "v1.2.3", "0.0.0", "1.2.3-rc.1", "v10.20.30-alpha-x"]) {
    t.equal(tagProblem({ ...none, semver: true }, tag), undefined, tag);
  }
  for (const tag of [
    "1",
    "1.2",
    "latest",
    "v01.2.3",
    "1.2.3-01",
    "1.2.x",
    "_1.2.3",
    "V1.2.3",
    "vv1.2.3",
  ]) {
    t.match(tagProblem({ ...none, semver: true }, tag), /version/, tag);
  }
  t.end();
});
