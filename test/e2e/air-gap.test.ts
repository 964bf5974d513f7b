import { readFileSync } from "node:fs";
import t from "tap";
import { digestOf } from "../../storage/digest.ts";
import { airGapRig } from "../support/air-gap-rig.ts";
import { keyOf, policyOf, signedBy } from "../support/policies.ts";
import { byKey, bySignatureTag, key, PLATFORMS, REPOSITORY } from "../support/policy-rig.ts";
import { addSignedImage } from "../support/signed-images.ts";
import { startProxy } from "../support/start-proxy.ts";

t.setTimeout(120_000);

const NAME = `team.example/${REPOSITORY}`;
const POLICY = policyOf(signedBy(keyOf(key)));

t.test("what was carried over is served and verified without its registry", async (t) => {
  const rig = await airGapRig(t);
  const { upstream } = rig;
  const image = await addSignedImage(upstream, {
    repository: REPOSITORY,
    tag: "v1",
    platforms: PLATFORMS,
    signatures: [byKey, bySignatureTag],
    childSignatures: [byKey],
  });
  const exported = await rig.at("here", "export", `${NAME}:v1`, "-o", rig.file("v1.tar"));
  t.match(exported, { code: 0, stdout: new RegExp(`^exported ${NAME}:v1 ${image.digest}: `) });
  t.notOk(rig.has("here"), "no store is made for it");
  await upstream.stop();

  const imported = await rig.at("there", "import", rig.file("v1.tar"));
  t.match(imported, { code: 0, stdout: /^imported .* 4 signatures and other referrers\n$/ });

  const again = await rig.at("there", "export", `${NAME}:v1`, "-o", rig.file("again.tar"));
  t.match(again, { code: 0, stdout: /team\.example does not answer/ });
  t.ok(readFileSync(rig.file("again.tar")).equals(readFileSync(rig.file("v1.tar"))), "same bytes");

  const proxy = await startProxy(t, {
    upstreams: [{ urls: [upstream.url] }],
    dataPath: rig.file("there"),
    policy: POLICY,
  });
  const get = async (path: string): Promise<Buffer> => {
    const response = await fetch(`${proxy.url}/v2/${REPOSITORY}/${path}`);
    t.equal(response.status, 200, path);
    return Buffer.from(await response.arrayBuffer());
  };
  for (const reference of ["v1", image.digest]) {
    t.equal(digestOf(await get(`manifests/${reference}`)), image.digest);
  }
  for (const { digest } of image.children) {
    const manifest = await get(`manifests/${digest}`);
    t.equal(digestOf(manifest), digest, "a platform of it");
    const { config, layers } = JSON.parse(manifest.toString());
    for (const blob of [config, ...layers]) {
      t.equal(digestOf(await get(`blobs/${blob.digest}`)), blob.digest, "its content");
    }
  }
  for (const artifact of image.artifacts) {
    t.equal(digestOf(await get(`manifests/${artifact}`)), artifact, "who signed it");
  }
});

t.test("a tag that is older than serveStaleSeconds is not served any more", async (t) => {
  const rig = await airGapRig(t);
  const image = await addSignedImage(rig.upstream, {
    repository: REPOSITORY,
    tag: "v1",
    signatures: [byKey],
  });
  await rig.at("here", "export", `${NAME}:v1`, "-o", rig.file("v1.tar"));
  await rig.upstream.stop();
  await rig.at("there", "import", rig.file("v1.tar"));
  const day = 86_400_000;
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [rig.upstream.url], serveStaleSeconds: 86_400 }],
    dataPath: rig.file("there"),
    policy: POLICY,
    now: () => Date.now() + 2 * day,
  });
  const ask = async (reference: string): Promise<number> =>
    (await fetch(`${proxy.url}/v2/${REPOSITORY}/manifests/${reference}`)).status;
  t.equal(await ask("v1"), 503);
  t.equal(await ask(image.digest), 200, "a digest is for ever");
});

t.test(
  "an image that is not signed is refused on both sides, and the others are not",
  async (t) => {
    const rig = await airGapRig(t);
    const { upstream } = rig;
    const repository = REPOSITORY;
    await addSignedImage(upstream, { repository, tag: "signed", signatures: [byKey] });
    const plain = await addSignedImage(upstream, { repository, tag: "plain" });
    const both = [`${NAME}:signed`, `${NAME}:plain`];
    const file = rig.file("both.tar");

    const refused = await rig.at("here", "export", ...both, "-o", file);
    t.match(refused, {
      code: 1,
      stdout: "",
      stderr: /:plain: policy rule "team" denies .*no signature/,
    });
    t.match(refused.stderr, /nothing was written\n$/);
    t.notOk(rig.has("both.tar") || rig.has("both.tar.partial"));

    t.match(await rig.freelyAt("here", "export", ...both, "-o", file), { code: 0 });
    await upstream.stop();
    const dry = await rig.at("there", "import", file, "--dry-run");
    t.match(dry, {
      code: 1,
      stdout: /^would import .*:signed /,
      stderr: /:plain: policy rule "team"/,
    });
    t.notOk(rig.has("there"), "a dry run writes nothing");
    const imported = await rig.at("there", "import", file, "--json");
    t.equal(imported.code, 1);
    t.match(JSON.parse(imported.stdout), {
      images: [{ image: `${NAME}:signed`, referrers: 1 }],
      refused: [{ image: `${NAME}:plain`, reason: /no signature found/ }],
    });
    const hex = plain.digest.slice("sha256:".length);
    t.notOk(rig.has(`there/v1/blobs/sha256/${hex.slice(0, 2)}/${hex}`), "nothing of it is kept");

    const proxy = await startProxy(t, {
      upstreams: [{ urls: [upstream.url] }],
      dataPath: rig.file("there"),
      policy: POLICY,
    });
    const ask = async (reference: string): Promise<number> =>
      (await fetch(`${proxy.url}/v2/${REPOSITORY}/manifests/${reference}`)).status;
    t.same([await ask("signed"), await ask("plain"), await ask(plain.digest)], [200, 503, 503]);

    const locked = await rig.at("there", "import", file);
    t.match(locked, { code: 1, stderr: /a running proxy holds .*there: stop it, .*SLUICE_DATA/ });
  },
);
