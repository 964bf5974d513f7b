import type { Disk } from "../storage/disk.ts";
import type { ScrubReport } from "../storage/scrub.ts";

export interface ScrubOptions {
  readonly bytesPerSecond: number;
  readonly isDryRun: boolean;
}

/** What GET /api/v1/scrub shows. Times are in milliseconds since the epoch. */
export interface ScrubState {
  /** `never`: none was asked for since the start. */
  readonly state: "never" | "running" | "done" | "failed";
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  readonly dryRun?: boolean;
  readonly bytesPerSecond?: number;
  readonly report?: ScrubReport;
}

/** The one scrub of a running proxy: it goes on whoever asked for it. */
export class ScrubJob {
  readonly #scrubber: Disk["scrubber"];
  readonly #signal: AbortSignal;
  readonly #log: { error(details: object, message: string): void };
  #state: ScrubState = { state: "never" };
  #done: Promise<void> = Promise.resolve();

  constructor(
    scrubber: Disk["scrubber"],
    signal: AbortSignal,
    log: { error(details: object, message: string): void },
  ) {
    this.#scrubber = scrubber;
    this.#signal = signal;
    this.#log = log;
  }

  get state(): ScrubState {
    return this.#state;
  }

  /** Resolves when none runs. */
  get done(): Promise<void> {
    return this.#done;
  }

  /** Undefined while another one runs. */
  start({ bytesPerSecond, isDryRun }: ScrubOptions): ScrubState | undefined {
    if (this.#state.state === "running") {
      return;
    }
    const startedAtMs = Date.now();
    const started: ScrubState = { state: "running", startedAtMs, dryRun: isDryRun, bytesPerSecond };
    this.#state = started;
    const show = (report: ScrubReport): void => {
      this.#state = { ...started, report };
    };
    const run = { bytesPerSecond, isDryRun, signal: this.#signal, onProgress: show };
    this.#done = this.#scrubber.run(run).then(
      (report) => {
        this.#state = { ...started, state: "done", endedAtMs: Date.now(), report };
      },
      (err: unknown) => {
        this.#log.error({ err }, "the scrub ended early");
        this.#state = { ...this.#state, state: "failed", endedAtMs: Date.now() };
      },
    );
    return started;
  }
}
