import type { Test } from "tap";
import t from "tap";
import { expectedBlobs, expectedDigests } from "../support/arrived.ts";
import type { ContainerdVersion } from "../support/containerd.ts";
import { CONTAINERD_VERSIONS, Containerd } from "../support/containerd.ts";
import type { Item } from "../support/e2e-items.ts";
import { UPSTREAMS } from "../support/e2e-items.ts";
import type { RiggedSluice } from "../support/e2e-rig.ts";
import { blobFetches, Rig } from "../support/e2e-rig.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

t.test("containerd pulls", toolOptions("docker-registry", "distribution-3"), async (t) => {
  const rig = await Rig.start();
  t.teardown(() => rig[Symbol.asyncDispose]());
  for (const version of CONTAINERD_VERSIONS) {
    const tools = toolOptions(version.daemon, version.ctr);
    t.test(`${version.name} pulls cold, warm, and without upstreams`, tools, (t) =>
      pullThreeTimes(t, rig, version),
    );
    t.test(`${version.name} shows why it cannot pull`, tools, (t) => pullInVain(t, rig, version));
  }
});

async function pullThreeTimes(t: Test, rig: Rig, version: ContainerdVersion): Promise<void> {
  await using sluice = await rig.sluice();
  await using containerd = await Containerd.start(version);
  await containerd.useMirror(sluice.process.registry, UPSTREAMS);
  const items = rig.items.filter((item) => item.isImage);
  for (const item of items) {
    await expectPull(t, { containerd, item, sluice, round: "cold" });
    const fetches = blobFetches(sluice.served());
    t.same([...new Set(fetches.values())], [1], `${item.repository}: no blob twice`);
    const missing = expectedBlobs(item.artifact, "platform").filter((blob) => !fetches.has(blob));
    t.same(missing, [], `${item.repository}: every blob came from the upstream`);
  }
  await forget(t, containerd, items);
  for (const item of items) {
    await expectPull(t, { containerd, item, sluice, round: "warm" });
  }
  const asked = sluice.served().filter((passed) => passed.method === "GET");
  t.same(asked, [], "the warm round fetched nothing");
  await forget(t, containerd, items);
  await sluice.stopUpstreams();
  for (const item of items) {
    await expectPull(t, { containerd, item, sluice, round: "without upstreams" });
  }
}

async function pullInVain(t: Test, rig: Rig, version: ContainerdVersion): Promise<void> {
  await using containerd = await Containerd.start(version);
  await using sluice = await rig.sluice({ password: "wrong" });
  await containerd.useMirror(sluice.process.registry, UPSTREAMS);
  for (const item of [rig.item("app/legacy"), rig.item("app/multi")]) {
    const { code, output } = await containerd.pull(imageOf(item));
    t.not(code, 0, "a wrong password");
    // The reason phrase: all that containerd before 2.3 shows of an answer to HEAD.
    t.match(output, new RegExp(`403 Forbidden - .*${item.upstream}.*(?:credential|password)`));
  }
  const unknown = await containerd.pull("other.example/app/web:v1");
  t.not(unknown.code, 0, "a registry that is not configured");
  t.match(unknown.output, /403 Forbidden - .*other\.example/);

  await using allowed = await rig.sluice();
  await containerd.useMirror(allowed.process.registry, UPSTREAMS);
  const missing = await containerd.pull("team.example/app/legacy:no-such-tag");
  t.not(missing.code, 0, "a tag that does not exist");
  t.match(missing.output, /not found/);
}

interface Pull {
  readonly containerd: Containerd;
  readonly item: Item;
  readonly sluice: RiggedSluice;
  readonly round: string;
}

async function expectPull(t: Test, { containerd, item, sluice, round }: Pull): Promise<void> {
  const image = imageOf(item);
  const { code, output } = await containerd.pull(image);
  t.equal(code, 0, `${image}, ${round}`, { output, log: sluice.process.logs.slice(-10) });
  t.equal(await containerd.digestOf(image), item.artifact.top.digest, "the tag's own manifest");
  const digests = await containerd.digests();
  const missing = expectedDigests(item.artifact, "platform").filter(
    (digest) => !digests.includes(digest),
  );
  t.same(missing, [], `${image}, ${round}: all of it arrived`);
}

/** A pull finds nothing left of an earlier one. */
async function forget(t: Test, containerd: Containerd, items: readonly Item[]): Promise<void> {
  const { output } = await containerd.remove(items.map(imageOf));
  t.same(await containerd.digests(), [], output);
}

function imageOf({ upstream, repository, tag }: Item): string {
  return `${upstream}/${repository}:${tag}`;
}
