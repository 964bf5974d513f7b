import type { Test } from "tap";
import { expectedBlobs, expectedDigests } from "./arrived.ts";
import type { Client } from "./clients.ts";
import { pullOnce } from "./clients.ts";
import type { Item } from "./e2e-items.ts";
import type { Rig, RiggedSluice } from "./e2e-rig.ts";
import { blobFetches } from "./e2e-rig.ts";

/** One pull to make: by whom, of what, through which Sluice. */
export interface Pull {
  readonly client: Client;
  readonly item: Item;
  readonly sluice: RiggedSluice;
  readonly host?: string;
  readonly round?: string;
}

/** Pulls, and expects that all of the item arrived, as it was pushed. */
export async function expectPull(t: Test, rig: Rig, pull: Pull): Promise<void> {
  const { client, item, sluice, host = sluice.host, round = "once" } = pull;
  const request = rig.request(item, host, `${client.name}-${round}`);
  const { ran, digests } = await pullOnce(client, request);
  const what = `${client.name}, ${item.repository}, ${round}`;
  t.equal(ran.code, 0, what, { output: ran.output, log: sluice.process.logs.slice(-10) });
  const missing = expectedDigests(item.artifact, client.keeps).filter(
    (digest) => !digests.includes(digest),
  );
  t.same(missing, [], `${what}: all of it arrived`);
}

/** Of what was asked since the last look: each blob of the item was fetched once, and no other. */
export function expectEachBlobOnce(
  t: Test,
  sluice: RiggedSluice,
  item: Item,
  keeps: Client["keeps"],
): void {
  const fetches = blobFetches(sluice.served());
  const once = expectedBlobs(item.artifact, keeps).map((digest) => [digest, 1]);
  t.same(
    Object.fromEntries(fetches),
    Object.fromEntries(once),
    `${item.repository}: each blob once`,
  );
}
