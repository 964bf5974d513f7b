import { createHash } from "node:crypto";
import type { EventEmitter } from "node:events";
import type { FSWatcher } from "node:fs";
import { readFileSync, watch } from "node:fs";
import { dirname, resolve } from "node:path";
import { CONFIG_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import type { Settings } from "../settings.ts";
import { formatAddress } from "./addresses.ts";
import { loadConfig } from "./config.ts";
import { ConfigError } from "./errors.ts";
import type { Environment } from "./variables.ts";

export interface ReloadLogger {
  info(details: object, message: string): void;
  error(details: object, message: string): void;
}

export interface ReloaderOptions {
  /** Undefined for the embedded default: then only a signal reloads, and only what it reads. */
  readonly file: string | undefined;
  readonly environment: Environment;
  /** What the process was started with. */
  readonly settings: Settings;
  /** Takes all of the new settings, or throws and keeps all of the old. */
  readonly apply: (settings: Settings) => Promise<void>;
  readonly metrics: Pick<Metrics, "reload">;
  readonly logger: ReloadLogger;
  /** Where SIGHUP comes from: the process, but for tests. */
  readonly signals?: EventEmitter;
}

export type ReloadOutcome = "applied" | "refused" | "unchanged";

/**
 * Loads the configuration again on SIGHUP, and when the file, or one that it names, has changed:
 * all of it or nothing. One reload runs at a time.
 */
export class ConfigReloader implements AsyncDisposable {
  readonly #options: ReloaderOptions;
  readonly #signals: EventEmitter;
  readonly #onSignal = (): void => this.#background("signal");
  readonly #watchers = new Map<string, FSWatcher>();
  #settings: Settings;
  #fingerprint: string;
  #queue: Promise<unknown> = Promise.resolve();
  #debounce: NodeJS.Timeout | undefined;
  #isDisposed = false;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#signals = options.signals ?? process;
    this.#settings = options.settings;
    this.#fingerprint = this.#takeFingerprint();
    this.#signals.on("SIGHUP", this.#onSignal);
    this.#watchFolders();
  }

  /** What runs now. */
  get settings(): Settings {
    return this.#settings;
  }

  /** Reloads after the reload that may be running. A signal does not ask what has changed. */
  reload(cause: "signal" | "file"): Promise<ReloadOutcome> {
    const next = this.#queue.then(() => this.#reload(cause));
    this.#queue = next.catch(() => undefined);
    return next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#signals.off("SIGHUP", this.#onSignal);
    clearTimeout(this.#debounce);
    for (const watcher of this.#watchers.values()) {
      watcher.close();
    }
    this.#watchers.clear();
    await this.#queue;
  }

  async #reload(cause: "signal" | "file"): Promise<ReloadOutcome> {
    if (this.#isDisposed) {
      return "unchanged";
    }
    const { file, environment, apply, metrics, logger } = this.#options;
    const fingerprint = this.#takeFingerprint();
    if (cause === "file" && fingerprint === this.#fingerprint) {
      return "unchanged";
    }
    this.#fingerprint = fingerprint;
    try {
      const settings = loadConfig(file, environment);
      await apply(settings);
      const restart = needsRestart(this.#options.settings, settings);
      this.#settings = settings;
      this.#fingerprint = this.#takeFingerprint(); // the files that are named may be others now
      this.#watchFolders();
      metrics.reload("applied");
      logger.info({ file, cause }, "configuration reloaded");
      for (const change of restart) {
        logger.error({ file, ...change }, `${change.key} has changed: it needs a restart`);
      }
      return "applied";
    } catch (error) {
      const details = error instanceof ConfigError ? { problems: error.problems } : { err: error };
      metrics.reload("refused");
      logger.error({ file, cause, ...details }, "configuration not reloaded: the old one goes on");
      return "refused";
    }
  }

  #background(cause: "signal" | "file"): void {
    this.reload(cause).catch((err: unknown) => {
      this.#options.logger.error({ err }, "reloading failed");
    });
  }

  /**
   * Folders, not files: editors and Kubernetes put another file, or another link, in the place of
   * the old one, and a watched file would be the one that is gone.
   */
  #watchFolders(): void {
    const folders = new Set(this.#files().map((name) => dirname(name)));
    for (const [folder, watcher] of this.#watchers) {
      if (!folders.has(folder)) {
        watcher.close();
        this.#watchers.delete(folder);
      }
    }
    for (const folder of folders) {
      if (!this.#watchers.has(folder)) {
        this.#watch(folder);
      }
    }
  }

  #watch(folder: string): void {
    const unwatched = (err: unknown) => {
      this.#watchers.get(folder)?.close();
      this.#watchers.delete(folder);
      this.#options.logger.error({ err, folder }, "folder not watched: reload by SIGHUP");
    };
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#fileTouched());
      watcher.on("error", unwatched);
      this.#watchers.set(folder, watcher);
    } catch (error) {
      unwatched(error);
    }
  }

  #fileTouched(): void {
    clearTimeout(this.#debounce);
    this.#debounce = setTimeout(() => this.#background("file"), CONFIG_LIMITS.reloadDebounceMs);
    this.#debounce.unref();
  }

  /** The configuration and what it names: a renewed certificate is a change, too. */
  #files(): string[] {
    const { file } = this.#options;
    return file === undefined ? [] : [resolve(file), ...namedFiles(this.#settings)];
  }

  #takeFingerprint(): string {
    const hash = createHash("sha256");
    for (const name of this.#files()) {
      try {
        hash.update(createHash("sha256").update(readFileSync(name)).digest());
      } catch {
        hash.update(`unreadable ${name}`); // loadConfig says why, at its place
      }
    }
    return hash.digest("hex");
  }
}

function namedFiles({ tls, upstreams, credentials }: Settings): string[] {
  return [
    tls?.certFile,
    tls?.keyFile,
    tls?.clientCaFile,
    credentials.dockerConfigFile,
    ...upstreams.flatMap(({ caFile, auth }) => [caFile, auth?.passwordFile]),
  ].filter((file) => file !== undefined);
}

interface RestartChange {
  readonly key: string;
  readonly running: string;
  readonly configured: string;
}

/** What a running process keeps although the file says otherwise. */
function needsRestart(running: Settings, configured: Settings): RestartChange[] {
  const keys: readonly (readonly [key: string, of: (settings: Settings) => string])[] = [
    ["listen", ({ listen }) => formatAddress(listen)],
    ["admin", ({ admin }) => formatAddress(admin)],
    ["tls", ({ tls }) => (tls === undefined ? "off" : "on")],
    ["storage.disk.path", ({ storage }) => storage.disk.path],
    ["storage.verifyReads", ({ storage }) => storage.verifyReads],
    ["accessLog", ({ accessLog }) => (accessLog === "stdout" ? accessLog : accessLog.file)],
  ];
  return keys
    .map(([key, of]) => ({ key, running: of(running), configured: of(configured) }))
    .filter((change) => change.running !== change.configured);
}
