import t from "tap";
import { keylessAt, keyOf, policyOf, signedBy } from "../support/policies.ts";
import {
  byIdentity,
  byKey,
  bySignatureTag,
  key,
  messageOf,
  otherKey,
  REPOSITORY,
  sigstore,
  startPolicyRig,
} from "../support/policy-rig.ts";
import { NO_REFERRERS_API } from "../support/sign-lookups.ts";
import { asAttestationTag, asBundle } from "../support/sign-placements.ts";
import { SLSA_PROVENANCE } from "../support/sign-statements.ts";
import type { Sign } from "../support/signed-images.ts";
import { addSignedImage, signAll } from "../support/signed-images.ts";

t.test("a look-up that fails is no answer, and is not remembered", async (t) => {
  const faults = {
    "a server error": { status: 500 },
    "a limit": { status: 429 },
    "a refusal": { status: 401 },
    "a web page": { status: 200, headers: { "content-type": "text/html" }, body: "<html>" },
  };
  for (const [name, fault] of Object.entries(faults)) {
    for (const path of [/\/referrers\//, /\/manifests\/sha256-[0-9a-f]{64}\.sig$/]) {
      const { ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
      await image("unsigned");
      const broken = upstream.on({ path }, fault);
      const response = await ask("unsigned");
      t.equal(response.status, 503, `${name} for ${path}`);
      t.ok(Number(response.headers.get("retry-after")) > 0, "and when to ask again");
      t.match(await messageOf(response), /cannot judge .* now/);
      broken.remove();
      t.equal((await ask("unsigned")).status, 403, "an answer, once there is one");
    }
  }
});

t.test("a look-up that never answers is given up in time", async (t) => {
  const { ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  await image("unsigned");
  const silent = upstream.on({ path: /\/referrers\// }, { hang: true });
  const response = await ask("unsigned");
  t.equal(response.status, 503, "before clients give up, after 30 s");
  t.match(await messageOf(response), /could not be looked up: it took too long/);
  silent.remove();
  t.equal((await ask("unsigned")).status, 403);
});

t.test("one good signature is enough, whatever the other look-up does", async (t) => {
  const { ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  await image("bundle", byKey);
  await image("tag", bySignatureTag);
  const tags = upstream.on({ path: /\.sig$/ }, { hang: true });
  t.equal((await ask("bundle")).status, 200, "the tag does not answer");
  tags.remove();
  const referrers = upstream.on({ path: /\/referrers\// }, { hang: true });
  t.equal((await ask("tag")).status, 200, "the referrers do not answer");
  referrers.remove();
});

t.test("no referrers API is not a failure", async (t) => {
  const answers = {
    ...NO_REFERRERS_API,
    "a redirect to a page that is limited": { redirect: "/login" },
  };
  for (const [name, fault] of Object.entries(answers)) {
    const { ask, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
    upstream.on({ path: /\/referrers\// }, fault);
    const headers = { "content-type": "text/html" };
    upstream.on({ path: "/login" }, { status: 429, headers, body: "<html>" });
    const repository = REPOSITORY;
    await addSignedImage(upstream, { repository, tag: "none" });
    const byFallback: Sign = async ({ digest }) =>
      asBundle(await sigstore.bundle({ digest, by: key }), { fallbackTag: true });
    await addSignedImage(upstream, { repository, tag: "signed", signatures: [byFallback] });
    t.equal((await ask("none")).status, 403, `${name}: nothing is signed`);
    t.equal((await ask("signed")).status, 200, `${name}: the fallback tag`);
  }
});

t.test("another policy judges at once, by what is held", async (t) => {
  const { proxy, ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  await image("signed", byKey);
  t.equal((await ask("signed")).status, 200);
  await upstream.close();
  const { settings } = proxy;
  await proxy.app.apply({ ...settings, policy: policyOf(signedBy(keyOf(otherKey))) });
  const denied = await ask("signed");
  t.equal(denied.status, 403, "the key is no longer in it");
  t.match(await messageOf(denied), /not signed by key cosign\.pub/);
  await proxy.app.apply({ ...settings, policy: policyOf(signedBy([keyOf(otherKey), keyOf(key)])) });
  t.equal((await ask("signed")).status, 200, "and is in it again");
});

t.test("another policy asks for what the one before did not look up", async (t) => {
  const signed = signedBy(keyOf(key));
  const { proxy, ask, image } = await startPolicyRig(t, policyOf(signed));
  const statement = { predicateType: SLSA_PROVENANCE, predicate: {} };
  const attested: Sign = async ({ digest }) =>
    asAttestationTag([await sigstore.legacyAttestation({ digest, by: key, ...statement })]);
  await image("attested", byKey, attested);
  t.equal((await ask("attested")).status, 200);
  const by = { require: "any", authorities: [keyOf(key)] } as const;
  const rule = { ...signed, attestations: [{ predicateType: SLSA_PROVENANCE, by }] };
  await proxy.app.apply({ ...proxy.settings, policy: policyOf(rule) });
  t.equal((await ask("attested")).status, 200);
});

t.test("one verification for all who wait", async (t) => {
  const { proxy, ask, index, upstream } = await startPolicyRig(
    t,
    policyOf(signedBy(keylessAt(sigstore))),
  );
  await index("cold", byIdentity);
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask("cold")));
  t.ok(answers.every(({ status }) => status === 200));
  const count = 'sluice_verification_duration_seconds_count{format="bundle"}';
  t.equal(await proxy.metric(count), 1);
  t.equal(upstream.seen({ path: /\/referrers\// }).length, 1);
  t.equal(upstream.seen({ path: /\.sig$/ }).length, 1);
});

t.test("somebody signs what was denied", async (t) => {
  let now = 1_800_000_000_000;
  const { ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))), {
    now: () => now,
  });
  const late = await image("late");
  t.equal((await ask("late")).status, 403);
  await signAll(upstream, late, [byKey]);
  now += 31_000;
  t.equal((await ask("late")).status, 200, "half a minute later");
});
