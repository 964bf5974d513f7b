import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import type { Disk } from "../storage/disk.ts";
import { openDisk } from "../storage/disk.ts";
import type { StoreEvents } from "../storage/store-events.ts";
import { createAdminServer } from "./admin/server.ts";
import type { AuditSink } from "./audit.ts";
import { Audit } from "./audit.ts";
import { Cache } from "./cache/cache.ts";
import type { LineSink } from "./http/access-log.ts";
import { AccessLog } from "./http/access-log.ts";
import type { Exchange } from "./http/exchange.ts";
import { createRegistryServer, reloadTls } from "./http/server.ts";
import { DRAIN_LIMITS } from "./limits.ts";
import { Metrics } from "./metrics.ts";
import { PolicyEngine } from "./policy/engine.ts";
import { PolicyGate } from "./policy/gate.ts";
import { Readiness } from "./readiness.ts";
import type { Address, Settings } from "./settings.ts";
import { UpstreamSet } from "./upstream/upstream-set.ts";

export interface Logger {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

export interface AppOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly log: Logger;
  readonly accessLog: LineSink;
  /** Where decisions are written down; undefined: nowhere. */
  readonly audit?: AuditSink;
  /** The wall clock in milliseconds; tests set it. */
  readonly now?: () => number;
}

/**
 * The running program: everything is made here and handed to whoever needs it. Starting asks no
 * upstream and needs no network.
 */
export class App implements AsyncDisposable {
  readonly metrics: Metrics;
  readonly #log: Logger;
  readonly #version: string;
  readonly #disk: Disk;
  readonly #cache: Cache;
  readonly #policy: PolicyEngine;
  readonly #readiness: Readiness;
  readonly #registryServer: FastifyInstance;
  readonly #adminServer: FastifyInstance;
  #settings: Settings;
  #upstreams: UpstreamSet;
  #isClosed = false;

  private constructor(options: AppOptions, metrics: Metrics, disk: Disk, readiness: Readiness) {
    const { settings, log } = options;
    this.metrics = metrics;
    this.#log = log;
    this.#version = options.version;
    this.#settings = settings;
    this.#disk = disk;
    this.#readiness = readiness;
    this.#upstreams = this.#createUpstreams(settings);
    this.#cache = new Cache({
      store: disk.blobs,
      metadata: disk.metadata,
      metrics,
      now: options.now ?? Date.now,
      onStoreFailed: (operation, error) => {
        readiness.storeFailed(error);
        log.warn({ err: error, operation }, "the store failed; the pull goes on without it");
      },
    });
    this.#policy = new PolicyEngine({
      registry: this.#cache,
      evidence: disk.evidence,
      metrics,
      log,
      dataPath: settings.storage.disk.path,
      now: options.now ?? Date.now,
      onRevision: (revision) => metrics.build(options.version, revision),
    });
    this.#registryServer = createRegistryServer({
      registry: new PolicyGate(this.#cache, () => this.#policy.assessor),
      upstreams: () => this.#upstreams,
      onFailure: (error, exchange) => this.#logFailure(error, exchange),
      isDraining: () => readiness.isDraining,
      records: {
        metrics,
        accessLog: new AccessLog(options.accessLog),
        audit: options.audit && new Audit(options.audit, options.now),
      },
      tls: settings.tls,
    });
    this.#adminServer = createAdminServer({
      metrics,
      readiness: () =>
        readiness.report({
          upstreams: this.#upstreams.health(),
          trustProblem: this.#policy.trustProblem,
        }),
    });
    metrics.build(options.version, "none");
    metrics.watchStore("disk", () => disk.usage());
  }

  /** Listens on both ports, or throws and leaves nothing behind. */
  static async start(options: AppOptions): Promise<App> {
    const { settings, log } = options;
    const metrics = new Metrics();
    const readiness = new Readiness(Date.now);
    const events: StoreEvents = {
      evicted: () => metrics.evicted("disk"),
      corruption: () => metrics.corruption("disk"),
      failed: (operation, reason, cause) => {
        metrics.storeError("disk", operation, reason);
        readiness.storeFailed(cause);
        log.warn({ err: cause, operation }, "the store failed");
      },
    };
    const { disk: place, verifyReads } = settings.storage;
    const disk = await openDisk({ ...place, verifyReads, events });
    const app = new App(options, metrics, disk, readiness);
    try {
      (await app.#policy.prepare(settings))();
      await listen(app.#adminServer, settings.admin);
      await listen(app.#registryServer, settings.listen);
    } catch (error) {
      await app[Symbol.asyncDispose]();
      throw error;
    }
    readiness.isListening = true;
    return app;
  }

  get registryUrl(): string {
    return urlOf(this.#registryServer, this.#settings.tls === undefined ? "http" : "https");
  }

  get adminUrl(): string {
    return urlOf(this.#adminServer, "http");
  }

  /** Takes all of the new settings that can change while running, or throws and takes none. */
  async apply(settings: Settings): Promise<void> {
    const takePolicy = await this.#policy.prepare(settings);
    const upstreams = this.#createUpstreams(settings);
    try {
      if (settings.tls !== undefined) {
        reloadTls(this.#registryServer.server, settings.tls);
      }
    } catch (error) {
      await upstreams.close();
      throw error;
    }
    takePolicy();
    const before = this.#upstreams;
    this.#upstreams = upstreams;
    this.#settings = settings;
    this.#disk.limit(settings.storage.disk.maxBytes);
    for (const { name } of before.all) {
      if (upstreams.all.every((one) => one.name !== name)) {
        this.metrics.upstreamRemoved(name);
      }
    }
    // Pulls that are under way finish on the connections that they have.
    before.close().catch((error: unknown) => {
      this.#log.warn({ err: error }, "connections to upstreams did not close");
    });
  }

  /** Leaves as nobody notices: not ready at once, accepting a little longer, then finishing. */
  async drain(): Promise<void> {
    this.#readiness.isDraining = true;
    await sleep(DRAIN_LIMITS.acceptMs);
    const { server } = this.#registryServer;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const idle = setInterval(() => server.closeIdleConnections(), DRAIN_LIMITS.idleSweepMs);
    const deadline = new AbortController();
    const late = sleep(DRAIN_LIMITS.finishMs, undefined, { signal: deadline.signal });
    await Promise.race([closed, late.catch(() => undefined)]);
    clearInterval(idle);
    deadline.abort();
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    this.#readiness.isDraining = true;
    this.#registryServer.server.closeAllConnections();
    await this.#registryServer.close();
    await this.#policy[Symbol.asyncDispose]();
    await this.#cache[Symbol.asyncDispose]();
    await this.#upstreams.destroy();
    await this.#adminServer.close();
    await this.#disk[Symbol.asyncDispose]();
  }

  #createUpstreams({ upstreams, defaultUpstream, credentials }: Settings): UpstreamSet {
    const { metrics } = this;
    const version = this.#version;
    return new UpstreamSet(upstreams, { defaultUpstream, credentials, metrics, version });
  }

  #logFailure(error: unknown, { upstream, repository, reference }: Exchange): void {
    this.#log.error({ err: error, upstream, repository, reference }, "a request failed");
  }
}

async function listen(server: FastifyInstance, address: Address): Promise<void> {
  await server.listen({ host: address.host, port: address.port });
}

function urlOf(app: FastifyInstance, scheme: string): string {
  const { address, port } = app.server.address() as AddressInfo;
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}
