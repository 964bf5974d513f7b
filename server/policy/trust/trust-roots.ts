import type { TrustSettings } from "../../policy-settings.ts";
import { sha256Hex } from "./tuf-last-good.ts";
import type { Fetched } from "./tuf-repository.ts";
import { EMPTY_ROOT, TufRepository } from "./tuf-repository.ts";
import type { Later } from "./tuf-schedule.ts";
import { firstRefreshDelayMs, laterByTimer, refreshDelayMs } from "./tuf-schedule.ts";
import { tufSourceOf } from "./tuf-source.ts";

/**
 * How a refresh ended. With the last three the root in force stays: the repository could not be
 * asked, it said what is not to be believed, or the fault is on this machine.
 */
export type RefreshOutcome = "changed" | "unchanged" | "unreachable" | "refused" | "failed";

export interface TrustLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
}

export interface TrustRootsOptions {
  readonly settings: TrustSettings;
  /** Ours alone: what TUF brought is kept here. Made when it is first needed. */
  readonly folder: string;
  readonly log: TrustLog;
  /** A refresh brought another root. Not called by `apply`: whoever calls that knows. */
  readonly onChanged: () => void;
  /** A refresh ended: for metrics. */
  readonly onRefreshed?: (outcome: RefreshOutcome) => void;
  /** The public-good TrustedRoot, as JSON text, that the program brings along. */
  readonly bundled: () => string;
  /** A timer, and Math.random; tests set them. */
  readonly later?: Later;
  readonly random?: () => number;
}

/**
 * The trusted root that `public-good` means. Bundled, it never changes and needs no network. By
 * TUF, it is what was last known to be good, refreshed in the background: no pull, no start and no
 * exit ever waits for it, and whatever goes wrong leaves the last good one in force.
 */
export class TrustRoots implements AsyncDisposable {
  readonly #options: TrustRootsOptions;
  readonly #later: Later;
  readonly #random: () => number;
  readonly #repository: TufRepository | undefined;
  #publicGood = "";
  #revision = "";
  /** Ends what is done for a repository that is no longer asked. */
  readonly #abort = new AbortController();
  #underWay: Promise<RefreshOutcome> | undefined;
  /** Refreshes that were given up, and may not have ended yet. */
  #leaving: Promise<unknown> = Promise.resolve();
  #callOff: () => void = () => undefined;
  #failuresInARow = 0;
  /** What was last told, so that a state is logged once and not with every attempt. */
  #trouble: RefreshOutcome | undefined;

  private constructor(options: TrustRootsOptions) {
    this.#options = options;
    this.#later = options.later ?? laterByTimer;
    this.#random = options.random ?? Math.random;
    this.#repository = this.#repositoryOf(options.settings);
    this.#put(this.#known());
    this.#scheduleFirst();
  }

  /** @throws Error when the settings name a mirror or a root file that cannot be one. */
  static open(options: TrustRootsOptions): TrustRoots {
    return new TrustRoots(options);
  }

  /** A Sigstore TrustedRoot as JSON text: the one in force now. */
  get publicGood(): string {
    return this.#publicGood;
  }

  /** 12 hex of its SHA-256. */
  get revision(): string {
    return this.#revision;
  }

  /** Why nothing can be verified with it yet: a private repository that was never reached. */
  get problem(): string | undefined {
    return this.#publicGood === EMPTY_ROOT
      ? `the trusted root of ${this.#repository?.source.mirror} has not been fetched yet`
      : undefined;
  }

  /** Joins the refresh that is under way; `unchanged` when there is nothing to ask. */
  refreshNow(): Promise<RefreshOutcome> {
    if (this.#repository === undefined || this.#abort.signal.aborted) {
      return Promise.resolve("unchanged");
    }
    this.#underWay ??= this.#refresh(this.#repository, this.#abort.signal);
    return this.#underWay;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#giveUp();
    await this.#leaving;
  }

  async #refresh(repository: TufRepository, signal: AbortSignal): Promise<RefreshOutcome> {
    await this.#leaving;
    const fetched = await repository.fetch(signal);
    if (signal.aborted) {
      return "unchanged";
    }
    this.#underWay = undefined;
    const outcome = this.#take(fetched);
    this.#tell(fetched);
    this.#failuresInARow = fetched.outcome === "fetched" ? 0 : this.#failuresInARow + 1;
    this.#schedule(refreshDelayMs(this.#failuresInARow, this.#random()));
    this.#options.onRefreshed?.(outcome);
    if (outcome === "changed") {
      this.#options.onChanged();
    }
    return outcome;
  }

  #take(fetched: Fetched): RefreshOutcome {
    if (fetched.outcome !== "fetched") {
      return fetched.outcome;
    }
    return this.#put(fetched.trustedRoot) ? "changed" : "unchanged";
  }

  #put(trustedRoot: string): boolean {
    const revision = sha256Hex(trustedRoot).slice(0, 12);
    const isChanged = revision !== this.#revision;
    this.#publicGood = trustedRoot;
    this.#revision = revision;
    if (isChanged && this.#repository !== undefined) {
      this.#options.log.info({ ...this.#named(), revision }, "a trusted root is in force");
    }
    return isChanged;
  }

  #known(): string {
    if (this.#repository === undefined) {
      return this.#options.bundled();
    }
    const { trustedRoot, warning } = this.#repository.known();
    if (warning !== undefined) {
      this.#options.log.warn(this.#named(), warning);
    }
    return trustedRoot;
  }

  #tell(fetched: Fetched): void {
    const { log } = this.#options;
    const trouble = fetched.outcome === "fetched" ? undefined : fetched.outcome;
    const isNews = trouble !== this.#trouble;
    this.#trouble = trouble;
    if (fetched.outcome === "fetched" && fetched.warning !== undefined) {
      log.warn(this.#named(), fetched.warning);
    }
    if (!isNews) {
      return;
    }
    if (fetched.outcome === "fetched") {
      log.info(this.#named(), "the trusted root can be refreshed again");
    } else {
      const { outcome, problem } = fetched;
      const details = { ...this.#named(), outcome, problem, revision: this.#revision };
      log.warn(
        details,
        "the trusted root could not be refreshed; the last good one stays in force",
      );
    }
  }

  #named(): object {
    return { mirror: this.#repository?.source.mirror };
  }

  #giveUp(): void {
    this.#callOff();
    this.#abort.abort();
    this.#leaving = Promise.all([this.#leaving, this.#underWay]);
    this.#underWay = undefined;
  }

  #scheduleFirst(): void {
    if (this.#repository !== undefined) {
      // As long as nothing can be verified there is nothing to spread.
      this.#schedule(this.problem === undefined ? firstRefreshDelayMs(this.#random()) : 0);
    }
  }

  #schedule(delayMs: number): void {
    this.#callOff();
    this.#callOff = this.#later(() => void this.refreshNow(), delayMs);
  }

  #repositoryOf(settings: TrustSettings): TufRepository | undefined {
    const source = tufSourceOf(settings);
    return source === undefined ? undefined : new TufRepository(source, this.#options);
  }
}
