import assert from "node:assert/strict";
import { Agenda } from "./placement-agenda.ts";
import type { Layout, NodeSite, Plan } from "./placement-layouts.ts";
import { nodesOf } from "./placement-layouts.ts";
import { Supply } from "./placement-sources.ts";
import { Topology } from "./placement-topology.ts";
import type { Card, Traffic } from "./placement-transfers.ts";
import { Transfers } from "./placement-transfers.ts";
import type { World } from "./placement-world.ts";
import { objectBytes, Random } from "./placement-world.ts";

/** What came of one placement; bytes, seconds, bytes a second. */
export interface Outcome {
  readonly layout: string;
  readonly traffic: Traffic;
  readonly requests: number;
  /** Of the requests: answered with 429. */
  readonly refusals: number;
  /** Of each node, from its turn to its pod being ready, in order of size. */
  readonly readySeconds: readonly number[];
  /** Of each node, until it has all bytes. */
  readonly pullSeconds: readonly number[];
  /** From the start of the rollout to the last pod. */
  readonly lastSeconds: number;
  readonly sluices: number;
  /** Of the fullest Sluice, and of all with the buckets. */
  readonly diskMax: number;
  readonly diskAll: number;
}

/** A step is a small part of what is over already, and of the shortest pull until now. */
const STEP_SHARE = 1 / 150;
/** Some nodes are near the registry and done early: in a long rollout they do not set the pace. */
const LATE_SHARE = 1 / 600;
const STEP_MIN = 0.05;
const STEP_MAX = 4;
/** How long a kubelet waits after a failed pull. */
const BACKOFF_MIN = 10;
const BACKOFF_MAX = 300;
/** A simulation that takes longer has lost somebody. */
const LAST_MAX = 200_000;

/** One node that pulls the image: the metadata one after the other, then some layers at a time. */
class Node {
  readonly site: NodeSite;
  readonly card: Card;
  readonly startedAt: number;
  readonly doneAt: number[] = [];
  readonly waiting: number[];
  open = 0;
  failures = 0;
  resumesAt = 0;

  constructor(site: NodeSite, world: World, startedAt: number) {
    this.site = site;
    this.card = { rate: world.rates.node, open: 0 };
    this.startedAt = startedAt;
    this.waiting = objectBytes(world).map((_bytes, object) => object);
  }
}

/** All clusters roll one image out at once, each with no more than a share of its nodes at a time. */
class Rollout {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #agenda = new Agenda();
  readonly #random: Random;
  readonly #transfers: Transfers;
  readonly #supply: Supply;
  readonly #readySeconds: number[] = [];
  readonly #pullSeconds: number[] = [];
  readonly #nodes: readonly NodeSite[];
  #lastSeconds = 0;
  #pullMin = Number.POSITIVE_INFINITY;

  constructor(world: World, layout: Layout) {
    const topology = new Topology(world);
    this.#world = world;
    this.#random = new Random(world.seed + 3);
    this.#nodes = nodesOf(world);
    this.#plan = layout.plan(world, this.#nodes);
    for (const _sluice of this.#plan.isOnNode ? [] : this.#plan.sluices) {
      topology.addSluice();
    }
    const sluices = this.#plan.sluices.length;
    this.#transfers = new Transfers(topology.network, this.#agenda, sluices);
    this.#supply = new Supply({
      world,
      plan: this.#plan,
      topology,
      transfers: this.#transfers,
      agenda: this.#agenda,
    });
  }

  run(layout: string): Outcome {
    this.#beginClusters();
    let now = 0;
    while (this.#readySeconds.length < this.#nodes.length) {
      if (this.#transfers.isIdle) {
        now = Math.max(now, this.#agenda.nextAt);
      }
      const end = now + this.#stepAt(now);
      this.#agenda.runUntil(end);
      this.#transfers.step(end);
      now = end;
      assert(now < LAST_MAX, `${layout}: some nodes are never ready`);
    }
    return this.#toOutcome(layout);
  }

  #stepAt(now: number): number {
    const share = Math.max(Math.min(now, 2 * this.#pullMin) * STEP_SHARE, now * LATE_SHARE);
    return Math.min(STEP_MAX, Math.max(STEP_MIN, share));
  }

  #beginClusters(): void {
    const { clustersPerRegion, maxUnavailable, times } = this.#world;
    const clusters = Map.groupBy(
      this.#nodes,
      ({ region, cluster }) => region * clustersPerRegion + cluster,
    );
    for (const members of clusters.values()) {
      const order = this.#random.shuffled(members);
      const at = this.#random.next() * times.clusterStartSpread;
      const first = Math.ceil(members.length * maxUnavailable);
      for (let n = 0; n < first; n += 1) {
        this.#agenda.add(at, (now) => this.#beginNext(order, now));
      }
    }
  }

  #beginNext(order: NodeSite[], at: number): void {
    const site = order.pop();
    if (site !== undefined) {
      this.#pump(new Node(site, this.#world, at), order, at);
    }
  }

  /** Asks for as much as it may. */
  #pump(node: Node, order: NodeSite[], at: number): void {
    const metadata = this.#world.metadataBytes.length;
    if (at < node.resumesAt) {
      return;
    }
    for (;;) {
      const object = node.waiting[0];
      const isEarly = object !== undefined && object < metadata;
      if (object === undefined || node.open >= (isEarly ? 1 : this.#world.layersAtOnce)) {
        return;
      }
      if (!isEarly && node.doneAt.length < metadata) {
        return;
      }
      node.waiting.shift();
      node.open += 1;
      this.#ask(node, object, order, at);
    }
  }

  #ask(node: Node, object: number, order: NodeSite[], at: number): void {
    const sluice = this.#plan.ofNode(node.site, object);
    const asker = {
      site: node.site,
      card: node.card,
      onDone: (now: number) => {
        node.open -= 1;
        node.doneAt[object] = now;
        if (node.waiting.length === 0 && node.open === 0) {
          this.#finish(node, order, now);
        } else {
          this.#pump(node, order, now);
        }
      },
      onRefused: (now: number) => {
        node.open -= 1;
        node.waiting.unshift(object);
        this.#backOff(node, order, now);
      },
    };
    if (sluice === undefined) {
      this.#supply.fromUpstream(object, asker, at);
    } else {
      this.#supply.fromSluice(sluice, object, asker, at);
    }
  }

  /** A pull that failed in several places has failed once. What it has got it keeps. */
  #backOff(node: Node, order: NodeSite[], at: number): void {
    if (at < node.resumesAt) {
      return;
    }
    const delay = Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** node.failures);
    node.failures += 1;
    node.resumesAt = at + delay + this.#random.next();
    this.#agenda.add(node.resumesAt, (now) => this.#pump(node, order, now));
  }

  /** A layer is unpacked when it is there and the one below it is unpacked. */
  #finish(node: Node, order: NodeSite[], at: number): void {
    const { metadataBytes, layerBytes, rates, times } = this.#world;
    let unpackedAt = 0;
    for (const [layer, bytes] of layerBytes.entries()) {
      const gotAt = node.doneAt[metadataBytes.length + layer] ?? at;
      unpackedAt = Math.max(unpackedAt, gotAt) + bytes / rates.unpack;
    }
    const readyAt = unpackedAt + times.start;
    this.#pullSeconds.push(at - node.startedAt);
    this.#pullMin = Math.min(this.#pullMin, at - node.startedAt);
    this.#readySeconds.push(readyAt - node.startedAt);
    this.#lastSeconds = Math.max(this.#lastSeconds, readyAt);
    this.#agenda.add(readyAt, (now) => this.#beginNext(order, now));
  }

  #toOutcome(layout: string): Outcome {
    const { held } = this.#supply;
    const image = objectBytes(this.#world).reduce((sum, bytes) => sum + bytes, 0);
    const buckets = this.#plan.isFleet ? image * this.#world.regions : 0;
    return {
      layout,
      traffic: this.#transfers.traffic,
      requests: this.#supply.requests,
      refusals: this.#supply.refusals,
      readySeconds: this.#readySeconds.toSorted((a, b) => a - b),
      pullSeconds: this.#pullSeconds.toSorted((a, b) => a - b),
      lastSeconds: this.#lastSeconds,
      sluices: this.#plan.sluices.length,
      diskMax: held.reduce((most, bytes) => Math.max(most, bytes), 0),
      diskAll: held.reduce((sum, bytes) => sum + bytes, buckets),
    };
  }
}

export function simulate(world: World, layout: Layout): Outcome {
  return new Rollout(world, layout).run(layout.name);
}
