import type { UpstreamLimits } from "./upstream-limits.ts";

type WatchLimits = Pick<
  UpstreamLimits,
  "bodyIdleTimeoutMs" | "rateMinBytesPerSecond" | "rateWindowMs"
>;

interface Sample {
  readonly bytes: number;
  readonly activeMs: number;
}

const TICKS_PER_TIMEOUT = 6;

/**
 * Tells a transfer that has stalled, or that drips, from a slow one. Only the time in which the
 * other side was waited for counts: while the reader pauses, the clock stands still.
 */
export class TransferWatch {
  readonly #limits: WatchLimits;
  readonly #timer: NodeJS.Timeout;
  readonly #samples: Sample[] = [];
  #bytes = 0;
  #tickedAt = performance.now();
  #pausedAt: number | undefined;
  #pausedMs = 0;
  #idleMs = 0;

  constructor(limits: WatchLimits, onTrouble: (what: string) => void) {
    this.#limits = limits;
    const everyMs = Math.min(limits.bodyIdleTimeoutMs, limits.rateWindowMs) / TICKS_PER_TIMEOUT;
    this.#timer = setInterval(() => {
      const trouble = this.#tick();
      if (trouble !== undefined) {
        this.stop();
        onTrouble(trouble);
      }
    }, everyMs);
    this.#timer.unref();
  }

  /** Called for each chunk: it must cost nothing. */
  received(bytes: number): void {
    this.#bytes += bytes;
  }

  pause(): void {
    this.#pausedAt ??= performance.now();
  }

  resume(): void {
    if (this.#pausedAt !== undefined) {
      this.#pausedMs += performance.now() - this.#pausedAt;
      this.#pausedAt = undefined;
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): string | undefined {
    const sample = this.#sample();
    this.#idleMs = sample.bytes > 0 ? 0 : this.#idleMs + sample.activeMs;
    if (this.#idleMs >= this.#limits.bodyIdleTimeoutMs) {
      return `it sent nothing for ${Math.round(this.#idleMs / 1000)} s`;
    }
    return this.#isDripping(sample) ? "it sent too slowly to ever end" : undefined;
  }

  #sample(): Sample {
    const now = performance.now();
    if (this.#pausedAt !== undefined) {
      this.#pausedMs += now - this.#pausedAt;
      this.#pausedAt = now;
    }
    const activeMs = Math.max(0, now - this.#tickedAt - this.#pausedMs);
    const sample = { bytes: this.#bytes, activeMs };
    this.#tickedAt = now;
    this.#pausedMs = 0;
    this.#bytes = 0;
    return sample;
  }

  #isDripping(sample: Sample): boolean {
    const { rateMinBytesPerSecond, rateWindowMs } = this.#limits;
    if (sample.activeMs > 0 || sample.bytes > 0) {
      this.#samples.push(sample);
    }
    let activeMs = 0;
    let bytes = 0;
    for (const one of this.#samples) {
      activeMs += one.activeMs;
      bytes += one.bytes;
    }
    const oldest = this.#samples[0];
    if (oldest !== undefined && activeMs - oldest.activeMs >= rateWindowMs) {
      this.#samples.shift();
    }
    return activeMs >= rateWindowMs && (bytes * 1000) / activeMs < rateMinBytesPerSecond;
  }
}
