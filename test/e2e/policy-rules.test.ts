import t from "tap";
import { keyOf, policyOf, ruleOf, signedBy } from "../support/policies.ts";
import {
  byKey,
  byOtherKey,
  bySignatureTag,
  key,
  messageOf,
  otherKey,
  REPOSITORY,
  startPolicyRig,
} from "../support/policy-rig.ts";
import { addSignedImage, OCI_MANIFEST, signAll } from "../support/signed-images.ts";

t.test("warn serves, and says so", async (t) => {
  const { proxy, ask, image, upstream } = await startPolicyRig(
    t,
    policyOf(signedBy(keyOf(key), { mode: "warn" })),
  );
  await image("unsigned");
  await image("signed", byKey);
  const unsigned = await ask("unsigned");
  t.equal(unsigned.status, 200);
  t.match(unsigned.headers.get("warning"), /^299 - "policy rule 'team' would deny .*not signed/);
  t.equal((await ask("signed")).headers.get("warning"), null);
  const broken = upstream.on({ path: /\/referrers\// }, { status: 500 });
  await image("doubtful");
  const doubtful = await ask("doubtful");
  broken.remove();
  t.equal(doubtful.status, 200);
  t.match(doubtful.headers.get("warning"), /cannot judge/);
  const labels = 'upstream="team.example",rule="team",verdict="deny",reason="unsigned"';
  await proxy.metricBecomes(`sluice_verdicts_total{${labels}}`, 1);
});

t.test("repositories that no rule names", async (t) => {
  for (const [unmatched, status] of [
    ["allow", 200],
    ["warn", 200],
    ["deny", 403],
  ] as const) {
    const rule = signedBy(keyOf(key), { match: ["team.example/elsewhere/**"] });
    const { ask, image } = await startPolicyRig(t, policyOf(rule, { unmatched }));
    await image("any");
    const response = await ask("any");
    t.equal(response.status, status, unmatched);
    t.equal(response.headers.has("warning"), unmatched === "warn");
  }
});

t.test("tags that a rule does not allow", async (t) => {
  const rule = signedBy(keyOf(key), {
    tags: { allow: ["v*"], semver: true, digestOnly: false },
  });
  const { ask, image } = await startPolicyRig(t, policyOf(rule));
  const latest = await image("latest", byKey);
  await image("v1.2.3", bySignatureTag);
  await image("v1", byKey);
  t.equal((await ask("v1.2.3")).status, 200);
  const refused = await ask("latest");
  t.equal(refused.status, 403);
  t.match(await messageOf(refused), /the tag latest is none of v\*/);
  t.equal((await ask("v1")).status, 403, "no semantic version");
  t.equal((await ask(latest.digest)).status, 200, "the same image by digest");
});

t.test("digests only", async (t) => {
  const rule = ruleOf({ tags: { semver: false, digestOnly: true } });
  const { ask, image } = await startPolicyRig(t, policyOf(rule));
  const any = await image("v1");
  t.equal((await ask("v1")).status, 403);
  t.equal((await ask(any.digest)).status, 200);
});

t.test("exceptions end by themselves", async (t) => {
  let now = Date.parse("2026-06-01T00:00:00Z");
  const untilMs = Date.parse("2026-06-02T00:00:00Z");
  const exception = { name: "OPS-12", match: [`team.example/${REPOSITORY}`], untilMs };
  const policy = policyOf(signedBy(keyOf(key)), {
    exceptions: [{ ...exception, reason: "migration", ticket: "OPS-12" }],
  });
  const { proxy, ask, index } = await startPolicyRig(t, policy, { now: () => now });
  const unsigned = await index("unsigned");
  const child = unsigned.children[0]?.digest ?? "";
  t.equal((await ask("unsigned")).status, 200);
  t.equal((await ask(child)).status, 200);
  t.equal(await proxy.metric("sluice_exceptions_active"), 1);
  const expiry = 'sluice_exception_expiry_timestamp_seconds{name="OPS-12"}';
  t.equal(await proxy.metric(expiry), untilMs / 1000);
  now = untilMs;
  t.equal((await ask("unsigned")).status, 403);
  t.equal((await ask(child)).status, 403);
  t.equal(await proxy.metric("sluice_exceptions_active"), 0);
});

t.test("the deny list beats everything", async (t) => {
  for (const mode of ["enforce", "warn", "off"] as const) {
    const { ask, image, proxy, upstream } = await startPolicyRig(t, policyOf([]));
    const signed = await image("signed", byKey);
    const layer = upstream.addBlob(REPOSITORY, Buffer.from("a layer that is bad"));
    const { settings } = proxy;
    const policy = policyOf(signedBy(keyOf(key), { mode }), {
      exceptions: [{ name: "all", match: ["team.example/**"], untilMs: 1e15, reason: "we hope" }],
      deny: [
        { digest: signed.digest, reason: "compromised build" },
        { digest: layer, reason: "a miner" },
      ],
    });
    await proxy.app.apply({ ...settings, policy });
    const denied = await ask("signed");
    t.equal(denied.status, 403, mode);
    t.match(await messageOf(denied), /on the deny list: compromised build/);
    for (const path of [`manifests/${signed.digest}`, `blobs/${signed.digest}`, `blobs/${layer}`]) {
      t.equal((await fetch(`${proxy.url}/v2/${REPOSITORY}/${path}`)).status, 403, path);
    }
  }
});

t.test("a signer on the deny list", async (t) => {
  for (const mode of ["enforce", "warn", "off"] as const) {
    const policy = policyOf(signedBy([keyOf(key), keyOf(otherKey)], { mode }), {
      deny: [{ signer: keyOf(otherKey), reason: "the key was lost" }],
    });
    const { ask, image } = await startPolicyRig(t, policy);
    await image("lost", byOtherKey);
    await image("both", byOtherKey, byKey);
    await image("good", byKey);
    t.equal((await ask("lost")).status, 403, `${mode}: signed by nobody else`);
    t.equal((await ask("good")).status, 200, mode);
    t.equal((await ask("both")).status, 403, `${mode}: whoever else has signed it`);
  }
});

t.test("no mode, and no other reason to warn, lets a denied signer's image pass", async (t) => {
  const deny = [{ signer: keyOf(otherKey), reason: "the key was lost" }];
  const warned = signedBy(keyOf(key), { mode: "warn" });
  const elsewhere = signedBy(keyOf(key), { match: ["team.example/elsewhere/**"] });
  for (const [name, policy] of Object.entries({
    "foreign layers": policyOf(warned, { deny }),
    "no rule": policyOf(elsewhere, { unmatched: "warn", deny }),
  })) {
    const { ask, upstream } = await startPolicyRig(t, policy);
    const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: "", size: 2 };
    config.digest = upstream.addBlob(REPOSITORY, Buffer.from("{}"));
    const layers = [{ ...config, urls: ["https://elsewhere.example/layer"] }];
    const content = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers };
    const bytes = Buffer.from(JSON.stringify(content));
    const digest = upstream.addManifest(REPOSITORY, "v1", bytes, OCI_MANIFEST);
    t.equal((await ask("v1")).status, 200, `${name}: only a warning`);
    const other = upstream.addManifest(REPOSITORY, "v2", { ...content, annotations: {} });
    const size = Buffer.byteLength(JSON.stringify({ ...content, annotations: {} }));
    const subject = { repository: REPOSITORY, digest: other, mediaType: OCI_MANIFEST, size };
    t.not(other, digest);
    await signAll(upstream, subject, [byOtherKey]);
    t.equal((await ask("v2")).status, 403, `${name}: but a denied signer`);
  }
});

t.test("an allowed index does not vouch for what a denied signer has signed", async (t) => {
  const policy = policyOf(signedBy(keyOf(key)), {
    deny: [{ signer: keyOf(otherKey), reason: "the key was lost" }],
  });
  const { ask, upstream } = await startPolicyRig(t, policy);
  const index = await addSignedImage(upstream, {
    repository: REPOSITORY,
    tag: "index",
    platforms: ["linux/amd64", "linux/arm64"],
    signatures: [byKey],
  });
  const [first, second] = index.children;
  await signAll(upstream, first ?? index, [byOtherKey]);
  t.equal((await ask("index")).status, 200);
  t.equal((await ask(first?.digest ?? "")).status, 403);
  t.equal((await ask(second?.digest ?? "")).status, 200, "the others");
});
