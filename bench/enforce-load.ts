import { setTimeout as sleep } from "node:timers/promises";
import { manifestTarget, mustHaveAll } from "./enforce-cold.ts";
import type { Side } from "./enforce-pair.ts";
import { EnforcePair, SIDES, toPairRow, VERIFICATION } from "./enforce-pair.ts";
import type { Lab } from "./lab.ts";
import { mebibytes, totalSeconds } from "./lab.ts";
import { memoryOf } from "./memory.ts";
import type { Paced } from "./pace.ts";
import type { Row } from "./report.ts";
import { Samples } from "./report.ts";
import { quantile } from "./stats.ts";

const AT_ONCE = 100;
const PACE = { intervalMs: 5, durationMs: 5000 } as const;
/** Hits are asked for alone first, so that the connection is open and the code is warm. */
const LEAD_MS = 500;
const P99_MS_MAX = 100;
const KEPT_CONNECTIONS = 32;
const HERD = 50;
const VERIFICATIONS = 1000;
const VERIFICATIONS_AT_ONCE = 8;
const SETTLE_MS = 1000;
const WARM_UPS = 20;

/**
 * Many first pulls at once: what hits wait meanwhile. A connection that is new waits for all that
 * were opened before it, since node takes in one each time it looks: that is told apart.
 */
export async function enforceBurst(lab: Lab): Promise<readonly Row[]> {
  return await EnforcePair.with(lab, async (pair) => {
    const [hit, ...warmUps] = await pair.images("bundle", 1 + WARM_UPS);
    for (const side of SIDES) {
      const { port } = pair.sluices[side];
      for (const { digest } of [hit, ...warmUps].flatMap((one) => one ?? [])) {
        mustHaveAll(await lab.fetchAll([manifestTarget(port, "bundle", digest)]));
      }
    }
    const about = { lab, pair, hit: hit?.digest ?? "" };
    const kept = await burst({ ...about, connections: KEPT_CONNECTIONS });
    const fresh = await burst({ ...about, connections: 0 });
    const title = `while ${AT_ONCE} first pulls are verified at once: p99`;
    const value = kept.p99.spread("enforce")?.max;
    const shared = { unit: "ms", digits: 1 } as const;
    return [
      toPairRow({
        scenario: `policy in force: hits on open connections ${title}`,
        target: `< ${P99_MS_MAX} ms`,
        samples: kept.p99,
        checks: [{ what: "ms", value, digits: 1, limit: P99_MS_MAX, is: "at most" }],
        remark: kept.remark,
        ...shared,
      }),
      toPairRow({
        scenario: `policy in force: hits on new connections ${title}`,
        target: "for comparison",
        samples: fresh.p99,
        checks: [],
        remark: fresh.remark,
        ...shared,
      }),
    ];
  });
}

interface BurstOptions {
  readonly lab: Lab;
  readonly pair: EnforcePair;
  /** What is asked for all the time, and was judged before. */
  readonly hit: string;
  readonly connections: number;
}

async function burst(
  options: BurstOptions,
): Promise<{ readonly p99: Samples<Side>; readonly remark: string }> {
  const { lab, pair, hit, connections } = options;
  const p99 = new Samples<Side>();
  const took = new Samples<Side>();
  for (let round = 0; round < lab.options.rounds; round += 1) {
    const images = await pair.images("bundle", AT_ONCE);
    for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
      const { port } = pair.sluices[side];
      const pacing = lab.pace(manifestTarget(port, "bundle", hit), { ...PACE, connections });
      await sleep(LEAD_MS);
      const cold = images.map(({ digest }) => manifestTarget(port, "bundle", digest));
      const downloads = mustHaveAll(await lab.fetchAll(cold));
      const startMs = Math.min(...downloads.map((one) => one.startMs));
      const endMs = Math.max(...downloads.map((one) => one.endMs));
      took.add(side, (endMs - startMs) / 1000);
      p99.add(side, quantile(latenciesWithin(await pacing, startMs, endMs), 0.99));
    }
  }
  const seconds = took.spread("enforce")?.median ?? Number.NaN;
  return { p99, remark: `all ${AT_ONCE} done after ${seconds.toFixed(2)} s` };
}

/** @throws Error when the hits ended before the burst did. */
function latenciesWithin(paced: readonly Paced[], startMs: number, endMs: number): number[] {
  const lastMs = Math.max(...paced.map(({ dueMs }) => dueMs));
  if (lastMs < endMs) {
    throw new Error("the first pulls took longer than the hits went on");
  }
  return paced
    .filter(({ dueMs, latencyMs }) => dueMs < endMs && dueMs + latencyMs > startMs)
    .map(({ latencyMs }) => latencyMs);
}

/** Many clients who want one signed index that nobody has judged yet. */
export async function enforceHerd(lab: Lab): Promise<readonly Row[]> {
  const seconds = new Samples<Side>();
  const verifications: number[] = [];
  await EnforcePair.with(lab, async (pair) => {
    for (let round = 0; round < lab.options.rounds; round += 1) {
      const { digest } = await pair.signedIndex("bundle");
      for (const side of SIDES) {
        const before = await pair.metric(side, `${VERIFICATION}_count`);
        const target = manifestTarget(pair.sluices[side].port, "bundle", digest);
        const downloads = await lab.fetchAll(Array.from({ length: HERD }, () => target));
        seconds.add(side, totalSeconds(mustHaveAll(downloads)));
        if (side === "enforce") {
          verifications.push((await pair.metric(side, `${VERIFICATION}_count`)) - before);
        }
      }
    }
  });
  const value = Math.max(...verifications);
  const row = toPairRow({
    scenario: `policy in force: ${HERD} first pulls of one signed index at once: the slowest`,
    target: "1 verification",
    samples: seconds,
    unit: "s",
    digits: 3,
    checks: [{ what: "verifications", value, digits: 0, limit: 1, is: "at most" }],
  });
  return [row];
}

/** What a policy takes of memory: idle, and once it has verified a lot. */
export async function enforceMemory(lab: Lab): Promise<readonly Row[]> {
  return await EnforcePair.with(lab, async (pair) => {
    const idle = new Samples<Side>();
    const used = new Samples<Side>();
    const rssOf = async (side: Side): Promise<number> => {
      const { process } = pair.sluices[side];
      return mebibytes((await memoryOf(process.pid)).rssBytes);
    };
    await sleep(SETTLE_MS);
    for (const side of SIDES) {
      idle.add(side, await rssOf(side));
    }
    const count = lab.scaled(VERIFICATIONS);
    const images = await pair.images("bundle", count);
    for (const side of SIDES) {
      const { port } = pair.sluices[side];
      for (let at = 0; at < count; at += VERIFICATIONS_AT_ONCE) {
        const some = images.slice(at, at + VERIFICATIONS_AT_ONCE);
        const targets = some.map(({ digest }) => manifestTarget(port, "bundle", digest));
        mustHaveAll(await lab.fetchAll(targets));
      }
      await sleep(SETTLE_MS);
      used.add(side, await rssOf(side));
    }
    const shared = { target: "for comparison", unit: "MiB", digits: 0, checks: [] } as const;
    return [
      toPairRow({ scenario: "policy in force: idle RSS", samples: idle, ...shared }),
      toPairRow({
        scenario: `policy in force: RSS after ${count} first pulls`,
        samples: used,
        ...shared,
      }),
    ];
  });
}
