import type { Contestant, Lab } from "./lab.ts";
import { MIB, mebibytes, totalSeconds } from "./lab.ts";
import type { Column, Row } from "./report.ts";
import { Samples, toRow } from "./report.ts";

interface HerdOptions {
  readonly clients: number;
  readonly sizeBytes: number;
  /** Of the upstream in all: so many GETs, so many times as long. */
  readonly bytesPerSecond: number;
  /** Whoever takes so many times as long as one client alone is cut off. */
  readonly patience: number;
}

/** Whoever takes so many times as long as one client alone is not asked again. */
const SLOW = 4;

/** Many clients who want one blob that nobody holds yet, at the same moment. */
class Herd {
  readonly #lab: Lab;
  readonly #options: HerdOptions;
  readonly #aloneSeconds: number;
  readonly #slowest = new Samples();
  readonly #gets = new Samples();
  readonly #failed = new Map<Column, string>();
  readonly #remarks = new Map<Column, string>();
  readonly #slow = new Set<Column>();

  constructor(lab: Lab, options: HerdOptions) {
    this.#lab = lab;
    this.#options = options;
    this.#aloneSeconds = options.sizeBytes / options.bytesPerSecond;
  }

  async run(): Promise<Row> {
    const { bytesPerSecond } = this.#options;
    await this.#lab.withPeers(this.#failed, async (contestants) => {
      await this.#lab.shape({ bytesPerSecond, limit: "total" });
      await this.#lab.interleave(contestants, this.#failed, async (contestant) => {
        if (!this.#slow.has(contestant.name)) {
          await this.#measure(contestant);
        }
      });
    });
    return this.#toRow();
  }

  async #measure({ name, port, peer }: Contestant): Promise<void> {
    const digest = await this.#lab.newBlob(this.#options.sizeBytes);
    await this.#lab.prime(this.#options.sizeBytes * 2);
    if (peer === undefined) {
      this.#slowest.add(name, totalSeconds(await this.#lab.download(port, digest)));
      return;
    }
    const { clients, patience } = this.#options;
    const deadlineMs = this.#aloneSeconds * patience * 1000;
    try {
      const downloads = await this.#lab.download(port, digest, { clients, deadlineMs });
      this.#addTotal(name, totalSeconds(downloads));
    } catch (error) {
      // What goes on in it would take bandwidth from those who come next.
      await peer.process.stop();
      if (!(error instanceof Error && error.message === "deadline")) {
        throw error;
      }
      this.#failed.set(name, `not done after ${patience} × direct`);
    }
    const { gets } = await this.#lab.countOf(digest);
    this.#gets.add(name, gets);
    this.#remarks.set(name, `${gets} GET${gets === 1 ? "" : "s"}`);
  }

  #addTotal(name: Column, seconds: number): void {
    this.#slowest.add(name, seconds);
    if (seconds > this.#aloneSeconds * SLOW) {
      this.#slow.add(name);
    }
  }

  #toRow(): Row {
    const { clients, sizeBytes, bytesPerSecond } = this.#options;
    const remarks = new Map(this.#remarks);
    for (const [name, why] of this.#failed) {
      remarks.set(name, [why, remarks.get(name)].filter((text) => text !== undefined).join("; "));
    }
    const value = this.#slowest.ratio("sluice", "direct");
    const size = `${mebibytes(sizeBytes)} MiB at ${mebibytes(bytesPerSecond)} MiB/s`;
    return toRow({
      scenario: `herd: ${clients} clients, one cold blob of ${size}: the slowest`,
      target: "1 GET, ≤ 1.2 × direct",
      samples: this.#slowest,
      unit: "s",
      digits: 2,
      checks: [
        { what: "direct", value, digits: 2, limit: 1.2, is: "at most" },
        {
          what: "GETs",
          value: this.#gets.spread("sluice")?.max,
          digits: 0,
          limit: 1,
          is: "at most",
        },
      ],
      remarks,
    });
  }
}

export async function herds(lab: Lab): Promise<readonly Row[]> {
  const few = new Herd(lab, {
    clients: 16,
    sizeBytes: lab.scaled(256 * MIB),
    bytesPerSecond: 100 * MIB,
    patience: 20,
  });
  const many = new Herd(lab, {
    clients: 200,
    sizeBytes: lab.scaled(16 * MIB),
    bytesPerSecond: 5 * MIB,
    patience: 6,
  });
  return [await few.run(), await many.run()];
}
