import type { Agenda } from "./placement-agenda.ts";
import type { Plan } from "./placement-layouts.ts";
import type { Path, Site, Topology } from "./placement-topology.ts";
import type { Card, Transfers } from "./placement-transfers.ts";
import { Transfer } from "./placement-transfers.ts";
import type { World } from "./placement-world.ts";
import { objectBytes, Random } from "./placement-world.ts";

/** Who asks, and what becomes of it. */
export interface Asker {
  readonly site: Site;
  readonly card: Card | undefined;
  readonly onDone: (at: number) => void;
  readonly onRefused: (at: number) => void;
}

interface Filler {
  readonly sluice: number;
  readonly fill: Transfer;
}

interface Sources {
  readonly world: World;
  readonly plan: Plan;
  readonly topology: Topology;
  readonly transfers: Transfers;
  readonly agenda: Agenda;
}

/** How often somebody asks in all when refused, and how long they wait in between. */
interface Patience {
  readonly attempts: number;
  readonly delayMin: number;
  readonly delayMax: number;
}

/** containerd asks again at once. */
const OF_NODE: Patience = { attempts: 5, delayMin: 0, delayMax: 0 };
/** As server/limits.ts has it. */
const OF_SLUICE: Patience = { attempts: 3, delayMin: 0.2, delayMax: 2 };

/** The upstream with its limit, and every Sluice with what it holds. */
export class Supply {
  requests = 0;
  refusals = 0;
  readonly #sources: Sources;
  readonly #sizes: readonly number[];
  readonly #random: Random;
  readonly #copies: readonly Map<number, Transfer>[];
  readonly #cards: readonly Card[];
  /** By region and object: who brought it in, where replicas act as one. */
  readonly #fillers = new Map<string, Filler>();
  #tokens: number;
  #tokensAt = 0;

  constructor(sources: Sources) {
    const { world, plan } = sources;
    this.#sources = sources;
    this.#sizes = objectBytes(world);
    this.#random = new Random(world.seed + 2);
    this.#copies = plan.sluices.map(() => new Map());
    const { node, sluiceFill } = world.rates;
    const rate = plan.isOnNode ? Math.min(node, sluiceFill) : Number.POSITIVE_INFINITY;
    this.#cards = plan.sluices.map(() => ({ rate, open: 0 }));
    this.#tokens = world.requests.burst;
  }

  /** Of each Sluice, in bytes. */
  get held(): readonly number[] {
    return this.#copies.map((copies) =>
      [...copies.values()].reduce((sum, { options }) => sum + options.bytes, 0),
    );
  }

  fromUpstream(object: number, asker: Asker, at: number): void {
    const path = this.#sources.topology.fromUpstream(asker.site, undefined, this.#isLayer(object));
    const transfer = this.#transfer(object, path, asker);
    this.#askUpstream(transfer, object, OF_NODE, at);
  }

  fromSluice(sluice: number, object: number, asker: Asker, at: number): void {
    const { plan, topology } = this.#sources;
    const fill = this.#copies[sluice]?.get(object) ?? this.#fill(sluice, object, at);
    const path = plan.isOnNode
      ? topology.loopback()
      : topology.fromSluice({ ...this.#siteOf(sluice), sluice }, asker.site, undefined);
    const card = plan.isOnNode ? undefined : asker.card;
    this.#start(this.#transfer(object, path, { ...asker, card }, fill), at);
  }

  #isLayer(object: number): boolean {
    return object >= this.#sources.world.metadataBytes.length;
  }

  #siteOf(sluice: number): Site {
    const { region = 0, zone = 0 } = this.#sources.plan.sluices[sluice] ?? {};
    return { region, zone };
  }

  #transfer(object: number, path: Path, asker: Asker, feeder?: Transfer): Transfer {
    const { card, onDone, onRefused } = asker;
    const bytes = this.#sizes[object] ?? 0;
    const isThere = feeder === undefined || feeder.endedAt !== undefined;
    const transfer = new Transfer({
      path,
      bytes,
      card,
      feeder: isThere ? undefined : feeder,
      onDone,
      onRefused,
    });
    this.#sources.transfers.add(transfer);
    return transfer;
  }

  #start(transfer: Transfer, at: number): void {
    const { agenda, transfers } = this.#sources;
    agenda.add(at + transfer.options.path.latency, (begun) => transfers.begin(transfer, begun));
  }

  /** Makes a Sluice hold an object: from its tier above, from who fills in its region, or from upstream. */
  #fill(sluice: number, object: number, at: number): Transfer {
    const { plan, topology } = this.#sources;
    const site = this.#siteOf(sluice);
    const asker: Asker = {
      site,
      card: this.#cards[sluice],
      onDone: () => undefined,
      onRefused: () => this.#copies[sluice]?.delete(object),
    };
    const key = `${site.region} ${object}`;
    const filler = plan.isFleet ? this.#fillers.get(key) : undefined;
    const parent = plan.ofSluice(sluice) ?? filler?.sluice;
    let fill: Transfer;
    if (filler?.fill.isComplete) {
      fill = this.#transfer(object, topology.fromBucket(sluice), asker);
      this.#start(fill, at);
    } else if (parent !== undefined) {
      const feeder = this.#copies[parent]?.get(object) ?? this.#fill(parent, object, at);
      const path = topology.fromSluice({ ...this.#siteOf(parent), sluice: parent }, site, sluice);
      fill = this.#transfer(object, path, asker, feeder);
      this.#start(fill, at);
    } else {
      const path = topology.fromUpstream(site, sluice, this.#isLayer(object));
      fill = this.#transfer(object, path, asker);
      this.#askUpstream(fill, object, OF_SLUICE, at);
      this.#fillers.set(key, { sluice, fill });
    }
    this.#copies[sluice]?.set(object, fill);
    return fill;
  }

  #askUpstream(transfer: Transfer, object: number, patience: Patience, at: number): void {
    const { world, agenda, transfers } = this.#sources;
    this.requests += 1;
    const isCounted = world.upstream === "registry" || !this.#isLayer(object);
    if (!isCounted || this.#takeToken(at)) {
      this.#start(transfer, at);
      return;
    }
    this.refusals += 1;
    const { attempts, delayMin, delayMax } = patience;
    const refusedAt = at + transfer.options.path.latency;
    if (attempts === 1) {
      agenda.add(refusedAt, (now) => transfers.refuse(transfer, now));
      return;
    }
    const delay = delayMin + this.#random.next() * (delayMax - delayMin);
    const left = { ...patience, attempts: attempts - 1 };
    agenda.add(refusedAt + delay, (now) => this.#askUpstream(transfer, object, left, now));
  }

  #takeToken(at: number): boolean {
    const { perSecond, burst } = this.#sources.world.requests;
    if (at > this.#tokensAt) {
      this.#tokens = Math.min(burst, this.#tokens + (at - this.#tokensAt) * perSecond);
      this.#tokensAt = at;
    }
    if (this.#tokens < 1) {
      return false;
    }
    this.#tokens -= 1;
    return true;
  }
}
