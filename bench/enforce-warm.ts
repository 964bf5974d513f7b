import type { Side } from "./enforce-pair.ts";
import { EnforcePair, SIDES, toPairRow } from "./enforce-pair.ts";
import type { Lab } from "./lab.ts";
import { MIB, mebibytes, totalSeconds } from "./lab.ts";
import { blobPath } from "./peers.ts";
import type { Row } from "./report.ts";
import { Samples } from "./report.ts";
import { repositoryOf } from "./signed-upstream.ts";

const CONNECTIONS = 32;
/** Short, and many of them: both sides meet the same moments of a machine. */
const REQUESTS_MS = 1500;
const PAIRS_A_ROUND = 3;
const WARM_UPS = 3;
const SMALL_BYTES = 4096;
const LARGE_BYTES = 256 * MIB;
const LARGE_CLIENTS = 4;
const RATIO_MIN = 0.9;

type Measure = (port: number) => Promise<number>;

/** What a policy costs a pull of what was judged before. */
export async function enforceWarm(lab: Lab): Promise<readonly Row[]> {
  return await EnforcePair.with(lab, async (pair) => {
    const [image] = await pair.images("bundle", 1);
    const small = await pair.blob(SMALL_BYTES, { isJson: true });
    const sizeBytes = lab.scaled(LARGE_BYTES);
    const large = await pair.blob(sizeBytes, { isJson: false });
    const manifests = `/v2/${repositoryOf("bundle")}/manifests`;
    const asked = (path: string): Measure => {
      return async (port) => {
        const durationMs = lab.scaled(REQUESTS_MS);
        const outcome = await lab.ask({ port, path }, CONNECTIONS, durationMs);
        if (outcome.failures > 0) {
          throw new Error(`${outcome.failures} of ${outcome.requests} requests failed`);
        }
        return outcome.requests / (outcome.elapsedMs / 1000);
      };
    };
    const read: Measure = async (port) => {
      const downloads = await lab.download(port, large, { clients: LARGE_CLIENTS });
      return mebibytes(sizeBytes * LARGE_CLIENTS) / totalSeconds(downloads);
    };
    const rows: readonly (readonly [string, string, Measure])[] = [
      ["manifest by digest", "req/s", asked(`${manifests}/${image?.digest}`)],
      ["manifest by tag", "req/s", asked(`${manifests}/${image?.tag}`)],
      [`blob of ${SMALL_BYTES} bytes`, "req/s", asked(blobPath(small))],
      [`blob of ${mebibytes(sizeBytes)} MiB, ${LARGE_CLIENTS} at once`, "MiB/s", read],
    ];
    const done: Row[] = [];
    for (const [what, unit, measure] of rows) {
      done.push(await compare(lab, pair, { what, unit, measure }));
    }
    return done;
  });
}

interface Comparison {
  readonly what: string;
  readonly unit: string;
  readonly measure: Measure;
}

async function compare(lab: Lab, pair: EnforcePair, comparison: Comparison): Promise<Row> {
  const { what, unit, measure } = comparison;
  const samples = new Samples<Side>();
  for (const side of SIDES) {
    for (let at = 0; at < WARM_UPS; at += 1) {
      await measure(pair.sluices[side].port);
    }
  }
  for (let round = 0; round < lab.options.rounds * PAIRS_A_ROUND; round += 1) {
    // Who is second finds another machine than who is first.
    for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
      samples.add(side, await measure(pair.sluices[side].port));
    }
  }
  lab.options.say(`  ${what}`);
  const value = samples.ratio("enforce", "off");
  return toPairRow({
    scenario: `policy in force: warm ${what}`,
    target: `≥ ${RATIO_MIN} × without a policy`,
    samples,
    unit,
    digits: 0,
    checks: [{ what: "off", value, digits: 2, limit: RATIO_MIN, is: "at least" }],
  });
}
