import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Logger } from "pino";
import { pino, stdSerializers } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import { App } from "../app.ts";
import { loadConfig, processEnvironment } from "../config/config.ts";
import { ConfigReloader } from "../config/reload.ts";
import { LineFile } from "../line-file.ts";
import type { Settings } from "../settings.ts";

export interface ServeOptions {
  readonly config?: string;
}

/** Runs the proxy until a signal ends it. Returns once it listens. */
export async function serve(options: ServeOptions): Promise<void> {
  const environment = processEnvironment();
  const settings = loadConfig(options.config, environment);
  const log = pino({ base: null, serializers: { err: stdSerializers.errWithCause } });
  const accessLog = new LineFile(settings.accessLog);
  const app = await App.start({ settings, version: packageJson.version, log, accessLog });
  const reloader = new ConfigReloader({
    file: options.config,
    environment,
    settings,
    apply: (next: Settings) => app.apply(next),
    metrics: app.metrics,
    logger: log,
  });
  process.on("unhandledRejection", (error) => {
    log.error({ err: error }, "a promise was left alone: please report this");
  });
  drainOnSignal({ app, reloader, accessLog, log });
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
  readonly accessLog: LineFile;
  readonly log: Logger;
}

/** The first signal lets pulls finish; the second means now. */
function drainOnSignal({ app, reloader, accessLog, log }: Running): void {
  let isDraining = false;
  const stop = async (signal: string): Promise<void> => {
    if (isDraining) {
      log.warn({ signal }, "stopping now");
      process.exit(0);
    }
    isDraining = true;
    log.info({ signal }, "draining");
    await reloader[Symbol.asyncDispose]();
    await app.drain();
    await accessLog.close();
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
