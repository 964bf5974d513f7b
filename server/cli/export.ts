import { AirGapError } from "../air-gap/air-gap-error.ts";
import type { CollectedImage } from "../air-gap/collect.ts";
import { collectImage } from "../air-gap/collect.ts";
import { LayoutPlan } from "../air-gap/layout-writer.ts";
import { isPlatform } from "../air-gap/platforms.ts";
import { loadConfig, processEnvironment } from "../config/config.ts";
import { routeTo } from "../http/routing.ts";
import type { UpstreamSet } from "../upstream/upstream-set.ts";
import type { Bench } from "./air-gap-bench.ts";
import { openAnyBench, openUpstreams } from "./air-gap-bench.ts";
import type { RefusedImage } from "./air-gap-report.ts";
import { fullNameOf, refusalLine, refusalOf, reportLines, reportOf } from "./air-gap-report.ts";
import { parseImage } from "./image-reference.ts";
import type { Output } from "./output-file.ts";
import { openOutput } from "./output-file.ts";
import { TransferProgress } from "./transfer-progress.ts";

export interface ExportOptions {
  /** A file, or `-` for the standard output. */
  readonly output: string;
  readonly config?: string;
  /** `linux/arm64`; none stands for all. */
  readonly platform?: readonly string[];
  readonly signatures: boolean;
  readonly json?: true;
}

interface Context {
  readonly bench: Bench;
  readonly upstreams: UpstreamSet;
  readonly options: ExportOptions;
  readonly progress: TransferProgress;
}

interface Collection {
  readonly images: readonly CollectedImage[];
  readonly refused: readonly RefusedImage[];
}

/**
 * Writes images, with what was signed about them, into one file that can be carried: an OCI image
 * layout in a tar archive. All of them or none. Returns the exit code: 0, or 1 when one was refused.
 *
 * @param usage ends the program with 2.
 */
export async function exportImages(
  images: readonly string[],
  options: ExportOptions,
  usage: (message: string) => never,
): Promise<number> {
  const wrong = options.platform?.find((platform) => !isPlatform(platform));
  if (wrong !== undefined) {
    usage(
      `--platform takes os/architecture or os/architecture/variant, not ${JSON.stringify(wrong)}`,
    );
  }
  const settings = loadConfig(options.config, processEnvironment());
  await using upstreams = openUpstreams(settings);
  await using bench = await openAnyBench(settings);
  const context = {
    bench,
    upstreams,
    options,
    progress: new TransferProgress({ isQuiet: options.json === true }),
  };
  const collection = await collectAll(images, context);
  const refused =
    collection.refused.length > 0 ? collection.refused : await writeAll(collection, context);
  report(refused.length > 0 ? { images: [], refused } : collection, context);
  return refused.length > 0 ? 1 : 0;
}

/** Each is looked at, so that all that is wrong is said at once. */
async function collectAll(names: readonly string[], context: Context): Promise<Collection> {
  const { bench, upstreams, options, progress } = context;
  const images = new Map<string, CollectedImage>();
  const refused: RefusedImage[] = [];
  for (const image of names) {
    progress.line(`looking at ${image}`);
    try {
      const { name, ns, reference } = parseImage(image);
      const source = routeTo({ kind: "manifest", name, ns }, upstreams);
      const collected = await collectImage(source, reference, {
        pulls: bench.pulls,
        withSignatures: options.signatures,
        ...(options.platform !== undefined && { platforms: options.platform }),
      });
      images.set(fullNameOf(collected), collected);
    } catch (error) {
      refused.push(refusalOf(image, error));
    }
  }
  return { images: [...images.values()], refused };
}

async function writeAll(
  { images }: Collection,
  { bench, options, progress }: Context,
): Promise<readonly RefusedImage[]> {
  const plan = new LayoutPlan(images, bench.pulls.registry);
  progress.start("exporting", plan.sizeBytes);
  try {
    await using output: Output = await openOutput(options.output);
    await plan.write(output.write, (count) => progress.add(count));
    await output.commit();
    return [];
  } catch (error) {
    if (error instanceof AirGapError) {
      return [{ image: options.output, reason: `not written: ${error.message}` }];
    }
    throw error;
  } finally {
    progress.end();
  }
}

/** The standard output belongs to the archive when that goes there. */
function report({ images, refused }: Collection, { options }: Context): void {
  const out = options.output === "-" ? process.stderr : process.stdout;
  const reports = images.map(reportOf);
  if (options.json) {
    const file = refused.length > 0 ? null : options.output;
    out.write(`${JSON.stringify({ file, images: reports, refused }, undefined, 2)}\n`);
  }
  for (const one of refused) {
    process.stderr.write(`${refusalLine(one)}\n`);
  }
  if (refused.length > 0) {
    process.stderr.write("sluice: nothing was written\n");
  } else if (!options.json) {
    const lines = reports.flatMap((one) => reportLines("exported", one));
    out.write(lines.map((line) => `${line}\n`).join(""));
  }
}
