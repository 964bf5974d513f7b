import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import { keyOf, policyOf, signedBy } from "../support/policies.ts";
import { byKey, key, REPOSITORY, startPolicyRig } from "../support/policy-rig.ts";
import { asReferrer } from "../support/sign-placements.ts";
import { OCI_MANIFEST, signAll } from "../support/signed-images.ts";

// What a stranger may push, or a registry answers once, must not stand in the way for long.

t.test("a stranger's manifest that gives a layer another size", async (t) => {
  let now = 1_800_000_000_000;
  const policy = policyOf(signedBy(keyOf(key)));
  const { ask, image, upstream, proxy } = await startPolicyRig(t, policy, { now: () => now });
  const signed = await image("signed", byKey);
  const manifest = JSON.parse(upstream.manifest(REPOSITORY, "signed")?.toString() ?? "") as {
    readonly layers: readonly { readonly digest: Digest; readonly size: number }[];
  };
  const [layer] = manifest.layers;
  const edit = (one: { layers: object[] }): void => {
    one.layers.push({ ...layer, mediaType: "application/x", size: 1 + (layer?.size ?? 0) });
  };
  await signAll(upstream, signed, [() => asReferrer([], { edit })]);
  t.equal((await ask("signed")).status, 200);
  const url = `${proxy.url}/v2/${REPOSITORY}/blobs/${layer?.digest}`;
  const first = await fetch(url);
  if (first.status !== 200) {
    t.equal(first.status, 502, "one of the two sizes is wrong");
    now += 3000;
    t.equal((await fetch(url)).status, 200, "then the digest decides");
  }
});

t.test("a registry that calls a manifest something else once", async (t) => {
  let now = 1_800_000_000_000;
  const policy = policyOf(signedBy(keyOf(key)));
  const { ask, image, upstream } = await startPolicyRig(t, policy, { now: () => now });
  const signed = await image("signed", byKey);
  const headers = { "content-type": "application/json" };
  upstream.on({ path: /\/manifests\/signed$/ }, { headers }, 1);
  t.equal((await ask("signed")).status, 403);
  now += 31_000;
  const again = await ask("signed");
  t.equal(again.status, 200);
  t.equal(again.headers.get("content-type"), OCI_MANIFEST);
  t.equal((await ask(signed.digest)).status, 200);
});
