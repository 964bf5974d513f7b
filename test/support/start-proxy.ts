import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { Logger } from "../../server/app.ts";
import { App } from "../../server/app.ts";
import type { PolicySettings } from "../../server/policy-settings.ts";
import type {
  ClientSettings,
  CredentialSettings,
  S3Settings,
  Settings,
  UpstreamSettings,
} from "../../server/settings.ts";

export interface ProxyOptions {
  readonly upstreams: readonly (Partial<UpstreamSettings> & Pick<UpstreamSettings, "urls">)[];
  readonly dataPath?: string;
  readonly maxBytes?: number;
  readonly verifyReads?: "first" | "always" | "never";
  readonly policy?: PolicySettings;
  readonly credentials?: CredentialSettings;
  readonly clients?: ClientSettings;
  readonly s3?: S3Settings;
  readonly now?: () => number;
}

export interface TestProxy {
  readonly app: App;
  /** What it runs on: a reload begins with them. */
  readonly settings: Settings;
  readonly url: string;
  readonly adminUrl: string;
  readonly dataPath: string;
  /** Lines of warnings and errors, for tests that expect some. */
  readonly complaints: string[];
  /** The value of a metric, by its name and labels as they are exposed; 0 when there is none. */
  metric(series: string): Promise<number>;
  /** Resolves once a metric has the value: some are counted just after the last byte. */
  metricBecomes(series: string, value: number): Promise<void>;
}

/**
 * The whole proxy in this process, on free loopback ports. The first upstream is the default; it
 * is named `team.example` unless it has a name. Closed when the test ends.
 */
export async function startProxy(t: Test, options: ProxyOptions): Promise<TestProxy> {
  const dataPath = options.dataPath ?? (await mkdtemp(join(tmpdir(), "sluice-test-")));
  const complaints: string[] = [];
  const settings = settingsFor(options, dataPath);
  const app = await App.start({
    settings,
    version: "0.0.0-test",
    log: collecting(complaints),
    accessLog: { info: () => undefined },
    bucketWaitMs: 30_000,
    ...(options.now === undefined ? {} : { now: options.now }),
  });
  t.teardown(async () => {
    await app[Symbol.asyncDispose]();
    if (options.dataPath === undefined) {
      await rm(dataPath, { recursive: true, force: true });
    }
  });
  const metric = async (series: string): Promise<number> => {
    const text = await (await fetch(`${app.adminUrl}/metrics`)).text();
    const line = text.split("\n").find((one) => one.startsWith(`${series} `));
    return Number(line?.slice(series.length + 1) ?? 0);
  };
  return {
    app,
    settings,
    url: app.registryUrl,
    adminUrl: app.adminUrl,
    dataPath,
    complaints,
    metric,
    metricBecomes: async (series, value) => {
      while ((await metric(series)) !== value) {
        // Each look is a request of its own, so there is nothing to wait for in between.
      }
    },
  };
}

function settingsFor(options: ProxyOptions, dataPath: string): Settings {
  const upstreams = options.upstreams.map((upstream, at) => ({
    name: at === 0 ? "team.example" : `team${at}.example`,
    aliases: [],
    insecure: false,
    tokenHosts: [],
    redirectHosts: [],
    tagFreshSeconds: 30,
    serveStaleSeconds: 86_400,
    access: "shared" as const,
    ...upstream,
  }));
  return {
    listen: { host: "127.0.0.1", port: 0 },
    admin: { host: "127.0.0.1", port: 0 },
    storage: {
      disk: { path: dataPath, maxBytes: options.maxBytes ?? 1e9 },
      verifyReads: options.verifyReads ?? "first",
      ...(options.s3 !== undefined && { s3: options.s3 }),
    },
    defaultUpstream: upstreams[0]?.name,
    upstreams,
    credentials: options.credentials ?? {},
    ...(options.clients !== undefined && { clients: options.clients }),
    ...(options.policy !== undefined && { policy: options.policy }),
    trust: { publicGood: "bundled" },
    accessLog: "stdout",
  };
}

function collecting(lines: string[]): Logger {
  const collect = (details: object, message: string): void => {
    const error: unknown = Reflect.get(details, "err");
    lines.push(`${message}: ${error instanceof Error ? error.message : ""}`);
  };
  return { info: () => undefined, warn: collect, error: collect };
}
