import { createHash } from "node:crypto";
import type { EventEmitter } from "node:events";
import type { FSWatcher } from "node:fs";
import { readFileSync, statSync, watch } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { CONFIG_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import type { Settings, UpstreamSettings } from "../settings.ts";
import { formatAddress } from "./addresses.ts";
import { loadConfig } from "./config.ts";
import { ConfigError } from "./errors.ts";
import { listTrustStore } from "./policy-files.ts";
import { policySources } from "./policy-sources.ts";
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
  readonly #watchers = new Map<string, Watched>();
  #settings: Settings;
  #fingerprint: string;
  #queue: Promise<unknown> = Promise.resolve();
  #debounce: NodeJS.Timeout | undefined;
  #isDisposed = false;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#signals = options.signals ?? process;
    this.#settings = options.settings;
    this.#fingerprint = this.#takeFingerprint(options.settings);
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
    for (const { watcher } of this.#watchers.values()) {
      watcher.close();
    }
    this.#watchers.clear();
    await this.#queue;
  }

  async #reload(cause: "signal" | "file"): Promise<ReloadOutcome> {
    if (this.#isDisposed) {
      return "unchanged";
    }
    const { file, apply, metrics, logger } = this.#options;
    this.#watchFolders();
    const fingerprint = this.#takeFingerprint(this.#settings);
    if (cause === "file" && fingerprint === this.#fingerprint) {
      return "unchanged";
    }
    this.#fingerprint = fingerprint;
    try {
      const settings = this.#load();
      this.#refuseLostChecks(settings);
      await apply(settings);
      const restart = needsRestart(this.#options.settings, settings);
      this.#settings = settings;
      this.#watchFolders();
      metrics.reload("applied");
      logger.info({ file, cause }, "configuration reloaded");
      for (const change of restart) {
        logger.error({ file, ...change }, `${change.key} has changed: it needs a restart`);
      }
      return "applied";
    } catch (error) {
      const details = error instanceof ConfigError ? { problems: error.problems } : { err: error };
      this.#fingerprint = fingerprint;
      metrics.reload("refused");
      logger.error({ file, cause, ...details }, "configuration not reloaded: the old one goes on");
      return "refused";
    }
  }

  /**
   * What is taken over is never older than the fingerprint, or a change in between would go
   * unnoticed. Which files that is about is only known once they have been read.
   */
  #load(): Settings {
    const { file, environment } = this.#options;
    const settings = loadConfig(file, environment);
    if (isDeepStrictEqual(this.#sources(settings), this.#sources(this.#settings))) {
      return settings;
    }
    this.#fingerprint = this.#takeFingerprint(settings);
    return loadConfig(file, environment);
  }

  /** A file that is cut off, or half written, may still be valid: it must not switch checks off. */
  #refuseLostChecks(settings: Settings): void {
    const lost = CHECKS.filter(({ isLost }) => isLost(this.#settings, settings));
    const problems = lost.map(({ key, without }) => ({
      file: this.#options.file ?? "the configuration",
      message: `found no ${key} where there was one before: to ${without}, restart`,
    }));
    if (problems.length > 0) {
      throw new ConfigError(problems);
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
    const { files, folders: stores } = this.#sources(this.#settings);
    const folders = new Set([...[...files, ...stores].map((name) => dirname(name)), ...stores]);
    for (const [folder, { watcher, identity }] of this.#watchers) {
      // A folder that another one has taken the place of is watched to no end.
      if (!folders.has(folder) || identityOf(folder) !== identity) {
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
      this.#watchers.get(folder)?.watcher.close();
      this.#watchers.delete(folder);
      this.#options.logger.error({ err, folder }, "folder not watched: reload by SIGHUP");
    };
    try {
      const watcher = watch(folder, { persistent: false }, (_, name) => {
        if (name === null || !this.#isOwnLog(join(folder, name))) {
          this.#fileTouched();
        }
      });
      watcher.on("error", unwatched);
      this.#watchers.set(folder, { watcher, identity: identityOf(folder) });
    } catch (error) {
      unwatched(error);
    }
  }

  #fileTouched(): void {
    clearTimeout(this.#debounce);
    this.#debounce = setTimeout(() => this.#background("file"), CONFIG_LIMITS.reloadDebounceMs);
    this.#debounce.unref();
  }

  /** What we write ourselves, all the time: waiting until it rests would be waiting for ever. */
  #isOwnLog(path: string): boolean {
    const { accessLog, audit } = this.#settings;
    const written = path.replace(/\.\d+$/u, "");
    return [accessLog, audit?.target].some(
      (target) => typeof target === "object" && target.file === written,
    );
  }

  /** The configuration and what it names: a renewed certificate is a change, too. */
  #sources(settings: Settings): Sources {
    const { file } = this.#options;
    if (file === undefined) {
      return { files: [], folders: [] };
    }
    const { files, folders } = policySources(settings.policy);
    return { files: [resolve(file), ...namedFiles(settings), ...files], folders };
  }

  #takeFingerprint(settings: Settings): string {
    const { files, folders } = this.#sources(settings);
    const hash = createHash("sha256");
    for (const name of new Set([...files, ...folders.flatMap(filesOf)])) {
      hash.update(`${basename(name)}\n`);
      try {
        hash.update(createHash("sha256").update(readFileSync(name)).digest());
      } catch {
        hash.update("unreadable"); // loadConfig says why, at its place
      }
    }
    return hash.digest("hex");
  }
}

interface LostCheck {
  readonly key: string;
  readonly isLost: (running: Settings, configured: Settings) => boolean;
  /** What would be without it. */
  readonly without: string;
}

const CHECKS: readonly LostCheck[] = [
  {
    key: "policy",
    isLost: (running, { policy }) => running.policy !== undefined && policy === undefined,
    without: "run without a policy",
  },
  {
    key: "clients",
    isLost: (running, { clients }) => running.clients !== undefined && clients === undefined,
    without: "let everybody who can connect pull",
  },
  {
    key: "clients.rules",
    isLost: (running, { clients }) =>
      running.clients?.rules !== undefined && clients !== undefined && clients.rules === undefined,
    without: "let all that are let in pull everything",
  },
  {
    key: "tls.clientCaFile",
    isLost: (running, { tls, clients }) =>
      running.tls?.clientCaFile !== undefined &&
      tls?.clientCaFile === undefined &&
      clients === undefined,
    without: "let everybody who can connect pull",
  },
  {
    key: "access: per-client",
    isLost: (running, { upstreams }) =>
      running.upstreams.some(
        ({ name, access }) =>
          access === "per-client" &&
          upstreams.some((one) => one.name === name && one.access === "shared"),
      ),
    without: "serve what is held of it to all that are let in",
  },
];

interface Watched {
  readonly watcher: FSWatcher;
  readonly identity: string;
}

/** Which folder a name stands for now. */
function identityOf(folder: string): string {
  try {
    const { dev, ino } = statSync(folder);
    return `${dev}:${ino}`;
  } catch {
    return "none that we may see";
  }
}

interface Sources {
  readonly files: readonly string[];
  /** Of whose files each counts, also one that is added. */
  readonly folders: readonly string[];
}

function filesOf(folder: string): readonly string[] {
  try {
    const names = listTrustStore(folder).slice(0, CONFIG_LIMITS.certificatesMax + 1);
    return names.map((name) => join(folder, name));
  } catch {
    return [folder]; // which cannot be read as a file either
  }
}

function namedFiles(settings: Settings): string[] {
  const { adminTokenFile, tls, upstreams, credentials, clients, trust } = settings;
  return [
    adminTokenFile,
    tls?.certFile,
    tls?.keyFile,
    tls?.clientCaFile,
    credentials.dockerConfigFile,
    credentials.kubeletProviders?.configFile,
    clients?.htpasswdFile,
    ...(clients?.tokens ?? []).flatMap(({ jwksFile, caFile }) => [jwksFile, caFile]),
    trust.tufRootFile,
    ...upstreams.flatMap(({ caFile, auth }) => [caFile, ...authFiles(auth)]),
  ].filter((file) => file !== undefined);
}

function authFiles(auth: UpstreamSettings["auth"]): (string | undefined)[] {
  if (auth === undefined) {
    return [];
  }
  return ["provider" in auth ? auth.keyFile : auth.passwordFile];
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
    ["storage.s3", ({ storage }) => JSON.stringify(storage.s3 ?? "none")],
    ["storage.verifyReads", ({ storage }) => storage.verifyReads],
    ["accessLog", ({ accessLog }) => (accessLog === "stdout" ? accessLog : accessLog.file)],
  ];
  return keys
    .map(([key, of]) => ({ key, running: of(running), configured: of(configured) }))
    .filter((change) => change.running !== change.configured);
}
