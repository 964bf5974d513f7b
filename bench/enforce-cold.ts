import type { Download } from "./download.ts";
import type { Side } from "./enforce-pair.ts";
import { EnforcePair, SIDES, toPairRow, VERIFICATION } from "./enforce-pair.ts";
import type { Lab } from "./lab.ts";
import type { Row } from "./report.ts";
import { Samples } from "./report.ts";
import type { Format } from "./signed-upstream.ts";
import { repositoryOf } from "./signed-upstream.ts";
import type { Target } from "./wire.ts";

const IMAGES_A_ROUND = 40;
/** Code is compiled by the first ones; what a fresh process takes for its very first is shown, too. */
const WARM_UPS = 20;
const ADDED_MS_MAX = 30;
const FORMATS: Readonly<Record<Format, string>> = {
  bundle: "a bundle with certificate, log entry and timestamp",
  legacy: "cosign's older format, keyless",
  key: "a bundle by key",
};

/** The first pull of a signed image: what judging it adds, beyond the network. */
export async function enforceCold(lab: Lab): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const format of Object.keys(FORMATS) as Format[]) {
    rows.push(await EnforcePair.with(lab, (pair) => measure(lab, pair, format)));
    lab.options.say(`  ${format}`);
  }
  return rows;
}

export function manifestTarget(port: number, format: Format, reference: string): Target {
  return { port, path: `/v2/${repositoryOf(format)}/manifests/${reference}` };
}

/** @throws Error when one did not get all. */
export function mustHaveAll(downloads: readonly Download[]): readonly Download[] {
  const failed = downloads.find(({ error }) => error !== undefined);
  if (failed !== undefined) {
    throw new Error(failed.error);
  }
  return downloads;
}

async function measure(lab: Lab, pair: EnforcePair, format: Format): Promise<Row> {
  const count = WARM_UPS + lab.scaled(IMAGES_A_ROUND) * lab.options.rounds;
  const images = await pair.images(format, count);
  const pull = async (side: Side, reference: string): Promise<number> => {
    const target = manifestTarget(pair.sluices[side].port, format, reference);
    const [one] = mustHaveAll(await lab.fetchAll([target]));
    return one === undefined ? Number.NaN : one.endMs - one.startMs;
  };
  const first = new Map<Side, number>();
  for (const { digest } of images.slice(0, WARM_UPS)) {
    for (const side of SIDES) {
      const tookMs = await pull(side, digest);
      first.set(side, first.get(side) ?? tookMs);
    }
  }
  const measured = images.slice(WARM_UPS);
  const samples = new Samples<Side>();
  const before = await countsOf(pair);
  for (const [at, { digest }] of measured.entries()) {
    for (const side of at % 2 === 0 ? SIDES : SIDES.toReversed()) {
      samples.add(side, await pull(side, digest));
    }
  }
  const after = await countsOf(pair);
  const each = (name: keyof Counts): number => (after[name] - before[name]) / measured.length;
  const value = samples.difference("enforce", "off");
  const firstAdded = (first.get("enforce") ?? 0) - (first.get("off") ?? 0);
  return toPairRow({
    scenario: `policy in force: first pull, signed with ${FORMATS[format]}`,
    target: `≤ ${ADDED_MS_MAX} ms more than without a policy`,
    samples,
    unit: "ms",
    digits: 1,
    checks: [{ what: "added ms", value, digits: 1, limit: ADDED_MS_MAX, is: "at most" }],
    remark:
      `of what is added, cryptography ${(each("seconds") * 1000).toFixed(1)} ms; ` +
      `${each("enforceRequests").toFixed(1)} requests upstream instead of ${each("offRequests").toFixed(1)}; ` +
      `the very first of a process: ${firstAdded.toFixed(0)} ms added`,
  });
}

interface Counts {
  readonly seconds: number;
  readonly enforceRequests: number;
  readonly offRequests: number;
}

async function countsOf(pair: EnforcePair): Promise<Counts> {
  const requests = "sluice_upstream_requests_total";
  return {
    seconds: await pair.metric("enforce", `${VERIFICATION}_sum`),
    enforceRequests: await pair.metric("enforce", requests),
    offRequests: await pair.metric("off", requests),
  };
}
