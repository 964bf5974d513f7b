import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { expectedDigests } from "../support/arrived.ts";
import type { Client } from "../support/clients.ts";
import { CLIENTS, pullOnce } from "../support/clients.ts";
import { TAGS_REGISTRY, TagsRegistry } from "../support/enforce-registry.ts";
import type { RuleName, SignedRowImage } from "../support/enforce-signed.ts";
import { KEY, RULES, SigningTools } from "../support/enforce-signed.ts";
import { run } from "../support/processes.ts";
import { BUNDLE_V03 } from "../support/sign-bundle.ts";
import { NOTATION_SIGNATURE } from "../support/sign-placements.ts";
import { REFERRERS_REGISTRY, ReferrersRegistry } from "../support/sign-registry.ts";
import type { SignableRegistry } from "../support/signable-registry.ts";
import type { SluiceProcess } from "../support/sluice-process.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

// What real tools have signed on real registries, behind an enforcing Sluice: pulled by clients,
// and verified through it once more by those who signed.

const REGISTRIES: readonly [name: string, start: () => Promise<SignableRegistry>][] = [
  [REFERRERS_REGISTRY, () => ReferrersRegistry.start()],
  [TAGS_REGISTRY, () => TagsRegistry.start()],
];

interface Rig {
  readonly tools: SigningTools;
  readonly sluice: SluiceProcess;
  readonly images: readonly SignedRowImage[];
  /** For what clients write. */
  readonly folder: string;
}

for (const [name, start] of REGISTRIES) {
  t.test(`signed on ${name}`, toolOptions("cosign", "notation", name), async (t) => {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "sluice-enforce-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const tools = stack.use(await SigningTools.start());
    const registry = stack.use(await start());
    const images = await tools.fill(registry);
    const sluice = stack.use(await tools.sluice(registry));
    const rig = { tools, sluice, images, folder };

    await t.test("each is allowed by exactly the rules that ask for it", (t) => {
      return expectExactlyRight(t, rig);
    });
    for (const client of CLIENTS) {
      await t.test(`${client.name} gets what is allowed`, toolOptions(client.name), (t) => {
        return expectPulls(t, rig, client);
      });
    }
    await t.test("cosign verifies through it", (t) => verifyWithCosign(t, rig));
    await t.test("notation verifies through it", (t) => verifyWithNotation(t, rig));
    await t.test("signatures are found through it", toolOptions("oras"), (t) => {
      return findSignatures(t, rig);
    });
  });
}

async function expectExactlyRight(t: Test, { sluice, images }: Rig): Promise<void> {
  for (const { name, allowedBy } of images) {
    const answers = new Map<RuleName, string>();
    for (const rule of RULES) {
      const url = `${sluice.registry}/v2/${rule}.example/${name}/manifests/v1`;
      const response = await fetch(url);
      answers.set(rule, `${response.status} ${response.ok ? "" : await response.text()}`);
    }
    const allowed = RULES.filter((rule) => answers.get(rule)?.startsWith("200"));
    t.same(allowed, allowedBy, name, { answers: Object.fromEntries(answers) });
    const refused = [...answers.values()].filter((answer) => !answer.startsWith("200"));
    const whys = refused.filter((answer) => !/^403 .*"DENIED".*policy rule/.test(answer));
    t.same(whys, [], `${name}: the others say who refuses it`);
  }
}

async function expectPulls(t: Test, rig: Rig, client: Client): Promise<void> {
  for (const { name, artifact, allowedBy } of rig.images) {
    const [rule = "key"] = allowedBy;
    const { ran, digests } = await pullOnce(client, {
      host: rig.sluice.host,
      repository: `${rule}.example/${name}`,
      tag: "v1",
      folder: join(rig.folder, `${client.name}-${name}`),
    });
    if (allowedBy.length > 0) {
      t.equal(ran.code, 0, name, { output: ran.output });
      const missing = expectedDigests(artifact, client.keeps).filter(
        (digest) => !digests.includes(digest),
      );
      t.same(missing, [], `${name}: all of it arrived`);
    } else {
      t.not(ran.code, 0, name);
      t.match(ran.output, new RegExp(`policy rule .*key.* denies key.example/${name}`), name);
    }
  }
}

async function verifyWithCosign(t: Test, rig: Rig): Promise<void> {
  const { cosign } = rig.tools;
  for (const row of rig.images) {
    if (row.allowedBy.length > 0 && row.cosign !== undefined) {
      const { by, options } = row.cosign;
      const { code, output } = await cosign.verify(imageOf(rig, row), by, options);
      t.equal(code, 0, row.name, { output });
    }
    if (row.allowedBy.length > 0 && row.attests !== undefined) {
      const { options, attestations } = row.attests;
      for (const { type } of attestations) {
        const image = imageOf(rig, row);
        const { code, output } = await cosign.verifyAttestation(image, KEY, type, options);
        t.equal(code, 0, `${row.name}: ${type}`, { output });
      }
    }
  }
  const { code, output } = await cosign.verify(`${rig.sluice.host}/key.example/other-key:v1`, KEY);
  t.not(code, 0, "what is refused cannot be verified either");
  t.match(output, /policy rule .*key.* denies key\.example\/other-key/);
}

async function verifyWithNotation(t: Test, rig: Rig): Promise<void> {
  for (const row of rig.images) {
    if (row.allowedBy.length > 0 && row.notation !== undefined) {
      const { code, output } = await rig.tools.notation.verify(imageOf(rig, row));
      t.equal(code, 0, row.name, { output });
    }
  }
}

async function findSignatures(t: Test, rig: Rig): Promise<void> {
  const env = { HOME: rig.folder, XDG_CONFIG_HOME: rig.folder, DOCKER_CONFIG: rig.folder };
  const named = (name: string): string => {
    const row = rig.images.find((one) => one.name === name);
    return row === undefined ? "" : imageOf(rig, row);
  };
  const bundle = named("key-bundle");
  const notation = named("notation-jws");

  const tree = await run("cosign", ["tree", named("attested-tag")], { env });
  t.equal(tree.code, 0, tree.output);
  t.match(tree.output, /sha256-[0-9a-f]{64}\.att/);
  const download = await run("cosign", ["download", "signature", bundle], { env });
  t.equal(download.code, 0, download.output);
  t.match(download.stdout, /dsseEnvelope/);

  const layout = join(rig.folder, "with-signatures");
  const to = ["--from-plain-http", "--to-oci-layout", bundle, `${layout}:v1`];
  const copied = await run("oras", ["cp", "--recursive", "--no-tty", ...to], { env });
  t.equal(copied.code, 0, copied.output);
  const { manifests } = JSON.parse(await readFile(join(layout, "index.json"), "utf8")) as {
    readonly manifests: readonly { readonly artifactType?: string }[];
  };
  t.ok(
    manifests.some(({ artifactType }) => artifactType === BUNDLE_V03),
    "copied with it",
  );

  const list = await run("notation", ["ls", "--insecure-registry", notation], { env });
  t.equal(list.code, 0, list.output);
  t.match(list.output, /application\/vnd\.cncf\.notary\.signature\s+.*sha256:/);

  for (const [image, type] of [
    [bundle, BUNDLE_V03],
    [notation, NOTATION_SIGNATURE],
  ] as const) {
    const args = ["discover", "--plain-http", "--format", "json", image];
    const found = await run("oras", args, { env });
    t.equal(found.code, 0, found.output);
    t.ok(found.stdout.includes(type), image, { output: found.output });
  }
}

/** As it is called through Sluice, where it is allowed. */
function imageOf({ sluice }: Rig, { name, allowedBy, artifact }: SignedRowImage): string {
  return `${sluice.host}/${allowedBy[0]}.example/${name}@${artifact.top.digest}`;
}
