const SLOTS = 10;

interface Slot {
  tick: number;
  count: number;
}

/** Counts what happened in the last `windowMs`, to a tenth of it, in constant memory. */
export class SlidingWindow {
  readonly #slots: Slot[] = Array.from({ length: SLOTS }, () => ({ tick: -1, count: 0 }));
  readonly #slotMs: number;
  readonly #now: () => number;

  constructor(windowMs: number, now: () => number) {
    this.#slotMs = windowMs / SLOTS;
    this.#now = now;
  }

  add(): void {
    const tick = this.#tick();
    const slot = this.#slots[tick % SLOTS];
    if (slot === undefined) {
      return;
    }
    if (slot.tick !== tick) {
      slot.tick = tick;
      slot.count = 0;
    }
    slot.count += 1;
  }

  total(): number {
    const tick = this.#tick();
    let total = 0;
    for (const slot of this.#slots) {
      if (slot.tick > tick - SLOTS && slot.tick <= tick) {
        total += slot.count;
      }
    }
    return total;
  }

  clear(): void {
    for (const slot of this.#slots) {
      slot.tick = -1;
    }
  }

  #tick(): number {
    return Math.max(0, Math.floor(this.#now() / this.#slotMs));
  }
}
