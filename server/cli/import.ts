import type { Digest } from "../../storage/digest.ts";
import { StorageError } from "../../storage/errors.ts";
import { AirGapError } from "../air-gap/air-gap-error.ts";
import type { CollectedImage } from "../air-gap/collect.ts";
import { collectImage } from "../air-gap/collect.ts";
import { Layout } from "../air-gap/layout.ts";
import { openLayoutSource } from "../air-gap/layout-source.ts";
import type { Source } from "../cache/source.ts";
import { loadConfig, processEnvironment } from "../config/config.ts";
import type { Reference } from "../http/target.ts";
import { AIR_GAP_LIMITS } from "../limits.ts";
import type { Settings } from "../settings.ts";
import type { Bench } from "./air-gap-bench.ts";
import { openConfiguredBench, openScratchBench, openUpstreams } from "./air-gap-bench.ts";
import type { RefusedImage } from "./air-gap-report.ts";
import { refusalLine, refusalOf, reportLines, reportOf } from "./air-gap-report.ts";
import { resolveImages } from "./import-images.ts";
import { readableBytes } from "./progress.ts";
import { TransferProgress } from "./transfer-progress.ts";

export interface ImportOptions {
  readonly config?: string;
  readonly json?: true;
  readonly dryRun?: true;
}

interface Context {
  readonly layout: Layout;
  readonly settings: Settings;
  readonly progress: TransferProgress;
}

/** An image of the file, and the file in place of its registry. */
export interface Wanted {
  readonly image: string;
  readonly source: Source;
  readonly reference: Reference;
}

interface Outcome {
  readonly taken: readonly CollectedImage[];
  readonly refused: readonly RefusedImage[];
}

/**
 * Fills the configured store from an OCI image layout, so that the proxy serves what is in it
 * without its registries. First all is judged and verified beside the store; only what passes is
 * written. Returns the exit code: 0, or 1 when something was refused.
 */
export async function importImages(file: string, options: ImportOptions): Promise<number> {
  const settings = loadConfig(options.config, processEnvironment());
  try {
    await using source = await openLayoutSource(file);
    await using upstreams = openUpstreams(settings);
    const layout = await Layout.read(source);
    const { wanted, refused } = resolveImages(layout, upstreams);
    const context = {
      layout,
      settings,
      progress: new TransferProgress({ isQuiet: options.json === true }),
    };
    const judged = await judgeAll(wanted, context);
    const passed = wanted.filter(({ image }) => judged.refused.every((one) => one.image !== image));
    refuseTooLarge(judged.taken, settings);
    const stored = options.dryRun ? judged : await storeAll(passed, judged.taken, context);
    const again = options.dryRun ? [] : stored.refused;
    const outcome = { taken: stored.taken, refused: [...refused, ...judged.refused, ...again] };
    report(file, outcome, options);
    return outcome.refused.length > 0 ? 1 : 0;
  } catch (error) {
    if (!(error instanceof AirGapError)) {
      throw error;
    }
    process.stderr.write(`sluice: ${error.message}\n`);
    return 1;
  }
}

/** Each image is judged, and each of its bytes compared with its digest. */
async function judgeAll(wanted: readonly Wanted[], context: Context): Promise<Outcome> {
  await using bench = await openScratchBench(context.settings);
  const seen = new Set<Digest>();
  return await eachImage(wanted, context, async (one) => {
    const image = await collect(one, bench, context);
    context.progress.start(`verifying ${one.image}`, sizeOf([image]));
    for (const { digest } of image.blobs.values()) {
      if (!seen.has(digest)) {
        await drain(one.source, digest, { bench, progress: context.progress });
        seen.add(digest);
      }
    }
    return image;
  });
}

/** The same again, into the store. */
async function storeAll(
  passed: readonly Wanted[],
  judged: readonly CollectedImage[],
  context: Context,
): Promise<Outcome> {
  if (passed.length === 0) {
    return { taken: [], refused: [] };
  }
  await using bench = await openStore(context.settings);
  context.progress.start("importing", sizeOf(judged));
  return await eachImage(passed, context, async (one) => {
    const { source, reference } = one;
    if (reference.tag !== undefined) {
      // What the store believes of the tag is older than the file, however fresh it is.
      const signal = AbortSignal.timeout(AIR_GAP_LIMITS.lookupTimeoutMs);
      await bench.pulls.lookups.tagNow(source, reference.tag, signal);
    }
    const image = await collect(one, bench, context);
    for (const { digest, sizeBytes } of image.blobs.values()) {
      const { outcome } = await bench.pulls.lookups.statBlob(source, digest);
      if (outcome === "hit") {
        context.progress.add(sizeBytes);
      } else {
        await drain(source, digest, { bench, progress: context.progress });
      }
    }
    await refuseUnkept(image, bench);
    return image;
  });
}

function collect(
  { source, reference }: Wanted,
  bench: Bench,
  { layout }: Context,
): Promise<CollectedImage> {
  return collectImage(source, reference, {
    pulls: bench.pulls,
    withSignatures: true,
    has: async (digest) => (await layout.sizeOf(digest)) !== undefined,
  });
}

/** What is wrong with one image does not keep the others out. */
async function eachImage(
  wanted: readonly Wanted[],
  { progress }: Pick<Context, "progress">,
  take: (one: Wanted) => Promise<CollectedImage>,
): Promise<Outcome> {
  const taken: CollectedImage[] = [];
  const refused: RefusedImage[] = [];
  for (const one of wanted) {
    try {
      taken.push(await take(one));
    } catch (error) {
      refused.push(refusalOf(one.image, error));
    } finally {
      progress.end();
    }
  }
  return { taken, refused };
}

interface Drain {
  readonly bench: Bench;
  readonly progress: TransferProgress;
}

async function drain(source: Source, digest: Digest, { bench, progress }: Drain): Promise<void> {
  const { signal } = new AbortController();
  const ask = { choose: () => undefined, signal };
  await using blob = await bench.pulls.registry.openBlob(source, digest, ask);
  for await (const chunk of blob) {
    progress.add(chunk.byteLength);
  }
}

/** A pull goes on when the store fails; an import has failed then. */
async function refuseUnkept(image: CollectedImage, { store, storeProblem }: Bench): Promise<void> {
  await store.settled();
  for (const { digest } of [...image.manifests.values(), ...image.blobs.values()]) {
    if ((await store.stat(digest)) === undefined) {
      const why = storeProblem() ?? "it was evicted: storage.disk.maxBytes is too small";
      throw new AirGapError(`the store did not keep ${digest}: ${why}`);
    }
  }
}

async function openStore(settings: Settings): Promise<Bench> {
  try {
    return await openConfiguredBench(settings);
  } catch (error) {
    if (error instanceof StorageError && error.code === "store-unavailable") {
      throw new AirGapError(
        `a running proxy holds ${settings.storage.disk.path}: stop it, import, and start it again; ` +
          "or import into another folder with SLUICE_DATA, and start a proxy on that one",
        { cause: error },
      );
    }
    throw error;
  }
}

/** What eviction would take away again before the proxy has started. */
function refuseTooLarge(images: readonly CollectedImage[], settings: Settings): void {
  const needed = sizeOf(images);
  const { maxBytes } = settings.storage.disk;
  if (needed > maxBytes * AIR_GAP_LIMITS.storeShareMax) {
    throw new AirGapError(
      `the images need ${readableBytes(needed)}, and storage.disk.maxBytes is ${readableBytes(maxBytes)}, of ` +
        `which a fifth stays free: raise it`,
    );
  }
}

/** Each blob once. */
function sizeOf(images: readonly CollectedImage[]): number {
  const sizes = new Map<Digest, number>();
  for (const { manifests, blobs } of images) {
    for (const { digest, sizeBytes } of [...manifests.values(), ...blobs.values()]) {
      sizes.set(digest, sizeBytes);
    }
  }
  return [...sizes.values()].reduce((sum, one) => sum + one, 0);
}

function report(file: string, { taken, refused }: Outcome, options: ImportOptions): void {
  const images = taken.map(reportOf);
  const isDryRun = options.dryRun ?? false;
  if (options.json) {
    const document = { file, dryRun: isDryRun, images, refused };
    process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
  } else {
    const verb = isDryRun ? "would import" : "imported";
    const lines = images.flatMap((image) => reportLines(verb, image));
    process.stdout.write(lines.map((line) => `${line}\n`).join(""));
  }
  for (const one of refused) {
    process.stderr.write(`${refusalLine(one)}\n`);
  }
}
