import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { keylessAt, keyOf, policyOf, signedBy } from "../support/policies.ts";
import {
  byIdentity,
  byKey,
  key,
  messageOf,
  sigstore,
  startPolicyRig,
} from "../support/policy-rig.ts";
import { TufRepository } from "../support/tuf-repository.ts";

t.test("a trusted root that is fetched later", async (t) => {
  await using tuf = await TufRepository.serve(sigstore.trustedRootJson);
  const tufRootFile = join(t.testdir(), "root.json");
  writeFileSync(tufRootFile, tuf.firstRoot);
  const keyless = signedBy(keylessAt(sigstore, { trustedRoot: "public-good" }), {
    name: "keyless",
    match: ["team.example/team/app"],
  });
  const byOneKey = signedBy(keyOf(key), { name: "key", match: ["team.example/**"] });
  const policy = policyOf([keyless, byOneKey]);
  const { proxy, ask, image } = await startPolicyRig(t, policyOf([]));
  await image("signed", byIdentity);
  await image("unsigned", byKey);
  const trust = { publicGood: "tuf", tufMirror: tuf.url, tufRootFile } as const;

  const refused = { ...proxy.settings, policy, trust: { ...trust, tufRootFile: "/nowhere" } };
  await t.rejects(proxy.app.apply(refused), /tufRootFile/);
  t.equal((await ask("unsigned")).status, 200, "a reload that fails changes nothing");

  await proxy.app.apply({ ...proxy.settings, policy, trust });
  const early = await ask("signed");
  if (early.status !== 200) {
    t.equal(early.status, 503, "nothing can be said before");
    t.match(await messageOf(early), /has not been fetched yet/);
  }
  const ready = async (): Promise<number> => (await fetch(`${proxy.adminUrl}/readyz`)).status;
  while ((await ready()) !== 200) {
    // The first refresh is under way: each look is a request of its own.
  }
  while ((await ask("signed")).status !== 200) {
    // A root in force is a policy to compile.
  }
  t.equal((await ask("unsigned")).status, 403);
  t.equal(await proxy.metric('sluice_trust_refreshes_total{outcome="changed"}'), 1);
});
