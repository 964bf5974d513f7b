import t from "tap";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { keylessAt, keyOf, policyOf, signedBy } from "../support/policies.ts";
import {
  byIdentity,
  byKey,
  byOtherKey,
  bySignatureTag,
  key,
  PLATFORMS,
  REPOSITORY,
  sigstore,
  startPolicyRig,
} from "../support/policy-rig.ts";
import { asReferrer, tagOf } from "../support/sign-placements.ts";
import type { AddedImage } from "../support/signed-images.ts";
import { addSignedImage, OCI_INDEX, OCI_MANIFEST, signAll } from "../support/signed-images.ts";
import { startProxy } from "../support/start-proxy.ts";

t.test("one judgement, by whatever route a manifest is asked for", async (t) => {
  const { proxy, image } = await startPolicyRig(t, policyOf(signedBy(keylessAt(sigstore))));
  const good = await image("good", byIdentity);
  const bad = await image("bad");
  const at = `${proxy.url}/v2`;
  const routes = ({ tag, digest }: AddedImage): readonly (readonly [string, string])[] => [
    ["by tag", `${at}/${REPOSITORY}/manifests/${tag}`],
    ["by digest", `${at}/${REPOSITORY}/manifests/${digest}`],
    ["by an alias", `${at}/mirror.example/${REPOSITORY}/manifests/${tag}`],
    ["by ns", `${at}/${REPOSITORY}/manifests/${digest}?ns=mirror.example`],
    ["as a blob", `${at}/${REPOSITORY}/blobs/${digest}`],
    ["as a blob by ns", `${at}/${REPOSITORY}/blobs/${digest}?ns=team.example`],
  ];
  for (const method of ["HEAD", "GET", "HEAD"]) {
    for (const [route, url] of routes(bad)) {
      const response = await fetch(url, { method });
      t.equal(response.status, 403, `${method} ${route} is refused`);
      t.match(response.statusText, /policy rule "team" denies/, `${method} ${route} says why`);
    }
    for (const [route, url] of routes(good)) {
      const response = await fetch(url, { method });
      t.equal(response.status, 200, `${method} ${route} is served`);
    }
  }
  const [, part] = await Promise.all(
    ["bytes=0-9", "bytes=5-"].map((range) =>
      fetch(`${at}/${REPOSITORY}/blobs/${bad.digest}`, { headers: { range } }),
    ),
  );
  t.equal(part?.status, 403, "a range of it is refused, too");
});

t.test("what is no manifest is a blob like any other", async (t) => {
  const { proxy, upstream } = await startPolicyRig(t, policyOf(signedBy(keylessAt(sigstore))));
  const blobs = {
    config: Buffer.from(JSON.stringify({ architecture: "amd64", rootfs: { type: "layers" } })),
    text: Buffer.from("  plain text"),
    large: Buffer.alloc(5_000_000, '{"manifests":[]} '),
    empty: Buffer.from("{}"),
  };
  for (const [name, bytes] of Object.entries(blobs)) {
    const digest = upstream.addBlob(REPOSITORY, bytes);
    for (const round of ["cold", "warm"]) {
      const response = await fetch(`${proxy.url}/v2/${REPOSITORY}/blobs/${digest}`);
      t.ok(Buffer.from(await response.arrayBuffer()).equals(bytes), `${name}, ${round}`);
    }
  }
});

t.test("an index vouches for what it names, as long as it is allowed", async (t) => {
  const dataPath = t.testdir();
  const policy = policyOf(signedBy(keyOf(key)));
  const { proxy, ask, index, upstream } = await startPolicyRig(t, policy, { dataPath });
  const good = await index("good", byKey);
  const [first, second] = good.children.map(({ digest }) => digest as string);
  const bad = await index("bad", byOtherKey);

  t.equal((await ask(first ?? "")).status, 403, "a child that is asked for before its index");
  t.equal((await ask("good")).status, 200);
  t.equal((await ask(second ?? "")).status, 200, "a child after its index");
  t.equal((await ask("bad")).status, 403);
  t.equal((await ask(bad.children[0]?.digest ?? "")).status, 403, "a child of a denied index");

  const lone = await addSignedImage(upstream, {
    repository: "team/other",
    tag: "copy",
    platforms: PLATFORMS,
    text: `${REPOSITORY}:good`,
  });
  t.equal(lone.digest, good.digest, "the same index in another repository");
  const copy = await fetch(`${proxy.url}/v2/team/other/manifests/${first}`);
  t.equal(copy.status, 403, "a child is vouched for in one repository only");

  await proxy.app[Symbol.asyncDispose]();
  const again = await startProxy(t, { upstreams: [{ urls: [upstream.url] }], policy, dataPath });
  const url = `${again.url}/v2/${REPOSITORY}/manifests/${second}`;
  t.equal((await fetch(url)).status, 200, "also after a restart");
});

t.test("children that need a signature of their own", async (t) => {
  const rule = signedBy(keyOf(key), { children: "require-own" });
  const { ask, upstream } = await startPolicyRig(t, policyOf(rule));
  const own = { repository: REPOSITORY, platforms: PLATFORMS, signatures: [byKey] };
  const half = await addSignedImage(upstream, { ...own, tag: "half" });
  const whole = await addSignedImage(upstream, { ...own, tag: "whole", childSignatures: [byKey] });
  t.equal((await ask("half")).status, 200);
  t.equal((await ask(half.children[0]?.digest ?? "")).status, 403);
  t.equal((await ask("whole")).status, 200);
  t.equal((await ask(whole.children[0]?.digest ?? "")).status, 200);
});

t.test("manifests that mean several things are refused, whoever signed them", async (t) => {
  const { ask, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: "", size: 2 };
  config.digest = upstream.addBlob(REPOSITORY, Buffer.from("{}"));
  const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [] };
  const away = { ...config, urls: ["https://elsewhere.example/layer"] };
  const odd = {
    both: { ...image, manifests: [] },
    twin: { ...image, Layers: [away] },
    disguised: { ...image, mediaType: OCI_INDEX },
    foreign: { ...image, layers: [away] },
  };
  for (const [tag, content] of Object.entries(odd)) {
    const bytes = Buffer.from(JSON.stringify(content));
    const digest = upstream.addManifest(REPOSITORY, tag, bytes, OCI_MANIFEST);
    const subject = { repository: REPOSITORY, digest, mediaType: OCI_MANIFEST };
    await signAll(upstream, { ...subject, size: bytes.length }, [byKey]);
    const response = await ask(tag);
    t.equal(response.status, 403, tag);
  }
});

t.test("signatures themselves are served, whatever they are called", async (t) => {
  const { proxy, ask, image, index, upstream } = await startPolicyRig(
    t,
    policyOf(signedBy(keyOf(key))),
  );
  const tagged = await image("tagged", bySignatureTag);
  const attached = await image("attached", byKey);
  t.equal((await ask(tagOf(tagged.digest, ".sig"))).status, 200, "by its tag");
  t.equal((await ask(attached.artifacts[0] ?? "")).status, 200, "by its digest");
  const list = await fetch(`${proxy.url}/v2/${REPOSITORY}/referrers/${attached.digest}`);
  t.equal(((await list.json()) as { manifests: unknown[] }).manifests.length, 1);

  const unsigned = await image("unsigned");
  for (const suffix of [".sig", ".att", ""] as const) {
    upstream.addTag(REPOSITORY, tagOf(unsigned.digest, suffix), unsigned.digest);
    const response = await ask(tagOf(unsigned.digest, suffix));
    t.equal(response.status, 403, `an image that is called …${suffix}`);
  }
  const layers = [
    { mediaType: "application/vnd.oci.image.layer.v1.tar", payload: Buffer.from("x") },
  ];
  const [disguised] = await signAll(upstream, unsigned, [() => asReferrer(layers)]);
  t.equal((await ask(disguised ?? "")).status, 403, "an image with a subject");

  const smuggled = await index("smuggled");
  const tag = tagOf(attached.digest);
  upstream.addManifest(REPOSITORY, tag, {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: smuggled.children.map(({ mediaType, digest, size }) => ({
      mediaType,
      digest,
      size,
    })),
  });
  t.equal((await ask(tag)).status, 200, "the list of referrers under its tag");
  t.equal((await ask(smuggled.children[0]?.digest ?? "")).status, 403, "vouches for nothing in it");
});

t.test("a tag that moves is judged as what is served", async (t) => {
  let now = 1_800_000_000_000;
  const { ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))), {
    now: () => now,
  });
  const good = await image("moving", byKey);
  const bad = await image("unsigned");
  const first = await ask("moving");
  t.equal(first.headers.get("docker-content-digest"), good.digest);
  upstream.addTag(REPOSITORY, "moving", bad.digest);
  now += 31_000;
  t.equal((await ask("moving")).status, 403);
  upstream.addTag(REPOSITORY, "moving", good.digest);
  now += 31_000;
  t.equal((await ask("moving")).status, 200);
});

t.test("without a policy everything is served, and counted", async (t) => {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }] });
  await addSignedImage(upstream, { repository: REPOSITORY, tag: "any" });
  t.equal((await fetch(`${proxy.url}/v2/${REPOSITORY}/manifests/any`)).status, 200);
  t.equal(upstream.seen({ path: /referrers|\.sig$/ }).length, 0);
  const labels = 'upstream="team.example",rule="none",verdict="allow",reason="unmatched"';
  await proxy.metricBecomes(`sluice_verdicts_total{${labels}}`, 1);
});
