import t from "tap";
import { digestOf } from "../../storage/digest.ts";
import { keyOf, policyOf, ruleOf, signedBy } from "../support/policies.ts";
import {
  byOtherKey,
  key,
  messageOf,
  otherKey,
  REPOSITORY,
  startPolicyRig,
} from "../support/policy-rig.ts";
import { OCI_EMPTY, tagOf } from "../support/sign-placements.ts";
import { addSignedImage, OCI_INDEX, OCI_MANIFEST } from "../support/signed-images.ts";

const STATEMENT = "application/vnd.in-toto+json";

t.test("a list of referrers leads nowhere but to this proxy", async (t) => {
  const { ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  const { digest, size } = await image("unsigned");
  const bytes = upstream.manifest(REPOSITORY, digest) ?? Buffer.alloc(0);
  const child = { mediaType: OCI_MANIFEST, digest, size };
  const ways = {
    "by urls": { urls: ["https://elsewhere.example/manifest"] },
    "in itself": { data: bytes.toString("base64") },
  };
  for (const [name, way] of Object.entries(ways)) {
    for (const [tag, type] of [
      ["latest", { artifactType: OCI_EMPTY }],
      [tagOf(digestOf(Buffer.from(name))), {}],
    ] as const) {
      const manifests = [{ ...child, ...way, ...type }];
      upstream.addManifest(REPOSITORY, tag, { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
      t.equal((await ask(tag)).status, 403, `an unsigned image ${name}, as ${tag}`);
    }
  }
  const layer = { mediaType: STATEMENT, digest: upstream.addBlob(REPOSITORY, bytes), size };
  const config = { mediaType: OCI_EMPTY, digest: layer.digest, size, data: "e30=" };
  const artefact = { schemaVersion: 2, mediaType: OCI_MANIFEST, config };
  upstream.addManifest(REPOSITORY, "plain", { ...artefact, layers: [layer] });
  const inline = { ...layer, data: bytes.toString("base64") };
  upstream.addManifest(REPOSITORY, "inline", { ...artefact, layers: [inline] });
  t.equal((await ask("plain")).status, 200, "writers put the empty config there");
  t.equal((await ask("inline")).status, 403, "a layer in the manifest itself");
});

t.test("the deny list knows bytes by either algorithm", async (t) => {
  const { proxy, ask, image, upstream } = await startPolicyRig(t, policyOf(ruleOf()));
  const bad = await image("bad");
  const bytes = upstream.manifest(REPOSITORY, bad.digest) ?? Buffer.alloc(0);
  const names = [bad.digest, digestOf(bytes, "sha512")];
  const headers = { "content-type": OCI_MANIFEST };
  upstream.on({ path: /\/(?:manifests|blobs)\/sha512:/ }, { status: 200, headers, body: bytes });
  for (const digest of names) {
    const policy = policyOf(ruleOf(), { deny: [{ digest, reason: "compromised build" }] });
    await proxy.app.apply({ ...proxy.settings, policy });
    for (const name of [...names, "bad"]) {
      t.equal((await ask(name)).status, 403, `${name} with ${digest} on the list`);
    }
    const url = `${proxy.url}/v2/${REPOSITORY}/blobs/${names.find((name) => name !== digest)}`;
    t.equal((await fetch(url)).status, 403, "as a blob");
  }
});

t.test("a denied signer, where nothing else is asked for", async (t) => {
  const policy = policyOf(ruleOf(), { deny: [{ signer: keyOf(otherKey), reason: "lost" }] });
  const { ask, image, upstream } = await startPolicyRig(t, policy);
  await image("unsigned");
  await image("denied", byOtherKey);
  const index = await addSignedImage(upstream, {
    repository: REPOSITORY,
    tag: "index",
    platforms: ["linux/amd64"],
    childSignatures: [byOtherKey],
  });
  t.equal((await ask("unsigned")).status, 200);
  t.equal((await ask("denied")).status, 403);
  t.equal((await ask("index")).status, 200);
  t.equal((await ask(index.children[0]?.digest ?? "")).status, 403, "an index permits nothing");
});

t.test("an artefact is looked into before it is served, within bounds", async (t) => {
  const { ask, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  const layerOf = (text: string): object => {
    const bytes = Buffer.from(text);
    return { mediaType: STATEMENT, digest: upstream.addBlob(REPOSITORY, bytes), size: text.length };
  };
  const config = { ...layerOf("{}"), mediaType: OCI_EMPTY };
  const artefact = { schemaVersion: 2, mediaType: OCI_MANIFEST, config };
  const layers = Array.from({ length: 300 }, (_, at) => layerOf(`{"at":${at}}`));
  upstream.addManifest(REPOSITORY, "many", { ...artefact, layers });
  upstream.addManifest(REPOSITORY, "some", { ...artefact, layers: layers.slice(0, 100) });
  t.equal((await ask("many")).status, 403);
  t.equal(upstream.seen({ path: /\/blobs\// }).length, 0, "nothing is fetched for too many");
  t.equal((await ask("some")).status, 200);
  t.ok(upstream.inFlightMax <= 16, "and not at once");

  const missing = { mediaType: STATEMENT, digest: digestOf(Buffer.from("later")), size: 5 };
  upstream.addManifest(REPOSITORY, "missing", { ...artefact, layers: [missing] });
  t.equal((await ask("missing")).status, 403, "what is not there may be anything later");
});

t.test("settings that were refused change nothing about what is in force", async (t) => {
  const { proxy, ask, image } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  const { settings } = proxy;
  const upstreams = settings.upstreams.map((one) => ({ ...one, urls: ["nonsense"] }));
  for (const file of ["one.pub", "two.pub", "three.pub"]) {
    const policy = policyOf(signedBy(keyOf(otherKey, { file })));
    await t.rejects(proxy.app.apply({ ...settings, policy, upstreams }));
  }
  await image("unsigned", byOtherKey);
  const response = await ask("unsigned");
  t.equal(response.status, 403);
  t.match(await messageOf(response), /not signed by key cosign\.pub/);
});
