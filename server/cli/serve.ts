import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Logger } from "pino";
import { pino, stdSerializers } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import { App } from "../app.ts";
import { AuditLog } from "../audit-log.ts";
import { loadConfig, processEnvironment } from "../config/config.ts";
import type { ReloadOutcome } from "../config/reload.ts";
import { ConfigReloader } from "../config/reload.ts";
import { DRAIN_LIMITS } from "../limits.ts";
import { LineFile } from "../line-file.ts";
import type { Settings } from "../settings.ts";
import { within } from "../within.ts";

export interface ServeOptions {
  readonly config?: string;
}

/** Runs the proxy until a signal ends it. Returns once it listens. */
export async function serve(options: ServeOptions): Promise<void> {
  const environment = processEnvironment();
  const settings = loadConfig(options.config, environment);
  const log = pino({ base: null, serializers: { err: stdSerializers.errWithCause } });
  const accessLog = new LineFile(settings.accessLog);
  const audit = new AuditLog((lines) => app.metrics.policy.auditLinesLost(lines));
  audit.apply(settings.audit);
  const { version } = packageJson;
  const reload = (): Promise<ReloadOutcome> => reloader.reload("signal");
  const app = await App.start({ settings, version, log, accessLog, audit, reload });
  const reloader = new ConfigReloader({
    file: options.config,
    environment,
    settings,
    apply: async (next: Settings) => {
      await app.apply(next);
      audit.apply(next.audit);
    },
    metrics: app.metrics,
    logger: log,
  });
  process.on("unhandledRejection", (error) => {
    log.error({ err: error }, "a promise was left alone: please report this");
  });
  const lineFiles = [accessLog, audit];
  process.on("SIGHUP", () => {
    for (const file of lineFiles) {
      file.reopen(); // logrotate says so that it moved them away
    }
  });
  drainOnSignal({ app, reloader, lineFiles, log });
  forgetTheStart();
  log.info({ registry: app.registryUrl, admin: app.adminUrl }, "listening");
}

/**
 * Collects what starting left behind: sources, parsers' tables. V8 would keep the room for it, and
 * the process would peak 6 MiB higher. Node has no other way to ask for it without a flag.
 */
function forgetTheStart(): void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") {
    collect({ type: "major", execution: "sync", flavor: "last-resort" });
  }
}

interface Running {
  readonly app: App;
  readonly reloader: ConfigReloader;
  readonly lineFiles: readonly Pick<LineFile, "close">[];
  readonly log: Logger;
}

/** A decision that was made is written down, unless the disk does not take it. */
async function closeSoon(lineFiles: Running["lineFiles"]): Promise<void> {
  const closed = Promise.all(lineFiles.map((file) => file.close()));
  await within(closed, DRAIN_LIMITS.lastLinesMs);
}

/** The first signal lets pulls finish; the second means now. */
function drainOnSignal({ app, reloader, lineFiles, log }: Running): void {
  let isDraining = false;
  const stop = async (signal: string): Promise<void> => {
    if (isDraining) {
      log.warn({ signal }, "stopping now");
      await closeSoon(lineFiles);
      process.exit(0);
    }
    isDraining = true;
    log.info({ signal }, "draining");
    await reloader[Symbol.asyncDispose]();
    await app.drain();
    await Promise.all(lineFiles.map((file) => file.close()));
    log.info({}, "stopped");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      stop(signal).catch((error: unknown) => {
        log.error({ err: error }, "the program did not stop as it should");
        process.exit(1);
      });
    });
  }
}
