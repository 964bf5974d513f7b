import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { askPart, startPart } from "./process.ts";
import type { Check, Row, Samples } from "./report.ts";
import type { Format, MadeImage, OriginJob, SignedOrigin } from "./signed-upstream.ts";
import type { StartedSluice } from "./sluice.ts";
import { startSluice } from "./sluice.ts";
import { formatSpread } from "./stats.ts";

/** Sluice with a policy in force, and without any. */
export type Side = "enforce" | "off";

export const SIDES: readonly Side[] = ["enforce", "off"];

/** One Sluice of each side, before one upstream with signed images. */
export class EnforcePair {
  readonly sluices: Readonly<Record<Side, StartedSluice>>;
  readonly #origin: Running;

  private constructor(origin: Running, sluices: Record<Side, StartedSluice>) {
    this.#origin = origin;
    this.sluices = sluices;
  }

  /** Starts all in empty folders, lets `use` measure, ends all. */
  static async with<T>(lab: Lab, use: (pair: EnforcePair) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(lab.options.folder, "enforce-"));
    const origin = startPart(join(import.meta.dirname, "signed-origin.ts"));
    const started: StartedSluice[] = [];
    try {
      const [signed] = (await once(origin.child, "message")) as unknown as [SignedOrigin];
      const startSide = async (side: Side): Promise<StartedSluice> => {
        const sluice = await startSluice({
          folder: join(folder, side),
          upstreamUrl: signed.url,
          ...(side === "enforce" && { config: toPolicy(signed), files: toFiles(signed) }),
        });
        started.push(sluice);
        return sluice;
      };
      const enforce = await startSide("enforce");
      const off = await startSide("off");
      return await use(new EnforcePair(origin, { enforce, off }));
    } finally {
      await Promise.all([origin, ...started.map((one) => one.process)].map((one) => one.stop()));
      await rm(folder, { recursive: true, force: true });
    }
  }

  async images(format: Format, count: number): Promise<readonly MadeImage[]> {
    return await this.#make({ kind: "images", format, count });
  }

  /** An index of two images that has a signature of its own. */
  async signedIndex(format: Format): Promise<MadeImage> {
    const platforms = ["linux/amd64", "linux/arm64"];
    return only(await this.#make({ kind: "images", format, count: 1, platforms }));
  }

  /** In the repository of `blobPath`. */
  async blob(sizeBytes: number, { isJson }: { readonly isJson: boolean }): Promise<string> {
    return only(await this.#make({ kind: "blob", sizeBytes, isJson })).digest;
  }

  async #make(job: OriginJob): Promise<readonly MadeImage[]> {
    return (await askPart(this.#origin, job)) as readonly MadeImage[];
  }

  /** The sum of all series of a metric. */
  async metric(side: Side, name: string): Promise<number> {
    const { adminPort } = this.sluices[side];
    const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
    return text
      .split("\n")
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }
}

export const VERIFICATION = "sluice_verification_duration_seconds";

export interface PairRowOptions {
  readonly scenario: string;
  readonly target: string;
  readonly samples: Samples<Side>;
  readonly unit: string;
  readonly digits: number;
  readonly checks: readonly Check[];
  readonly remark?: string;
}

/** Both sides are Sluice, so they share its column. */
export function toPairRow(options: PairRowOptions): Row {
  const { scenario, target, samples, unit, digits, checks, remark } = options;
  const sides = SIDES.map((side) => `${side} ${formatSpread(samples.spread(side), unit, digits)}`);
  const cell = [...sides, ...(remark === undefined ? [] : [remark])].join("; ");
  return { scenario, target, cells: { sluice: cell }, checks, samples: samples.toObject() };
}

function only(images: readonly MadeImage[]): MadeImage {
  const [image] = images;
  assert(image !== undefined, "the upstream made nothing");
  return image;
}

function toFiles({ trustedRootJson, publicKeyPem }: SignedOrigin): Record<string, string> {
  return { "trusted_root.json": trustedRootJson, "cosign.pub": publicKeyPem };
}

/** Decisions are written down, as they are wherever there is a policy. */
function toPolicy({ issuer, identity }: SignedOrigin): string {
  const keyless = `keyless: { issuer: "${issuer}", subject: "${identity}", trustedRootFile: trusted_root.json }`;
  return `policy:
  unmatched: deny
  rules:
    - { name: key, match: ["bench.example/bench/key"], mode: enforce, signatures: { any: [key: { file: cosign.pub, log: ignore }] } }
    - { name: keyless, match: ["bench.example/bench/**"], mode: enforce, signatures: { any: [${keyless}] } }
`;
}
