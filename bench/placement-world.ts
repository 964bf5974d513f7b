/** Where blobs come from: one registry in one region, or a CDN with a point of presence in each. */
export type UpstreamKind = "registry" | "cdn";

/** What the simulation stands on. Rates are bytes a second, times seconds, sizes bytes. */
export interface World {
  readonly seed: number;
  readonly upstream: UpstreamKind;
  readonly regions: number;
  readonly zonesPerRegion: number;
  /** Each spans all zones of its region. */
  readonly clustersPerRegion: number;
  readonly nodesPerRegion: number;
  /** Of Sluice in a region, where a placement has them. */
  readonly replicas: number;
  /** Index, manifest and configuration, asked one after the other, then the layers. */
  readonly metadataBytes: readonly number[];
  readonly layerBytes: readonly number[];
  readonly layersAtOnce: number;
  readonly maxUnavailable: number;
  readonly rates: Rates;
  readonly times: Times;
  readonly requests: RequestLimit;
}

export interface Rates {
  readonly node: number;
  readonly sluiceOut: number;
  /** What one Sluice hashes and stores. */
  readonly sluiceFill: number;
  readonly zone: number;
  readonly region: number;
  readonly originRegion: number;
  readonly registry: number;
  /** Of the CDN in one region. */
  readonly cdn: number;
  /** Of one connection to the upstream, however near. */
  readonly upstreamStream: number;
  /** Compressed bytes, one layer after the other. */
  readonly unpack: number;
}

export interface Times {
  readonly zoneRtt: number;
  readonly regionRtt: number;
  readonly cdnRtt: number;
  readonly interRegionRttMin: number;
  readonly interRegionRttMax: number;
  /** From a request to the first byte, at the upstream and at a Sluice. */
  readonly upstreamFirstByte: number;
  readonly sluiceFirstByte: number;
  /** From the image being there to the pod being ready. */
  readonly start: number;
  readonly clusterStartSpread: number;
}

/** What the upstream answers before it says 429: a token bucket for all clients together. */
export interface RequestLimit {
  readonly perSecond: number;
  readonly burst: number;
}

const MIB = 1_048_576;
const GBIT = 1e9 / 8;

/** The receive window that Linux allows a socket: no connection is faster than this a round trip. */
export const WINDOW_BYTES: number = 6 * MIB;

export const WORLD: World = {
  seed: 1,
  upstream: "registry",
  regions: 20,
  zonesPerRegion: 3,
  clustersPerRegion: 3,
  nodesPerRegion: 500,
  replicas: 3,
  metadataBytes: [2000, 3000, 9000],
  layerBytes: [29, 64, 12, 870, 640, 210, 150, 48, 20, 5].map((mebibytes) => mebibytes * MIB),
  layersAtOnce: 3,
  maxUnavailable: 0.25,
  rates: {
    node: 10 * GBIT,
    sluiceOut: 25 * GBIT,
    sluiceFill: 500e6,
    zone: 200 * GBIT,
    region: 20 * GBIT,
    originRegion: 100 * GBIT,
    registry: 40 * GBIT,
    cdn: 100 * GBIT,
    upstreamStream: 80e6,
    unpack: 150e6,
  },
  times: {
    zoneRtt: 0.0005,
    regionRtt: 0.0015,
    cdnRtt: 0.01,
    interRegionRttMin: 0.03,
    interRegionRttMax: 0.2,
    upstreamFirstByte: 0.05,
    sluiceFirstByte: 0.003,
    start: 5,
    clusterStartSpread: 10,
  },
  requests: { perSecond: 10_000 / 60, burst: 1000 },
};

export function objectBytes(world: World): readonly number[] {
  return [...world.metadataBytes, ...world.layerBytes];
}

/** Numbers from 0 to 1 that are the same for the same seed, on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d_2b_79_f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, at: this.next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ item }) => item);
  }
}
