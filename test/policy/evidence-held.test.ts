import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { keyOf, policyOf, signedBy } from "../support/policies.ts";
import { byKey, key, REPOSITORY, startPolicyRig } from "../support/policy-rig.ts";
import { asReferrer } from "../support/sign-placements.ts";
import { signAll } from "../support/signed-images.ts";
import { startProxy } from "../support/start-proxy.ts";

const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";

t.test("what is written in the database by hand", async (t) => {
  const dataPath = t.testdir();
  const policy = policyOf(signedBy(keyOf(key)));
  const first = await startPolicyRig(t, policy, { dataPath });
  const image = await first.image("late");
  const index = await first.index("index");
  t.equal((await first.ask("late")).status, 403);
  await first.proxy.app[Symbol.asyncDispose]();

  using db = new DatabaseSync(join(dataPath, "v1/metadata.sqlite"));
  const child = index.children[0]?.digest ?? "";
  const putEdge = db.prepare("INSERT INTO edges (repository, child, parent) VALUES (?, ?, ?)");
  for (const parent of ["../../other/secret", "sha256:zz", index.digest, child]) {
    putEdge.run(`team.example/${REPOSITORY}`, child, parent);
  }
  db.exec("UPDATE evidence SET gathered_at = 4000000000000");

  await signAll(first.upstream, image, [byKey]);
  const upstreams = [{ urls: [first.upstream.url] }];
  const again = await startProxy(t, { upstreams, policy, dataPath });
  const ask = (reference: string): Promise<Response> =>
    fetch(`${again.url}/v2/${REPOSITORY}/manifests/${reference}`);
  t.equal((await ask("late")).status, 200, "evidence of the future is looked for again");
  t.equal((await ask(child)).status, 403, "an index that is not allowed vouches for nothing");
  t.equal(
    first.upstream.seen({ path: /secret|zz/ }).length,
    0,
    "and what is no digest is not asked",
  );
});

t.test("many large attestations leave room for a signature", async (t) => {
  const { ask, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  const added = await image("crowded", byKey);
  for (let at = 0; at < 12; at += 1) {
    const payload = Buffer.alloc(1_000_000, `{"at":${at}}`);
    const annotations = { "org.opencontainers.image.created": `2027-01-01T00:00:0${at % 10}Z` };
    const place = asReferrer([{ mediaType: BUNDLE, payload }], {
      artifactType: BUNDLE,
      annotations,
    });
    await signAll(upstream, added, [() => place]);
  }
  t.equal((await ask("crowded")).status, 200);
  const bytes = upstream.seen({ method: "GET", path: /\/blobs\// }).length;
  t.ok(bytes <= 9, "and not all of them are read");
});
