import { createPublicKey, randomBytes } from "node:crypto";
import t from "tap";
import type { KeySettings } from "../../server/policy-settings.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { startForger } from "../support/forger.ts";
import { rows, rulesOf } from "../support/forger-rules.ts";
import { keyOf, policyOf, signedBy } from "../support/policies.ts";
import { byKey, byOtherKey, key, otherKey, REPOSITORY } from "../support/policy-rig.ts";
import { addSignedImage } from "../support/signed-images.ts";
import { startProxy } from "../support/start-proxy.ts";

const KEY_BYTES = 1024;

t.test("signatures that take for ever hold up nobody else, and never pass", async (t) => {
  const slow = signedBy(Array.from({ length: 96 }, slowKey), { name: "slow" });
  const { proxy, upstream } = await startForger(t, [slow, ...rulesOf("key")]);
  const layers = Array.from({ length: 32 }, () => ({
    by: key,
    signature: Buffer.concat([Buffer.from([1]), randomBytes(KEY_BYTES - 1)]),
  }));
  const signatures = [rows.signatureTag(layers)];
  await addSignedImage(upstream, { repository: "slow/app", tag: "image", signatures });
  await addSignedImage(upstream, { repository: "key/app", tag: "good", signatures: [byKey] });
  await addSignedImage(upstream, { repository: "key/app", tag: "bad", signatures: [byOtherKey] });

  const order: string[] = [];
  const ask = async (name: string, path: string): Promise<number> => {
    const { status } = await fetch(`${proxy.url}/v2/${path}`);
    order.push(name);
    return status;
  };
  const stuck = ask("slow", "slow/app/manifests/image");
  await upstream.waitFor({ path: /slow\/app\/blobs\// });
  t.equal(await ask("good", "key/app/manifests/good"), 200);
  t.equal(await ask("bad", "key/app/manifests/bad"), 403);
  t.equal(await stuck, 503, "no verdict is not a pass");
  t.strictSame(order, ["good", "bad", "slow"], "others do not wait for it");
  t.equal(await ask("good", "key/app/manifests/good"), 200, "and nothing is left behind");
});

t.test(
  "the same digest is judged by the rule of the repository that it is asked for in",
  async (t) => {
    const strict = signedBy(keyOf(otherKey), { name: "strict" });
    const { proxy, upstream } = await startForger(t, [strict, ...rulesOf("key")]);
    const image = { tag: "image", text: "the same image", signatures: [byKey] };
    const lenient = await addSignedImage(upstream, { ...image, repository: "key/app" });
    const same = await addSignedImage(upstream, { ...image, repository: "strict/app" });
    t.equal(lenient.digest, same.digest);
    for (const round of ["cold", "warm"]) {
      for (const kind of ["manifests", "blobs"]) {
        const statuses = await Promise.all(
          ["key/app", "strict/app"].map(async (repository) => {
            upstream.addBlob(
              repository,
              upstream.manifest(repository, same.digest) ?? Buffer.alloc(0),
            );
            const response = await fetch(`${proxy.url}/v2/${repository}/${kind}/${same.digest}`);
            return response.status;
          }),
        );
        t.strictSame(statuses, [200, 403], `${kind}, ${round}`);
      }
    }
  },
);

t.test("the same name on two registries is two repositories", async (t) => {
  const [trusted, foreign] = await Promise.all([startFakeUpstream(), startFakeUpstream()]);
  t.teardown(() => Promise.all([trusted.close(), foreign.close()]));
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [trusted.url] }, { urls: [foreign.url] }],
    policy: policyOf([
      signedBy(keyOf(key), { name: "trusted", match: ["team.example/**"] }),
      signedBy(keyOf(key), { name: "foreign", match: ["team1.example/**"] }),
    ]),
  });
  const image = { repository: REPOSITORY, tag: "image", text: "the same image" };
  const signed = await addSignedImage(trusted, { ...image, signatures: [byKey] });
  const copy = await addSignedImage(foreign, image);
  t.equal(signed.digest, copy.digest);
  for (const reference of ["image", signed.digest]) {
    const statusAt = async (name: string): Promise<number> =>
      (await fetch(`${proxy.url}/v2/${name}/${REPOSITORY}/manifests/${reference}`)).status;
    t.equal(await statusAt("team.example"), 200, `${reference}: where it is signed`);
    t.equal(await statusAt("team1.example"), 403, `${reference}: where it is not`);
  }
});

/** A key that nobody has, and that takes its time to say so: any odd number will do. */
function slowKey(): KeySettings {
  const modulus = randomBytes(KEY_BYTES);
  modulus[0] = 0xff;
  modulus[KEY_BYTES - 1] = 0xff;
  const jwk = { kty: "RSA", n: modulus.toString("base64url"), e: "AQAB" };
  const publicKey = createPublicKey({ key: jwk, format: "jwk" });
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return keyOf({ ...key, publicKeyPem });
}
