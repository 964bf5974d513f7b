import { setTimeout as sleep } from "node:timers/promises";
import type { BlobStore } from "../storage/blob-store.ts";
import type { Digest } from "../storage/digest.ts";
import type { Disk } from "../storage/disk.ts";
import type { RepositoryName } from "../storage/metadata-store.ts";
import type { PurgeOutcome, PurgeRun, PurgeTarget } from "../storage/purge.ts";
import type { PurgeReport } from "../storage/purge-removal.ts";
import type { RetentionRule } from "../storage/retention.ts";
import { compileGlob } from "./glob.ts";
import { PURGE_LIMITS } from "./limits.ts";
import { parseManifest } from "./oci/manifest.ts";
import type { ScrubOptions, ScrubState } from "./scrub-job.ts";
import { ScrubJob } from "./scrub-job.ts";
import type { RetentionSettings } from "./settings.ts";

export interface UpkeepOptions {
  readonly disk: Pick<Disk, "purger" | "scrubber">;
  /** What stands behind the disk, and would bring back what goes. */
  readonly behind?: readonly Pick<BlobStore, "stat" | "delete">[];
  readonly retention: () => readonly RetentionSettings[];
  /** Whatever is in memory of these repositories is of the past. */
  readonly forget: (repositories: ReadonlySet<RepositoryName>) => Promise<void>;
  readonly onEvicted: () => void;
  readonly log: UpkeepLog;
}

export interface UpkeepLog {
  info(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** What a running proxy does with what it holds, by request and by itself, one of each at a time. */
export class Upkeep implements AsyncDisposable {
  readonly #options: UpkeepOptions;
  readonly #stop = new AbortController();
  readonly #scrub: ScrubJob;
  readonly #timer: NodeJS.Timeout;
  readonly #interval: NodeJS.Timeout;
  #purging: Promise<PurgeReport> | undefined;
  #expiring: Promise<PurgeReport> | undefined;

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#scrub = new ScrubJob(options.disk.scrubber, this.#stop.signal, options.log);
    const expire = (): void => {
      if (options.retention().length === 0) {
        return;
      }
      this.expire().catch((err: unknown) => {
        options.log.error({ err }, "what is unused could not be removed");
      });
    };
    this.#timer = setTimeout(expire, PURGE_LIMITS.retentionFirstMs).unref();
    this.#interval = setInterval(expire, PURGE_LIMITS.retentionEveryMs).unref();
  }

  /** Undefined while another one runs. */
  async purge(target: PurgeTarget, isDryRun: boolean): Promise<PurgeReport | undefined> {
    if (this.#purging !== undefined) {
      return;
    }
    const run = { ...this.#run(), behind: this.#options.behind ?? [], isDryRun };
    this.#purging = this.#finish(this.#options.disk.purger.purge(target, run), run).finally(() => {
      this.#purging = undefined;
    });
    const report = await this.#purging;
    this.#options.log.info({ ...report, isDryRun }, "purged");
    return report;
  }

  /** What retention says, now. Whoever asks while it runs has that run's report. */
  async expire(): Promise<PurgeReport> {
    this.#expiring ??= this.#expire().finally(() => {
      this.#expiring = undefined;
    });
    return await this.#expiring;
  }

  /** Undefined while another one runs. */
  startScrub(options: ScrubOptions): ScrubState | undefined {
    return this.#scrub.start(options);
  }

  get scrub(): ScrubState {
    return this.#scrub.state;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    clearInterval(this.#interval);
    this.#stop.abort();
    await Promise.allSettled([this.#purging, this.#expiring, this.#scrub.done]);
  }

  async #expire(): Promise<PurgeReport> {
    const { disk, onEvicted, log } = this.#options;
    const { signal } = this.#stop;
    const rules = this.#options.retention().map(ruleOf);
    const run = {
      ...this.#run(), // not behind the disk: others may use what is there, and we know our own uses
      onEvicted,
      // Nobody waits for it: pulls have the disk and the processor first.
      pause: async () => {
        await sleep(PURGE_LIMITS.retentionPauseMs, undefined, { signal }).catch(() => undefined);
      },
    };
    const report = await this.#finish(disk.purger.expire(rules, run), run);
    if (report.tags + report.contents > 0) {
      log.info(report, "removed what retention says");
    }
    return report;
  }

  #run(): PurgeRun {
    return { ...purgeRun(), signal: this.#stop.signal };
  }

  async #finish(
    running: Promise<PurgeOutcome>,
    { isDryRun }: Pick<PurgeRun, "isDryRun">,
  ): Promise<PurgeReport> {
    const { report, repositories } = await running;
    if (isDryRun !== true && repositories.size > 0) {
      await this.#options.forget(repositories);
    }
    return report;
  }
}

/** What storage needs to know of manifests. */
export function purgeRun(): Pick<PurgeRun, "namesOf"> {
  return {
    namesOf: (bytes): Digest[] => {
      const { children, blobs } = parseManifest(bytes, "a manifest that is held");
      return [...children, ...blobs].map(({ digest }) => digest);
    },
  };
}

function ruleOf({ match, unusedDays, keepTags, tags }: RetentionSettings): RetentionRule {
  const matches = match.map(compileGlob);
  const named = tags?.map(compileGlob);
  return {
    matches: (repository) => matches.some((one) => one(repository)),
    isNamed: (tag) => named?.some((one) => one(tag)) ?? true,
    ...(unusedDays !== undefined && { unusedMs: unusedDays * PURGE_LIMITS.dayMs }),
    ...(keepTags !== undefined && { keepTags }),
  };
}
