import { readFile, writeFile } from "node:fs/promises";
import type { PeerName } from "./peers.ts";
import type { Spread } from "./stats.ts";
import { formatSpread, medianOfRounds, toSpread } from "./stats.ts";

export type Column = "direct" | PeerName;

export const COLUMNS: readonly Column[] = [
  "direct",
  "sluice",
  "docker-registry 2.8",
  "distribution 3",
  "nginx",
];

/** What was measured of one quantity, by who was measured, a value a round. */
export class Samples<Name extends string = Column> {
  readonly #values = new Map<Name, number[]>();

  add(column: Name, value: number): void {
    const values = this.#values.get(column) ?? [];
    values.push(value);
    this.#values.set(column, values);
  }

  spread(column: Name): Spread | undefined {
    return toSpread(this.#of(column));
  }

  /** How often `b` goes into `a`, round by round: see medianOfRounds. */
  ratio(a: Name, b: Name): number | undefined {
    return medianOfRounds(this.#of(a), this.#of(b), (x, y) => x / y);
  }

  difference(a: Name, b: Name): number | undefined {
    return medianOfRounds(this.#of(a), this.#of(b), (x, y) => x - y);
  }

  #of(column: Name): readonly number[] {
    return this.#values.get(column) ?? [];
  }

  toObject(): Record<string, readonly number[]> {
    return Object.fromEntries(this.#values);
  }
}

/** One figure beside its limit. */
export interface Check {
  readonly what: string;
  /** Undefined when a side of it was not measured. */
  readonly value: number | undefined;
  readonly digits: number;
  readonly limit: number;
  readonly is: "at least" | "at most";
}

export interface Row {
  readonly scenario: string;
  readonly target: string;
  readonly cells: Readonly<Partial<Record<Column, string>>>;
  readonly checks: readonly Check[];
  readonly samples: Readonly<Record<string, readonly number[]>>;
}

export interface RowOptions {
  readonly scenario: string;
  readonly target: string;
  readonly samples: Samples;
  readonly unit: string;
  readonly digits: number;
  readonly checks?: readonly Check[];
  /** Stands behind the figure, or alone: GETs of the upstream, why there is none. */
  readonly remarks?: ReadonlyMap<Column, string>;
}

export function toRow(options: RowOptions): Row {
  const cells: Partial<Record<Column, string>> = {};
  for (const column of COLUMNS) {
    const spread = options.samples.spread(column);
    const parts = [
      spread === undefined ? undefined : formatSpread(spread, options.unit, options.digits),
      options.remarks?.get(column),
    ];
    cells[column] = parts.filter((part) => part !== undefined).join("; ");
  }
  return {
    scenario: options.scenario,
    target: options.target,
    cells,
    checks: options.checks ?? [],
    samples: options.samples.toObject(),
  };
}

/** Undefined as long as a figure is not there. */
export function isReached(check: Check): boolean | undefined {
  if (check.value === undefined) {
    return undefined;
  }
  return check.is === "at least" ? check.value >= check.limit : check.value <= check.limit;
}

function toVerdict(row: Row): string {
  const answers = row.checks.map(isReached);
  if (answers.length === 0) {
    return "";
  }
  if (answers.includes(false)) {
    return "**no**";
  }
  return answers.includes(undefined) ? "?" : "yes";
}

function toCheckText(check: Check): string {
  const sign = check.is === "at least" ? "≥" : "≤";
  const value = check.value === undefined ? "?" : check.value.toFixed(check.digits);
  return `${check.what} ${value} (${sign} ${check.limit})`;
}

const toLine = (fields: readonly string[]): string =>
  `| ${fields.map((field) => field.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;

/** A Markdown table; an empty cell is a peer that the row is not about. */
export function toTable(rows: readonly Row[], missing: ReadonlySet<Column>): string {
  const head = ["scenario", "target", ...COLUMNS, "against its limit", "reached"];
  const lines = [toLine(head), toLine(head.map(() => "---"))];
  for (const row of rows) {
    const cells = COLUMNS.map((column) => (missing.has(column) ? "missing" : row.cells[column]));
    lines.push(
      toLine([
        row.scenario,
        row.target,
        ...cells.map((cell) => cell || "–"),
        row.checks.map(toCheckText).join(", "),
        toVerdict(row),
      ]),
    );
  }
  return lines.join("\n");
}

const BEGIN = "<!-- bench:begin -->";
const END = "<!-- bench:end -->";

/** Replaces what stands between the two markers of a file. */
export async function writeBetweenMarkers(file: string, text: string): Promise<void> {
  const old = await readFile(file, "utf8");
  const begin = old.indexOf(BEGIN);
  const end = old.indexOf(END);
  if (begin < 0 || end < begin) {
    throw new Error(`${file} has no ${BEGIN} … ${END}`);
  }
  await writeFile(file, `${old.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${old.slice(end)}`);
}
