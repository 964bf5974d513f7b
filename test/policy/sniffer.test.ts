import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { keyOf, policyOf, signedBy } from "../support/policies.ts";
import { key, REPOSITORY, startPolicyRig } from "../support/policy-rig.ts";

const MANIFEST_BYTES_MAX = 4_194_304;

t.test("a size that a registry makes up hides no manifest", async (t) => {
  const { proxy, image, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  const bad = await image("bad");
  const bytes = upstream.manifest(REPOSITORY, bad.digest) ?? Buffer.alloc(0);
  upstream.on(
    { method: "GET", path: /\/blobs\// },
    {
      headers: { "content-length": String(MANIFEST_BYTES_MAX + 1) },
      body: bytes,
      truncateAfterBytes: bytes.length,
    },
  );
  const url = `${proxy.url}/v2/${REPOSITORY}/blobs/${bad.digest}`;
  for (const headers of [{ range: `bytes=0-${bytes.length - 1}` }, { range: "bytes=0-" }, {}]) {
    const response = await fetch(url, { headers });
    const body = await response.text().catch(() => "");
    t.notMatch(body, "schemaVersion", `${JSON.stringify(headers)}: ${response.status}`);
  }
});

t.test("what is too large to be a manifest is a blob, whatever it begins with", async (t) => {
  const { proxy, upstream } = await startPolicyRig(t, policyOf(signedBy(keyOf(key))));
  const bytes = Buffer.alloc(MANIFEST_BYTES_MAX + 100_000, ' {"layers":[{"digest":"x"}]}');
  const digest = upstream.addBlob(REPOSITORY, bytes);
  for (const headers of [{ range: "bytes=5-104" }, {}, { range: "bytes=5-104" }]) {
    const url = `${proxy.url}/v2/${REPOSITORY}/blobs/${digest}`;
    const response = await fetch(url, { headers });
    const body = Buffer.from(await response.arrayBuffer());
    t.ok(body.equals("range" in headers ? bytes.subarray(5, 105) : bytes), response.statusText);
  }
});

t.test("bytes that lie under another name on the disk say nothing about it", async (t) => {
  let now = 1_800_000_000_000;
  const dataPath = t.testdir();
  const policy = policyOf(signedBy(keyOf(key)));
  const options = { dataPath, now: () => now, verifyReads: "never" } as const;
  const { proxy, ask, image, upstream } = await startPolicyRig(t, policy, options);
  const bad = await image("bad");
  const bytes = upstream.manifest(REPOSITORY, bad.digest) ?? Buffer.alloc(0);
  t.equal((await ask(bad.digest)).status, 403);
  const hex = bad.digest.slice("sha256:".length);
  const file = join(dataPath, "v1/blobs/sha256", hex.slice(0, 2), hex);
  const list = await readdir(join(file, ".."));
  t.ok(list.includes(hex), "it is held");

  const config = upstream.addBlob(REPOSITORY, Buffer.from("{}"));
  const signature = { mediaType: "application/cose", digest: config, size: 2 };
  const artefact = { ...JSON.parse(bytes.toString()), config: signature, layers: [signature] };
  const url = `${proxy.url}/v2/${REPOSITORY}/blobs/${bad.digest}`;
  for (const other of [JSON.stringify(artefact), "no manifest at all"]) {
    now += 31_000; // what was said of it before is over
    await writeFile(file, other.padEnd(bytes.length));
    for (const method of ["HEAD", "GET"]) {
      await (await fetch(url, { method })).arrayBuffer();
    }
    await writeFile(file, bytes);
    t.equal((await ask(bad.digest)).status, 403, "as a manifest");
    t.equal((await fetch(url)).status, 403, "as a blob");
  }
});
