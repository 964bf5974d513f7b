import type { Agenda } from "./placement-agenda.ts";
import type { Flow, Network } from "./placement-network.ts";
import type { Path } from "./placement-topology.ts";

/** The connections of one receiver, that share its network card. */
export interface Card {
  readonly rate: number;
  open: number;
}

export interface TransferOptions {
  readonly path: Path;
  readonly bytes: number;
  /** Undefined where the receiver's links are in the path, or where there is no network. */
  readonly card: Card | undefined;
  /** The fill that is read: nobody gets what it has not got. */
  readonly feeder: Transfer | undefined;
  readonly onDone: (at: number) => void;
  readonly onRefused: (at: number) => void;
}

/** One answer on its way. */
export class Transfer implements Flow {
  readonly options: TransferOptions;
  readonly links: readonly number[];
  /** Who reads what: 0 from something that is complete, else one more than its feeder. */
  readonly depth: number;
  readonly followers: Transfer[] = [];
  cap = 0;
  rate = 0;
  done = 0;
  /** Up to when it is accounted for; infinite as long as it waits for an answer's head. */
  updatedAt: number = Number.POSITIVE_INFINITY;
  endedAt: number | undefined;

  constructor(options: TransferOptions) {
    const { feeder } = options;
    this.options = options;
    this.links = options.path.links;
    const isFed = feeder !== undefined && feeder.endedAt === undefined;
    this.depth = isFed ? feeder.depth + 1 : 0;
    if (isFed) {
      feeder.followers.push(this);
    }
  }

  get isSmall(): boolean {
    return this.options.bytes < SMALL_BYTES;
  }

  get isComplete(): boolean {
    return this.done >= this.options.bytes;
  }

  /** How much of it is there to be had. */
  get available(): number {
    return this.options.feeder?.done ?? this.options.bytes;
  }
}

/** What went where; bytes. */
export interface Traffic {
  upstream: number;
  crossRegion: number;
  crossZone: number;
  /** Of the busiest Sluice in its busiest `PEAK_SECONDS`; bytes a second. */
  peakOut: number;
}

const PEAK_SECONDS = 5;
/** What is smaller is there with its head, and takes no bandwidth worth counting. */
const SMALL_BYTES = 65_536;
/** Below a byte it is rounding. */
const ROUNDING = 0.5;

/** All that is under way: moved on step by step. */
export class Transfers {
  readonly traffic: Traffic = { upstream: 0, crossRegion: 0, crossZone: 0, peakOut: 0 };
  readonly #network: Network;
  readonly #agenda: Agenda;
  readonly #out: Float64Array;
  #active: Transfer[] = [];
  #windowAt = 0;

  constructor(network: Network, agenda: Agenda, sluices: number) {
    this.#network = network;
    this.#agenda = agenda;
    this.#out = new Float64Array(sluices);
  }

  get isIdle(): boolean {
    return this.#active.length === 0;
  }

  add(transfer: Transfer): void {
    if (!transfer.isSmall) {
      this.#active.push(transfer);
    }
  }

  /** The head of its answer is there; of what is small all is. */
  begin(transfer: Transfer, at: number): void {
    if (transfer.endedAt !== undefined) {
      return;
    }
    transfer.updatedAt = at;
    if (transfer.isSmall) {
      this.#finishSmall(transfer, at);
      return;
    }
    if (transfer.options.card !== undefined) {
      transfer.options.card.open += 1;
    }
  }

  /** It never gets an answer, and neither do those who follow it. */
  refuse(transfer: Transfer, at: number): void {
    if (transfer.endedAt !== undefined) {
      return;
    }
    this.#end(transfer, at);
    for (const follower of transfer.followers) {
      this.refuse(follower, at);
    }
    transfer.options.onRefused(at);
  }

  step(end: number): void {
    this.#active = this.#active
      .filter(({ endedAt }) => endedAt === undefined)
      .sort((a, b) => a.depth - b.depth);
    const flowing = this.#active.filter(({ updatedAt }) => updatedAt < end);
    for (const transfer of flowing) {
      transfer.cap = capOf(transfer, end);
    }
    this.#network.allot(flowing);
    for (const transfer of flowing) {
      this.#advance(transfer, end);
    }
    this.#notePeak(end);
  }

  /** As soon as its feeder has, if it has one. */
  #finishSmall(transfer: Transfer, at: number): void {
    const { feeder, bytes, onDone } = transfer.options;
    if (transfer.updatedAt > at || (feeder !== undefined && feeder.endedAt === undefined)) {
      return;
    }
    this.#count(transfer, bytes);
    transfer.done = bytes;
    transfer.endedAt = at;
    onDone(at);
    for (const follower of transfer.followers) {
      this.#finishSmall(follower, at);
    }
  }

  #count({ options: { path } }: Transfer, moved: number): void {
    this.traffic.upstream += path.fromUpstream ? moved : 0;
    this.traffic.crossRegion += path.crossesRegion ? moved : 0;
    this.traffic.crossZone += path.crossesZone ? moved : 0;
    if (path.sluice !== undefined) {
      this.#out[path.sluice] = (this.#out[path.sluice] ?? 0) + moved;
    }
  }

  #advance(transfer: Transfer, end: number): void {
    const { bytes, feeder, onDone } = transfer.options;
    const wanted = Math.min(transfer.rate * (end - transfer.updatedAt), bytes - transfer.done);
    const moved = Math.max(0, Math.min(wanted, transfer.available - transfer.done));
    this.#count(transfer, moved);
    transfer.done += moved;
    if (transfer.done < bytes - ROUNDING) {
      transfer.updatedAt = end;
      return;
    }
    transfer.done = bytes;
    const own = transfer.updatedAt + (moved > 0 ? moved / transfer.rate : 0);
    const at = Math.min(end, Math.max(own, feeder?.endedAt ?? 0));
    this.#end(transfer, at);
    this.#agenda.add(at, onDone);
  }

  #end(transfer: Transfer, at: number): void {
    const { card } = transfer.options;
    if (card !== undefined && !transfer.isSmall && Number.isFinite(transfer.updatedAt)) {
      card.open -= 1;
    }
    transfer.endedAt = at;
  }

  #notePeak(end: number): void {
    if (end - this.#windowAt < PEAK_SECONDS) {
      return;
    }
    for (const bytes of this.#out) {
      this.traffic.peakOut = Math.max(this.traffic.peakOut, bytes / (end - this.#windowAt));
    }
    this.#out.fill(0);
    this.#windowAt = end;
  }
}

/** What it could take until `end` if no shared link were in its way. */
function capOf(transfer: Transfer, end: number): number {
  const { path, card, feeder } = transfer.options;
  const share = card === undefined ? Number.POSITIVE_INFINITY : card.rate / card.open;
  const own = Math.min(path.streamRate, share);
  if (feeder === undefined || feeder.isComplete) {
    return own;
  }
  const behind = feeder.done - transfer.done;
  return Math.min(own, behind / (end - transfer.updatedAt) + feeder.rate);
}
