import t from "tap";
import type { Decision } from "../../server/decision.ts";
import { VerdictCache } from "../../server/policy/verdict-cache.ts";
import { digestOf } from "../../storage/digest.ts";
import { OCI_MANIFEST } from "../support/signed-images.ts";

const REPOSITORY = "team.example/team/app";

function decided(verdict: Decision["verdict"], decidedAtMs: number, problem = ""): Decision {
  const authority = "key cosign.pub";
  const artifact = digestOf(Buffer.from("signature"));
  const check = { format: "bundle", artifact, authority, counts: false, problem } as const;
  return {
    verdict,
    rule: "team",
    mode: "enforce",
    reason: verdict === "allow" ? "signed" : "untrusted",
    message: "policy rule",
    digest: artifact,
    signers: [],
    checks: problem === "" ? [] : Array.from({ length: 32 }, () => check),
    evidence: undefined,
    exception: undefined,
    policyRevision: "1",
    trustRevision: "none",
    decidedAtMs,
  };
}

t.test("a clock that is set back prolongs no verdict", (t) => {
  for (const verdict of ["allow", "deny"] as const) {
    let now = 1_800_000_000_000;
    const verdicts = new VerdictCache(() => now);
    const judged = { digest: digestOf(Buffer.from(verdict)), mediaType: OCI_MANIFEST };
    verdicts.put(REPOSITORY, judged, { decision: decided(verdict, now) });
    t.ok(verdicts.get(REPOSITORY, judged), verdict);
    now -= 86_400_000;
    t.notOk(verdicts.get(REPOSITORY, judged), `${verdict}, a day before`);
  }
  t.end();
});

t.test("what is told of bad signatures does not fill the memory", (t) => {
  const verdicts = new VerdictCache(() => 0);
  const digests = Array.from({ length: 2000 }, (_, at) => digestOf(Buffer.from(String(at))));
  for (const digest of digests) {
    const decision = decided("deny", 0, "x".repeat(500));
    verdicts.put(REPOSITORY, { digest, mediaType: OCI_MANIFEST }, { decision });
  }
  const kept = digests.filter((digest) =>
    verdicts.get(REPOSITORY, { digest, mediaType: OCI_MANIFEST }),
  );
  t.ok(kept.length > 500 && kept.length < 2000, `${kept.length} of ${digests.length}`);
  t.ok(kept.includes(digests.at(-1) ?? digestOf(Buffer.alloc(0))), "the latest");
  t.end();
});
