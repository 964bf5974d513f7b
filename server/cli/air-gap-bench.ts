import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import type { BlobStore } from "../../storage/blob-store.ts";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";
import { DiskLayout } from "../../storage/disk-layout.ts";
import { StorageError } from "../../storage/errors.ts";
import { KeptStore, SmallStore } from "../air-gap/kept-store.ts";
import type { Pulls } from "../air-gap/pulls.ts";
import { Cache } from "../cache/cache.ts";
import { nameOf } from "../cache/source.ts";
import { AIR_GAP_LIMITS } from "../limits.ts";
import { Metrics } from "../metrics.ts";
import { PolicyEngine } from "../policy/engine.ts";
import { PolicyGate } from "../policy/gate.ts";
import type { Settings } from "../settings.ts";
import { UpstreamSet } from "../upstream/upstream-set.ts";

const NOTHING = (): void => undefined;

/** A cache with a policy in front, as the proxy has it, for the time of one command. */
export interface Bench extends AsyncDisposable {
  readonly pulls: Pulls;
  readonly store: KeptStore;
  /** Why the store did not take something, the first time; undefined when it took all. */
  storeProblem(): string | undefined;
}

/** The configured store. @throws StorageError `store-unavailable` when a proxy holds it. */
export async function openConfiguredBench(settings: Settings): Promise<Bench> {
  const { disk: place, verifyReads } = settings.storage;
  const events = { evicted: NOTHING, corruption: NOTHING, failed: NOTHING };
  const disk = await openDisk({ ...place, verifyReads, events });
  return await openBench(settings, { disk, store: disk.blobs, held: true });
}

/** A store that ends with the command, and holds manifests and signatures only. */
export async function openScratchBench(settings: Settings): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-air-gap-"));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  try {
    const { scratchBytesMax: maxBytes, scratchBlobBytesMax } = AIR_GAP_LIMITS;
    const events = { evicted: NOTHING, corruption: NOTHING, failed: NOTHING };
    const disk = await openDisk({ path: folder, maxBytes, verifyReads: "always", events });
    const store = new SmallStore(disk.blobs, scratchBlobBytesMax);
    const bench = stack.use(await openBench(settings, { disk, store, held: false }));
    const all = stack.move();
    return { ...bench, [Symbol.asyncDispose]: () => all.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** The configured store where there is one that nobody uses, else a scratch one. */
export async function openAnyBench(settings: Settings): Promise<Bench> {
  if (!existsSync(new DiskLayout(settings.storage.disk.path).databaseFile)) {
    return await openScratchBench(settings);
  }
  try {
    return await openConfiguredBench(settings);
  } catch (error) {
    if (error instanceof StorageError && error.code === "store-unavailable") {
      return await openScratchBench(settings); // a proxy is running: its registries are ours, too
    }
    throw error;
  }
}

/** The registries of a configuration. Disposing of them breaks off what is running. */
export function openUpstreams(settings: Settings): UpstreamSet & AsyncDisposable {
  const { upstreams, defaultUpstream, credentials, clients } = settings;
  const set = new UpstreamSet(upstreams, {
    defaultUpstream,
    credentials,
    rightsDiffer: clients?.rules !== undefined,
    metrics: new Metrics(),
    version: packageJson.version,
  });
  return Object.assign(set, { [Symbol.asyncDispose]: () => set.destroy() });
}

interface Place {
  readonly disk: Disk;
  readonly store: BlobStore;
  readonly held: boolean;
}

async function openBench(settings: Settings, { disk, store, held }: Place): Promise<Bench> {
  const metrics = new Metrics();
  const stack = new AsyncDisposableStack();
  stack.use(disk);
  try {
    const kept = new KeptStore(store);
    let problem: string | undefined;
    const onStoreFailed = (_operation: string, error: unknown): void => {
      problem ??= error instanceof Error ? error.message : String(error);
    };
    const { metadata, evidence } = disk;
    const cache = stack.use(
      new Cache({
        store: kept,
        metadata,
        metrics,
        onStoreFailed,
        // What is brought counts as used: retention takes away what is not.
        onUse: (repository, name, atMs) => disk.uses.used(repository, name, atMs),
      }),
    );
    const engine = stack.use(
      new PolicyEngine({
        registry: cache,
        evidence,
        metrics,
        log: pino({ level: "error" }, process.stderr),
        dataPath: settings.storage.disk.path,
        now: Date.now,
        onRevision: NOTHING,
      }),
    );
    (await engine.prepare(settings))();
    const pulls: Pulls = {
      registry: new PolicyGate(cache, () => engine.assessor),
      lookups: cache,
      ...(held && {
        held: async (source, tag) => {
          const record = await metadata.getTag(nameOf(source), tag);
          return record && (await cache.manifestByDigest(source, record.digest)).manifest;
        },
      }),
    };
    const all = stack.move();
    return {
      pulls,
      store: kept,
      storeProblem: () => problem,
      [Symbol.asyncDispose]: () => all.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}
