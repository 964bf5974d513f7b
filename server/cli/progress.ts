/** On a terminal a line is drawn again so often; elsewhere one is written, in milliseconds. */
const REDRAW_MS = 100;
const LINE_MS = 10_000;
const BAR_CELLS = 24;
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

export interface ProgressStep {
  readonly done: number;
  /** Undefined when nobody knows how much there is. */
  readonly total?: number;
  /** What is said beside the bar: `1200 blobs, 3.1 GiB`. */
  readonly text: string;
}

interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** A bar on a terminal, a line now and then elsewhere, and nothing when a machine reads. */
export class Progress {
  readonly #output: Output;
  readonly #isQuiet: boolean;
  readonly #now: () => number;
  #shownAtMs: number;
  #isDrawn = false;

  /** @param output - the error stream: the standard output is for the result. */
  constructor(output: Output, options: { readonly isQuiet: boolean; readonly now?: () => number }) {
    this.#output = output;
    this.#isQuiet = options.isQuiet;
    this.#now = options.now ?? Date.now;
    this.#shownAtMs = this.#now();
  }

  show(step: ProgressStep): void {
    const isTerminal = this.#output.isTTY === true;
    const nowMs = this.#now();
    if (this.#isQuiet || nowMs - this.#shownAtMs < (isTerminal ? REDRAW_MS : LINE_MS)) {
      return;
    }
    this.#shownAtMs = nowMs;
    if (isTerminal) {
      this.#isDrawn = true;
      this.#output.write(`\r\u001b[K${barOf(step)}${step.text}`);
    } else {
      this.#output.write(`${percentOf(step)}${step.text}\n`);
    }
  }

  /** Takes the bar away, so that the result stands alone. */
  end(): void {
    if (this.#isDrawn) {
      this.#isDrawn = false;
      this.#output.write("\r\u001b[K");
    }
  }
}

/** `3.1 GiB`, for people. */
export function readableBytes(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${UNITS[power]}`;
}

function shareOf({ done, total }: ProgressStep): number | undefined {
  return total === undefined || total <= 0 ? undefined : Math.min(done / total, 1);
}

function percentOf(step: ProgressStep): string {
  const share = shareOf(step);
  return share === undefined ? "" : `${Math.floor(share * 100)} %  `;
}

function barOf(step: ProgressStep): string {
  const share = shareOf(step);
  if (share === undefined) {
    return "";
  }
  const full = Math.floor(share * BAR_CELLS);
  return `[${"#".repeat(full)}${"-".repeat(BAR_CELLS - full)}] ${percentOf(step)}`;
}
