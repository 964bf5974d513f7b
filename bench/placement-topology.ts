import { Network } from "./placement-network.ts";
import type { World } from "./placement-world.ts";
import { Random, WINDOW_BYTES } from "./placement-world.ts";

export interface Site {
  readonly region: number;
  /** In its region. */
  readonly zone: number;
}

/** Which way bytes go, and what that costs. */
export interface Path {
  readonly links: readonly number[];
  /** Of one connection; bytes a second. */
  readonly streamRate: number;
  /** From a request to its first byte, in seconds. */
  readonly latency: number;
  readonly fromUpstream: boolean;
  readonly crossesRegion: boolean;
  readonly crossesZone: boolean;
  /** Whose egress it is; undefined where no Sluice hands it out. */
  readonly sluice: number | undefined;
}

/** The registry's own; also where metadata of the CDN is. */
const ORIGIN = 0;

/** All links of the world, and the ways through them. */
export class Topology {
  readonly network: Network = new Network();
  readonly #world: World;
  readonly #registry: number;
  readonly #cdn: readonly number[];
  readonly #regionIn: readonly number[];
  readonly #originOut: number;
  readonly #zoneIn: readonly number[];
  readonly #zoneOut: readonly number[];
  readonly #originRtt: readonly number[];
  readonly #sluiceIn: number[] = [];
  readonly #sluiceOut: number[] = [];

  constructor(world: World) {
    const { rates, times, regions, zonesPerRegion, seed } = world;
    const random = new Random(seed);
    const links = (count: number, rate: number): number[] =>
      Array.from({ length: count }, () => this.network.addLink(rate));
    this.#world = world;
    this.#registry = this.network.addLink(rates.registry);
    this.#originOut = this.network.addLink(rates.originRegion);
    this.#cdn = links(regions, rates.cdn);
    this.#regionIn = links(regions, rates.region);
    this.#zoneIn = links(regions * zonesPerRegion, rates.zone);
    this.#zoneOut = links(regions * zonesPerRegion, rates.zone);
    const spread = times.interRegionRttMax - times.interRegionRttMin;
    this.#originRtt = Array.from({ length: regions }, (_, region) =>
      region === ORIGIN ? times.regionRtt : times.interRegionRttMin + random.next() * spread,
    );
  }

  /** Adds the links of one more Sluice that has a machine of its own. */
  addSluice(): void {
    this.#sluiceIn.push(this.network.addLink(this.#world.rates.sluiceFill));
    this.#sluiceOut.push(this.network.addLink(this.#world.rates.sluiceOut));
  }

  /** @param into the Sluice that is filled, undefined for a node */
  fromUpstream(to: Site, into: number | undefined, isLayer: boolean): Path {
    const { times, rates, upstream } = this.#world;
    const isCdn = upstream === "cdn" && isLayer;
    const isFar = !isCdn && to.region !== ORIGIN;
    const rtt = isCdn ? times.cdnRtt : (this.#originRtt[to.region] ?? 0);
    const source = isCdn ? [this.#cdn[to.region] ?? 0] : [this.#registry];
    const way = isFar ? [this.#originOut, this.#regionIn[to.region] ?? 0] : [];
    return {
      links: [...source, ...way, this.#zoneInOf(to), ...this.#into(into)],
      streamRate: Math.min(rates.upstreamStream, WINDOW_BYTES / rtt),
      latency: rtt + times.upstreamFirstByte,
      fromUpstream: true,
      crossesRegion: isFar,
      crossesZone: false,
      sluice: undefined,
    };
  }

  /** @param into the Sluice that is filled, undefined for a node */
  fromSluice(from: Site & { readonly sluice: number }, to: Site, into: number | undefined): Path {
    const { times } = this.#world;
    const crossesZone = from.zone !== to.zone;
    const rtt = crossesZone ? times.regionRtt : times.zoneRtt;
    const zones = crossesZone ? [this.#zoneOutOf(from), this.#zoneInOf(to)] : [];
    return {
      links: [this.#sluiceOut[from.sluice] ?? 0, ...zones, ...this.#into(into)],
      streamRate: WINDOW_BYTES / rtt,
      latency: rtt + times.sluiceFirstByte,
      fromUpstream: false,
      crossesRegion: false,
      crossesZone,
      sluice: from.sluice,
    };
  }

  /** From the bucket of a region, that has no limit but that of a connection. */
  fromBucket(into: number): Path {
    const { times, rates } = this.#world;
    return {
      links: this.#into(into),
      streamRate: rates.upstreamStream,
      latency: times.regionRtt + times.upstreamFirstByte,
      fromUpstream: false,
      crossesRegion: false,
      crossesZone: false,
      sluice: undefined,
    };
  }

  /** Within a node: no network at all. */
  loopback(): Path {
    return {
      links: [],
      streamRate: this.#world.rates.sluiceOut,
      latency: this.#world.times.sluiceFirstByte,
      fromUpstream: false,
      crossesRegion: false,
      crossesZone: false,
      sluice: undefined,
    };
  }

  /** One on a node has no link of its own: the node's network card is its limit. */
  #into(sluice: number | undefined): readonly number[] {
    const link = sluice === undefined ? undefined : this.#sluiceIn[sluice];
    return link === undefined ? [] : [link];
  }

  #zoneInOf({ region, zone }: Site): number {
    return this.#zoneIn[region * this.#world.zonesPerRegion + zone] ?? 0;
  }

  #zoneOutOf({ region, zone }: Site): number {
    return this.#zoneOut[region * this.#world.zonesPerRegion + zone] ?? 0;
  }
}
