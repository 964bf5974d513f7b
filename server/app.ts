import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { createAdminServer } from "./admin/server.ts";
import type { AuditSink } from "./audit.ts";
import { Audit } from "./audit.ts";
import { Cache } from "./cache/cache.ts";
import { Clients } from "./clients/clients.ts";
import { challengeFor, Entitlements } from "./clients/entitlements.ts";
import { Access } from "./http/access.ts";
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
import { Stores } from "./stores.ts";
import { Upkeep } from "./upkeep.ts";
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
  /** How long a bucket is waited for; tests, on a busy machine, cannot tell slow from gone. */
  readonly bucketWaitMs?: number;
  /** Reads the configuration again, when the admin API is asked to. */
  readonly reload?: () => Promise<"applied" | "refused" | "unchanged">;
}

/**
 * The running program: everything is made here and handed to whoever needs it. Starting asks no
 * upstream and needs no network.
 */
export class App implements AsyncDisposable {
  readonly metrics: Metrics;
  readonly #log: Logger;
  readonly #version: string;
  readonly #stores: Stores;
  readonly #cache: Cache;
  readonly #policy: PolicyEngine;
  readonly #upkeep: Upkeep;
  readonly #entitlements: Entitlements;
  readonly #now: () => number;
  readonly #readiness: Readiness;
  readonly #registryServer: FastifyInstance;
  readonly #adminServer: FastifyInstance;
  #settings: Settings;
  #upstreams: UpstreamSet;
  /** Of configurations before, with what will close them. */
  readonly #retired = new Map<UpstreamSet, NodeJS.Timeout>();
  #clients: Clients | undefined;
  #access: Access;
  #isClosed = false;

  private constructor(options: AppOptions, parts: Parts) {
    const { settings, log, now = Date.now } = options;
    const { metrics, stores, readiness } = parts;
    const { disk, bucket } = stores;
    this.metrics = metrics;
    this.#now = now;
    this.#entitlements = new Entitlements(now);
    this.#log = log;
    this.#version = options.version;
    this.#settings = settings;
    this.#stores = stores;
    this.#readiness = readiness;
    this.#upstreams = this.#createUpstreams(settings);
    this.#clients = parts.clients;
    this.#access = this.#createAccess();
    this.#cache = new Cache({
      store: disk.blobs,
      metadata: disk.metadata,
      objects: bucket,
      bucketWaitMs: options.bucketWaitMs,
      redirects: settings.storage.s3?.redirect === true,
      metrics,
      now,
      onUse: (repository, name, atMs) => disk.uses.used(repository, name, atMs),
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
      now,
      onRevision: (revision) => metrics.build(options.version, revision),
    });
    this.#upkeep = new Upkeep({
      disk,
      behind: bucket === undefined ? [] : [bucket.blobs],
      retention: () => this.#settings.storage.retention ?? [],
      forget: (repositories) => this.#forget(repositories),
      onEvicted: () => metrics.evicted("disk"),
      log,
    });
    this.#registryServer = createRegistryServer({
      registry: new PolicyGate(this.#cache, () => this.#policy.assessor),
      access: () => this.#access,
      onFailure: (error, exchange) => this.#logFailure(error, exchange),
      isDraining: () => readiness.isDraining,
      records: {
        metrics,
        accessLog: new AccessLog(options.accessLog),
        audit: options.audit && new Audit(options.audit, options.now),
      },
      tls: settings.tls,
      mayLackCertificate: mayLackCertificate(settings),
    });
    this.#adminServer = createAdminServer({
      metrics,
      tokenFile: () => this.#settings.adminTokenFile,
      reload: options.reload,
      store: {
        purge: (target, isDryRun) => this.#upkeep.purge(target, isDryRun),
        startScrub: (asked) => this.#upkeep.startScrub(asked),
        scrub: () => this.#upkeep.scrub,
        settings: () => this.#settings,
        now,
      },
      readiness: () =>
        readiness.report({
          upstreams: this.#upstreams.health(),
          trustProblem: this.#policy.trustProblem,
        }),
    });
    metrics.build(options.version, "none");
  }

  /** Listens on both ports, or throws and leaves nothing behind. */
  static async start(options: AppOptions): Promise<App> {
    const { settings, log } = options;
    const metrics = new Metrics();
    const readiness = new Readiness(Date.now);
    const stores = await Stores.open(settings.storage, { metrics, readiness, log });
    const clients = await createClients(options, stores);
    const app = new App(options, { metrics, stores, readiness, clients });
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
    let clients: Clients | undefined;
    try {
      clients = await openClients({ settings, log: this.#log, now: this.#now });
      if (settings.tls !== undefined) {
        reloadTls(this.#registryServer.server, settings.tls, mayLackCertificate(settings));
      }
    } catch (error) {
      await clients?.[Symbol.asyncDispose]();
      await upstreams.close();
      throw error;
    }
    takePolicy();
    const before = this.#upstreams;
    const clientsBefore = this.#clients;
    this.#upstreams = upstreams;
    this.#clients = clients;
    this.#settings = settings;
    this.#access = this.#createAccess();
    this.#cache.forgetFailures();
    await clientsBefore?.[Symbol.asyncDispose]();
    this.#stores.disk.limit(settings.storage.disk.maxBytes);
    for (const { name } of before.all) {
      if (upstreams.all.every((one) => one.name !== name)) {
        this.metrics.upstreamRemoved(name);
      }
    }
    this.#retire(before);
  }

  /**
   * Pulls that are under way finish on the connections that they have; those that were let in a
   * moment ago have yet to ask.
   */
  #retire(upstreams: UpstreamSet): void {
    const timer = setTimeout(() => {
      this.#retired.delete(upstreams);
      upstreams.close().catch((error: unknown) => {
        this.#log.warn({ err: error }, "connections to upstreams did not close");
      });
    }, DRAIN_LIMITS.retireMs);
    timer.unref();
    this.#retired.set(upstreams, timer);
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
    await this.#upkeep[Symbol.asyncDispose]();
    await this.#policy[Symbol.asyncDispose]();
    await this.#clients?.[Symbol.asyncDispose]();
    await this.#cache[Symbol.asyncDispose]();
    for (const [upstreams, timer] of this.#retired) {
      clearTimeout(timer);
      await upstreams.destroy();
    }
    await this.#upstreams.destroy();
    await this.#adminServer.close();
    await this.#stores[Symbol.asyncDispose]();
  }

  /** What was removed from the store; verdicts on it are reached anew, from what is found then. */
  async #forget(repositories: ReadonlySet<string>): Promise<void> {
    this.#cache.forget(repositories);
    const settings = this.#settings;
    if (settings.policy !== undefined) {
      const take = await this.#policy.prepare(settings);
      if (settings === this.#settings) {
        take();
      }
    }
  }

  #createUpstreams(settings: Settings): UpstreamSet {
    const { upstreams, defaultUpstream, credentials, clients } = settings;
    return new UpstreamSet(upstreams, {
      defaultUpstream,
      credentials,
      rightsDiffer: clients?.rules !== undefined,
      metrics: this.metrics,
      version: this.#version,
    });
  }

  #createAccess(): Access {
    const perClient = this.#settings.upstreams.filter(({ access }) => access === "per-client");
    const [first] = perClient;
    return new Access({
      upstreams: this.#upstreams,
      clients: this.#clients,
      entitlements: this.#entitlements,
      challenge: this.#clients?.challenges[0] ?? (first && challengeFor(first)),
      hasPerClient: first !== undefined,
    });
  }

  #logFailure(error: unknown, { upstream, repository, reference }: Exchange): void {
    this.#log.error({ err: error, upstream, repository, reference }, "a request failed");
  }
}

interface Parts {
  readonly metrics: Metrics;
  readonly stores: Stores;
  readonly readiness: Readiness;
  readonly clients: Clients | undefined;
}

type ClientsContext = Pick<AppOptions, "settings" | "log" | "now">;

/** A store that was opened is closed again when the clients cannot be read. */
async function createClients(
  context: ClientsContext,
  stores: Stores,
): Promise<Clients | undefined> {
  try {
    return await openClients(context);
  } catch (error) {
    await stores[Symbol.asyncDispose]();
    throw error;
  }
}

async function openClients({ settings, log, now }: ClientsContext): Promise<Clients | undefined> {
  if (settings.clients === undefined) {
    return;
  }
  return await Clients.create({
    settings: settings.clients,
    now: now ?? Date.now,
    onFault: (error) => log.error({ err: error }, "who may pull could not be read anew"),
  });
}

/** Where certificates say who clients are, a request without a good one gets an answer that says so. */
function mayLackCertificate({ clients }: Settings): boolean {
  return clients?.certificates !== undefined;
}

async function listen(server: FastifyInstance, address: Address): Promise<void> {
  await server.listen({ host: address.host, port: address.port });
}

function urlOf(app: FastifyInstance, scheme: string): string {
  const { address, port } = app.server.address() as AddressInfo;
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}
