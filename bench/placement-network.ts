/** Something that takes bandwidth on some links. */
export interface Flow {
  readonly links: readonly number[];
  /** What it could take if no link were in its way; bytes a second. */
  cap: number;
  /** What it got. */
  rate: number;
}

/** More rounds change no rate by a percent that anybody would see. */
const ROUNDS = 4;
/** Of a link's capacity: less is nothing left. */
const NOTHING = 1e-3;

/** Links with capacities, shared among flows almost as max-min fairness would. */
export class Network {
  readonly #capacities: number[] = [];
  #left: Float64Array = new Float64Array();
  #share: Float64Array = new Float64Array();
  #isBusy: Uint8Array = new Uint8Array();

  /** @returns the link's number */
  addLink(bytesPerSecond: number): number {
    return this.#capacities.push(bytesPerSecond) - 1;
  }

  /**
   * Sets the rate of every flow: what nobody is in the way of gets its cap, the others grow in
   * rounds by the smallest share that their links have left, until a link is full or a cap reached.
   */
  allot(flows: readonly Flow[]): void {
    this.#findBusy(flows);
    let open: Flow[] = [];
    for (const flow of flows) {
      flow.rate = flow.cap;
      if (flow.cap > 0 && this.#meetsBusy(flow.links)) {
        flow.rate = 0;
        open.push(flow);
      }
    }
    for (let round = 0; round < ROUNDS && open.length > 0; round += 1) {
      this.#split(open);
      this.#grow(open);
      open = open.filter((flow) => flow.rate < flow.cap * (1 - NOTHING) && this.#hasRoom(flow));
    }
  }

  /** A link that could give everybody all they can take is in nobody's way. */
  #findBusy(flows: readonly Flow[]): void {
    const links = this.#capacities.length;
    if (this.#left.length !== links) {
      this.#left = new Float64Array(links);
      this.#share = new Float64Array(links);
      this.#isBusy = new Uint8Array(links);
    }
    this.#left.fill(0);
    for (const { links, cap } of flows) {
      for (const link of links) {
        this.#left[link] = (this.#left[link] ?? 0) + cap;
      }
    }
    for (const [link, capacity] of this.#capacities.entries()) {
      this.#isBusy[link] = (this.#left[link] ?? 0) > capacity ? 1 : 0;
      this.#left[link] = capacity;
    }
  }

  #meetsBusy(links: readonly number[]): boolean {
    for (const link of links) {
      if (this.#isBusy[link] === 1) {
        return true;
      }
    }
    return false;
  }

  /** What is left of each link, for each that still wants more. */
  #split(open: readonly Flow[]): void {
    this.#share.fill(0);
    for (const { links } of open) {
      for (const link of links) {
        this.#share[link] = (this.#share[link] ?? 0) + 1;
      }
    }
    for (let link = 0; link < this.#share.length; link += 1) {
      this.#share[link] = (this.#left[link] ?? 0) / (this.#share[link] ?? 1);
    }
  }

  #grow(open: readonly Flow[]): void {
    for (const flow of open) {
      let more = flow.cap - flow.rate;
      for (const link of flow.links) {
        if (this.#isBusy[link] === 1) {
          more = Math.min(more, this.#share[link] ?? 0);
        }
      }
      flow.rate += more;
      for (const link of flow.links) {
        this.#left[link] = (this.#left[link] ?? 0) - more;
      }
    }
  }

  #hasRoom({ links }: Flow): boolean {
    for (const link of links) {
      const room = (this.#left[link] ?? 0) / (this.#capacities[link] ?? 1);
      if (this.#isBusy[link] === 1 && room <= NOTHING) {
        return false;
      }
    }
    return true;
  }
}
