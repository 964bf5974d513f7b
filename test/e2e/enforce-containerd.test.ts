import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { expectedDigests } from "../support/arrived.ts";
import type { ContainerdVersion } from "../support/containerd.ts";
import { CONTAINERD_VERSIONS, Containerd } from "../support/containerd.ts";
import { CountingProxy } from "../support/counting-proxy.ts";
import { addRealImage } from "../support/enforce-images.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import type { Artifact } from "../support/image-builder.ts";
import { multiPlatformImage, smallImage } from "../support/image-builder.ts";
import { byKey, byOtherKey, key } from "../support/policy-rig.ts";
import type { Sign } from "../support/signed-images.ts";
import { SluiceProcess } from "../support/sluice-process.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

const REPOSITORY = "team/app";

// Images are named after the registry itself, by its address: that is where containerd goes when
// nothing keeps it from going there. What it asks there passes a proxy of its own and is counted;
// what Sluice asks does not pass it.

interface Node {
  readonly containerd: Containerd;
  readonly sluice: SluiceProcess;
  readonly upstream: FakeUpstream;
  /** Where containerd would find the registry. */
  readonly origin: CountingProxy;
}

const IMAGES = {
  index: await multiPlatformImage("signed-index"),
  image: await smallImage("signed-image"),
  unsigned: await smallImage("unsigned"),
  unsignedIndex: await multiPlatformImage("unsigned-index"),
  stranger: await smallImage("stranger"),
} as const satisfies Record<string, Artifact>;

for (const version of CONTAINERD_VERSIONS) {
  const tools = toolOptions(version.daemon, version.ctr);
  t.test(`${version.name} gets what is allowed, and nothing else`, tools, async (t) => {
    const node = await startNode(t, version);
    await node.containerd.useMirror(node.sluice.registry, [node.origin.host]);
    await expectWhole(t, node, "v1", IMAGES.index);
    await expectWhole(t, node, `@${IMAGES.image.top.digest}`, IMAGES.image);
    for (const artifact of [IMAGES.unsigned, IMAGES.unsignedIndex, IMAGES.stranger]) {
      await expectRefused(t, node, `@${artifact.top.digest}`, "not signed by key cosign.pub");
    }
    for (const tag of ["unsigned", "unsigned-index", "stranger"]) {
      await expectRefused(t, node, tag, "not signed by key cosign.pub");
    }
    t.same(node.origin.take(), [], "containerd never asked the registry itself");
  });

  t.test(`${version.name} gets a child once its index is allowed`, tools, async (t) => {
    const node = await startNode(t, version);
    await node.containerd.useMirror(node.sluice.registry, [node.origin.host]);
    const [child] = IMAGES.index.manifests;
    const byDigest = `@${child?.digest}`;
    await expectRefused(t, node, byDigest, "not signed by key cosign.pub");
    await expectWhole(t, node, "v1", IMAGES.index);
    const { code, output } = await node.containerd.pull(imageOf(node, byDigest));
    t.equal(code, 0, output);
    t.same(node.origin.take(), [], "containerd never asked the registry itself");
  });

  t.test(`${version.name} goes past a mirror that is only a mirror`, tools, async (t) => {
    const node = await startNode(t, version);
    await useMirrorOnly(node);
    const unsigned = imageOf(node, "unsigned");
    const { code, output } = await node.containerd.pull(unsigned);
    t.equal(code, 0, output);
    const asked = node.origin.take().filter(({ status }) => status === 200);
    t.match(asked, [{ path: new RegExp(`^/v2/${REPOSITORY}/manifests/unsigned`) }]);
    await node.containerd.remove([unsigned]);

    await rm(node.containerd.hostsFolder, { recursive: true });
    await node.containerd.useMirror(node.sluice.registry, [node.origin.host]);
    await expectRefused(t, node, "unsigned", "not signed by key cosign.pub");
    node.upstream.on({ path: /\/referrers\// }, { status: 500 });
    const doubtful = await node.containerd.pull(imageOf(node, `@${IMAGES.stranger.top.digest}`));
    t.match(doubtful.output, /503 Service Unavailable/, "signatures cannot be looked up");
    await node.sluice.kill();
    for (const reference of ["unsigned", "v1"]) {
      t.not((await node.containerd.pull(imageOf(node, reference))).code, 0, "nobody is there");
    }
    t.same(node.origin.take(), [], "and there is no such way round what sluice hosts writes");
  });
}

async function startNode(t: Test, version: ContainerdVersion): Promise<Node> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const add = async (tag: string, artifact: Artifact, ...signatures: Sign[]): Promise<void> => {
    await addRealImage(upstream, { repository: REPOSITORY, tag, artifact, signatures });
  };
  await add("v1", IMAGES.index, byKey);
  await add("image", IMAGES.image, byKey);
  await add("unsigned", IMAGES.unsigned);
  await add("unsigned-index", IMAGES.unsignedIndex);
  await add("stranger", IMAGES.stranger, byOtherKey);
  const origin = await CountingProxy.start(upstream.url);
  t.teardown(() => origin[Symbol.asyncDispose]());
  const sluice = await SluiceProcess.start({
    config: {
      upstreams: { "team.example": { url: upstream.url, aliases: [origin.host] } },
      policy: {
        unmatched: "deny",
        rules: [
          {
            name: "team",
            match: ["team.example/**"],
            signatures: { any: [{ key: { file: "cosign.pub", log: "ignore" } }] },
          },
        ],
      },
    },
    files: { "cosign.pub": key.publicKeyPem },
  });
  t.teardown(() => sluice[Symbol.asyncDispose]());
  const containerd = await Containerd.start(version);
  t.teardown(() => containerd[Symbol.asyncDispose]());
  return { containerd, sluice, upstream, origin };
}

/** As most guides write it: the registry itself stays the last place to ask. */
async function useMirrorOnly({ containerd, sluice }: Node): Promise<void> {
  const folder = join(containerd.hostsFolder, "_default");
  await mkdir(folder, { recursive: true });
  const lines = [`[host."${sluice.registry}"]`, '  capabilities = ["pull", "resolve"]', ""];
  await writeFile(join(folder, "hosts.toml"), lines.join("\n"));
}

/** A tag, or a digest after its `@`. */
function imageOf({ origin }: Node, reference: string): string {
  return `${origin.host}/${REPOSITORY}${reference.startsWith("@") ? "" : ":"}${reference}`;
}

async function expectWhole(
  t: Test,
  node: Node,
  reference: string,
  artifact: Artifact,
): Promise<void> {
  const { code, output } = await node.containerd.pull(imageOf(node, reference));
  t.equal(code, 0, output);
  const digests = await node.containerd.digests();
  const missing = expectedDigests(artifact, "platform").filter((one) => !digests.includes(one));
  t.same(missing, [], `${reference}: all of it arrived`);
}

async function expectRefused(t: Test, node: Node, reference: string, why: string): Promise<void> {
  const { code, output } = await node.containerd.pull(imageOf(node, reference));
  t.not(code, 0, reference);
  // The reason phrase: all that containerd before 2.3 shows of an answer to HEAD.
  t.match(output, /403 Forbidden - policy rule "team" denies team\.example\/team\/app/);
  t.ok(output.includes(why), reference, { output, why });
}
