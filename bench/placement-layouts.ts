import { createHash } from "node:crypto";
import type { Site } from "./placement-topology.ts";
import type { World } from "./placement-world.ts";
import { Random } from "./placement-world.ts";

export interface NodeSite extends Site {
  readonly number: number;
  /** In its region. */
  readonly cluster: number;
}

/** Where the Sluices are, and who asks which. Objects and Sluices are numbers. */
export interface Plan {
  readonly sluices: readonly Site[];
  /** Undefined is the upstream. */
  readonly ofNode: (node: NodeSite, object: number) => number | undefined;
  readonly ofSluice: (sluice: number) => number | undefined;
  /** Each on the node that asks it. */
  readonly isOnNode: boolean;
  /** The replicas of a region share a bucket, and whoever comes second follows the one that fills. */
  readonly isFleet: boolean;
}

export interface Layout {
  readonly name: string;
  /** Whether nodes share what one of them has pulled. */
  readonly isShared: boolean;
  readonly plan: (world: World, nodes: readonly NodeSite[]) => Plan;
}

const NO_PARENT = (): undefined => undefined;
const ALONE = { ofSluice: NO_PARENT, isOnNode: false, isFleet: false };

/** So many in each region, the first in the first zone. */
function inEachRegion(world: World, count: number): Site[] {
  return Array.from({ length: world.regions * count }, (_, number) => ({
    region: Math.floor(number / count),
    zone: (number % count) % world.zonesPerRegion,
  }));
}

function replicas(world: World, isFleet: boolean): Plan {
  const random = new Random(world.seed + 1);
  return {
    ...ALONE,
    isFleet,
    sluices: inEachRegion(world, world.replicas),
    ofNode: ({ region }) => region * world.replicas + random.below(world.replicas),
  };
}

/** Rendezvous hashing: the replica whose hash with the digest is the largest. */
function hashed(world: World): Plan {
  const weigh = (object: number, sluice: number): string =>
    createHash("sha256").update(`${world.seed} ${object} ${sluice}`).digest("hex");
  const choose = (object: number, region: number): number =>
    Array.from({ length: world.replicas }, (_, n) => region * world.replicas + n)
      .map((sluice) => ({ sluice, weight: weigh(object, sluice) }))
      .reduce((a, b) => (b.weight > a.weight ? b : a)).sluice;
  const chosen = new Map<string, number>();
  return {
    ...ALONE,
    sluices: inEachRegion(world, world.replicas),
    ofNode: ({ region }, object) => {
      const key = `${region} ${object}`;
      const sluice = chosen.get(key) ?? choose(object, region);
      chosen.set(key, sluice);
      return sluice;
    },
  };
}

function tiers(world: World): Plan {
  const zones = inEachRegion(world, world.zonesPerRegion);
  return {
    ...ALONE,
    sluices: [...zones, ...inEachRegion(world, 1)],
    ofNode: ({ region, zone }) => region * world.zonesPerRegion + zone,
    ofSluice: (sluice) =>
      sluice < zones.length ? zones.length + Math.floor(sluice / world.zonesPerRegion) : undefined,
  };
}

export const LAYOUTS: readonly Layout[] = [
  { name: "no cache", isShared: false, plan: () => ({ ...ALONE, sluices: [], ofNode: NO_PARENT }) },
  {
    name: "one a node",
    isShared: false,
    plan: (_world, nodes) => ({
      ...ALONE,
      isOnNode: true,
      sluices: nodes,
      ofNode: ({ number }) => number,
    }),
  },
  {
    name: "one a cluster",
    isShared: true,
    plan: (world) => ({
      ...ALONE,
      sluices: inEachRegion(world, world.clustersPerRegion),
      ofNode: ({ region, cluster }) => region * world.clustersPerRegion + cluster,
    }),
  },
  {
    name: "one a zone",
    isShared: true,
    plan: (world) => ({
      ...ALONE,
      sluices: inEachRegion(world, world.zonesPerRegion),
      ofNode: ({ region, zone }) => region * world.zonesPerRegion + zone,
    }),
  },
  {
    name: "3 replicas a region, each for itself",
    isShared: true,
    plan: (world) => replicas(world, false),
  },
  {
    name: "3 replicas a region, one fill for all",
    isShared: true,
    plan: (world) => replicas(world, true),
  },
  { name: "3 replicas a region, hashed by digest", isShared: true, plan: hashed },
  { name: "tiers: one a zone, behind one a region", isShared: true, plan: tiers },
];

export function nodesOf(world: World): NodeSite[] {
  const { regions, nodesPerRegion, clustersPerRegion, zonesPerRegion } = world;
  return Array.from({ length: regions * nodesPerRegion }, (_, number) => ({
    number,
    region: Math.floor(number / nodesPerRegion),
    cluster: number % clustersPerRegion,
    zone: Math.floor((number % nodesPerRegion) / clustersPerRegion) % zonesPerRegion,
  }));
}
