/**
 * Simulates a rollout with caches in different places: see placement.md.
 *
 * Usage: node bench/placement.ts [--seed N] [--write]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Lab } from "./lab.ts";
import { checkPlacement } from "./placement-check.ts";
import { LAYOUTS } from "./placement-layouts.ts";
import type { Outcome } from "./placement-rollout.ts";
import { simulate } from "./placement-rollout.ts";
import type { World } from "./placement-world.ts";
import { WORLD } from "./placement-world.ts";
import type { Row } from "./report.ts";
import { writeBetweenMarkers } from "./report.ts";
import { formatNumber, quantile } from "./stats.ts";

interface Variant {
  readonly title: string;
  readonly change: Partial<World>;
  /** Without those that are bound by one link from the first to the last minute. */
  readonly isShared?: boolean;
}

const GIB = 2 ** 30;
const BITS = 8;
const GBIT = 1e9;

const VARIANTS: readonly Variant[] = [
  { title: "One registry, in one region", change: { upstream: "registry" } },
  { title: "A CDN in every region, manifests from one registry", change: { upstream: "cdn" } },
  {
    title: "One registry, and 1 Gbit/s into each region",
    change: { upstream: "registry", rates: { ...WORLD.rates, region: GBIT / BITS } },
    isShared: true,
  },
];

const HEAD = [
  "placement",
  "Sluices",
  "from upstream, GiB",
  "requests upstream (429)",
  "across regions, GiB",
  "across zones, GiB",
  "node ready p50, s",
  "p99, s",
  "last node, s",
  "busiest Sluice, Gbit/s",
  "disk of one / of all, GiB",
];

const toLine = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const gibibytes = (bytes: number): string => formatNumber(bytes / GIB, 0);

function toCells(outcome: Outcome): readonly string[] {
  const { traffic, sluices, requests, refusals, readySeconds } = outcome;
  const refused = refusals > 0 ? ` (${formatNumber(refusals, 0)})` : "";
  return [
    outcome.layout,
    formatNumber(sluices, 0),
    gibibytes(traffic.upstream),
    formatNumber(requests, 0) + refused,
    gibibytes(traffic.crossRegion),
    gibibytes(traffic.crossZone),
    formatNumber(quantile(readySeconds, 0.5), 0),
    formatNumber(quantile(readySeconds, 0.99), 0),
    formatNumber(outcome.lastSeconds, 0),
    traffic.peakOut > 0 ? formatNumber((traffic.peakOut * BITS) / GBIT, 1) : "–",
    sluices > 0 ? `${(outcome.diskMax / GIB).toFixed(1)} / ${gibibytes(outcome.diskAll)}` : "–",
  ];
}

/** All placements in all variants, as Markdown: the same text for the same seed. */
export function toPlacementTables(seed: number): string {
  return VARIANTS.map(({ title, change, isShared = false }) => {
    const world: World = { ...WORLD, ...change, seed };
    const layouts = LAYOUTS.filter((layout) => layout.isShared || !isShared);
    const rows = layouts.map((layout) => toLine(toCells(simulate(world, layout))));
    return [`### ${title}`, "", toLine(HEAD), toLine(HEAD.map(() => "---")), ...rows].join("\n");
  }).join("\n\n");
}

/** Prints the tables, and measures the corner of them that fits on one machine. */
export async function placement(lab: Lab): Promise<readonly Row[]> {
  console.log(`${toPlacementTables(WORLD.seed)}\n`);
  return await checkPlacement(lab);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { seed: { type: "string" }, write: { type: "boolean", default: false } },
  });
  const seed = Number(values.seed ?? WORLD.seed);
  if (!Number.isSafeInteger(seed)) {
    throw new Error(`--seed takes a whole number, not ${values.seed}`);
  }
  const text = toPlacementTables(seed);
  console.log(text);
  if (values.write) {
    await writeBetweenMarkers(join(import.meta.dirname, "placement.md"), text);
  }
}

if (import.meta.main) {
  await main();
}
