import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Dispatcher } from "undici";
import type { CredentialSource } from "../credentials/credential.ts";
import { sharedSources, sourcesFor } from "../credentials/sources.ts";
import { UPSTREAM_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import type { CredentialSettings, UpstreamSettings } from "../settings.ts";
import { Attempts } from "./attempts.ts";
import { Authorizer } from "./authorizer.ts";
import { readBody, readErrorBody } from "./buffered-response.ts";
import type { Lookup } from "./connector.ts";
import { connectorFor } from "./connector.ts";
import { Credentials } from "./credentials.ts";
import { exchange } from "./exchange.ts";
import { RateLimitHolds } from "./rate-limit-holds.ts";
import { RealmPolicy } from "./realm.ts";
import { followRedirects } from "./redirects.ts";
import { RegistryClient } from "./registry-client.ts";
import { measured, RegistryRequests } from "./registry-requests.ts";
import { TargetPolicy } from "./targets.ts";
import type { TokenFetch } from "./token-source.ts";
import { TokenSource } from "./token-source.ts";
import { Agent } from "./undici.ts";
import type { Upstream } from "./upstream.ts";
import type { Surroundings, UpstreamLimits } from "./upstream-limits.ts";

export interface UpstreamSetOptions {
  readonly defaultUpstream: string | undefined;
  readonly credentials: CredentialSettings;
  /** Not everyone may pull from every repository. */
  readonly rightsDiffer?: boolean;
  readonly metrics: Metrics;
  /** For the User-Agent. */
  readonly version: string;
  /** For tests, which cannot wait as long as a registry may take. */
  readonly limits?: Partial<UpstreamLimits>;
  readonly surroundings?: Partial<Surroundings>;
  readonly lookup?: Lookup;
}

export interface UpstreamHealth {
  readonly name: string;
  readonly isUp: boolean;
  /** Why the last request failed. */
  readonly reason?: string;
}

interface Member {
  readonly upstream: Upstream;
  readonly attempts: Attempts;
  readonly dispatcher: Dispatcher;
}

/** What every upstream of a set shares. */
interface Common {
  readonly credentials: readonly CredentialSource[];
  readonly rightsDiffer: boolean;
  readonly metrics: Metrics;
  readonly userAgent: string;
  readonly limits: UpstreamLimits;
  readonly surroundings: Surroundings;
  readonly lookup: Lookup | undefined;
}

const SURROUNDINGS: Surroundings = {
  now: () => performance.timeOrigin + performance.now(),
  random: Math.random,
  delay: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
};

/** The registries that the configuration names. Nothing else is ever dialled as a registry. */
export class UpstreamSet {
  readonly default: Upstream | undefined;
  readonly all: readonly Upstream[];
  readonly #members: readonly Member[];
  readonly #byName = new Map<string, Upstream>();

  /** Throws when a caFile cannot be read, or when the default upstream is not configured. */
  constructor(settings: readonly UpstreamSettings[], options: UpstreamSetOptions) {
    const common: Common = {
      credentials: sharedSources(options.credentials),
      rightsDiffer: options.rightsDiffer ?? false,
      metrics: options.metrics,
      userAgent: `sluice/${options.version}`,
      limits: { ...UPSTREAM_LIMITS, ...options.limits },
      surroundings: { ...SURROUNDINGS, ...options.surroundings },
      lookup: options.lookup,
    };
    this.#members = settings.map((upstream) => memberOf(upstream, common));
    this.all = this.#members.map(({ upstream }) => upstream);
    for (const [index, { name, aliases }] of settings.entries()) {
      const upstream = this.all[index];
      if (upstream !== undefined) {
        for (const key of [name, ...aliases]) {
          this.#byName.set(key.toLowerCase(), upstream);
        }
      }
    }
    const { defaultUpstream } = options;
    const fallback = defaultUpstream === undefined ? undefined : this.find(defaultUpstream);
    if (defaultUpstream !== undefined && fallback === undefined) {
      throw new Error(`the default upstream ${defaultUpstream} is not configured`);
    }
    this.default = fallback;
  }

  find(nameOrAlias: string): Upstream | undefined {
    return this.#byName.get(nameOrAlias.toLowerCase());
  }

  /** Up until a request has failed, and again as soon as one has not. */
  health(): readonly UpstreamHealth[] {
    return this.#members.map(({ upstream: { name }, attempts: { endpoints } }) => {
      const isUp = endpoints.some(({ lastFailure }) => lastFailure === undefined);
      const reason = endpoints.map(({ lastFailure }) => lastFailure).find(Boolean);
      return isUp || reason === undefined ? { name, isUp } : { name, isUp, reason };
    });
  }

  /** Takes no new requests, and waits for the end of those that are running. */
  async close(): Promise<void> {
    await Promise.all(this.#members.map(({ dispatcher }) => dispatcher.close()));
  }

  /** Breaks off whatever is running. */
  async destroy(): Promise<void> {
    await Promise.all(this.#members.map(({ dispatcher }) => dispatcher.destroy()));
  }
}

function memberOf(settings: UpstreamSettings, common: Common): Member {
  const { limits, metrics, surroundings } = common;
  const { name, urls } = settings;
  const targets = new TargetPolicy(settings);
  const dispatcher = dispatcherFor(settings, targets, common);
  const attempts = new Attempts({ name, urls, limits, surroundings, metrics });
  const logIns = new Credentials(name, sourcesFor(settings, common.credentials));
  const authorizer = new Authorizer({
    credentials: logIns,
    tokens: tokenSourceFor(name, { ...common, dispatcher, targets }),
    realms: new RealmPolicy(settings, targets),
    challengesMax: limits.challengesMax,
  });
  const requests = new RegistryRequests({
    name,
    userAgent: common.userAgent,
    dispatcher,
    attempts,
    authorizer,
    holds: new RateLimitHolds(limits.retryAfterMaxSeconds, surroundings.now),
    targets,
    metrics,
    limits,
    surroundings,
  });
  const upstream = new RegistryClient({
    settings,
    requests,
    limits,
    metrics,
    hasOwnRights: common.rightsDiffer || settings.access === "per-client",
    logIns,
  });
  metrics.upstreamUp(name, true);
  return { upstream, attempts, dispatcher };
}

/** undici's own response timeouts are off: they do not cover 1xx responses and drips. */
function dispatcherFor(
  settings: UpstreamSettings,
  targets: TargetPolicy,
  { limits, lookup }: Common,
): Dispatcher {
  const { connectTimeoutMs, dnsTimeoutMs } = limits;
  const ca = settings.caFile === undefined ? undefined : readFileSync(settings.caFile, "utf8");
  return new Agent({
    connect: connectorFor({
      targets,
      connectTimeoutMs,
      dnsTimeoutMs,
      readBytes: limits.readBytes,
      ca,
      ...(lookup === undefined ? {} : { lookup }),
    }),
    connections: limits.connectionsPerOriginMax,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    keepAliveMaxTimeout: limits.keepAliveTimeoutMs,
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

interface TokenContext extends Common {
  readonly dispatcher: Dispatcher;
  readonly targets: TargetPolicy;
}

function tokenSourceFor(name: string, context: TokenContext): TokenSource {
  const { limits, surroundings } = context;
  return new TokenSource({
    name,
    limits,
    now: surroundings.now,
    send: async (fetch) => {
      const send = (url: URL, isSameOrigin: boolean) =>
        measured({ name, metrics: context.metrics }, "token", () =>
          exchange(context.dispatcher, {
            url,
            ...tokenMessageOf(fetch, context.userAgent, isSameOrigin),
            firstByteTimeoutMs: limits.tokenTimeoutMs,
            informationalMax: limits.informationalMax,
          }),
        );
      if (fetch.form !== undefined) {
        return await send(fetch.url, true); // a secret in a body goes where it was meant for
      }
      const { answer } = await followRedirects(fetch.url, {
        targets: context.targets,
        redirectsMax: limits.redirectsMax,
        from: name,
        send,
        release: (released) => readErrorBody(released, limits),
      });
      return answer;
    },
    read: (answer) =>
      readBody(answer, {
        bytesMax: limits.tokenBytesMax,
        timeoutMs: limits.tokenTimeoutMs,
        from: name,
      }),
    readError: (answer) => readErrorBody(answer, limits),
    onFailure: () => context.metrics.upstreamError(name, "token"),
  });
}

function tokenMessageOf(
  { authorization, form }: TokenFetch,
  userAgent: string,
  isSameOrigin: boolean,
): { method: "GET" | "POST"; headers: Record<string, string>; body?: string } {
  const headers: Record<string, string> = {
    accept: "application/json",
    "accept-encoding": "identity",
    "user-agent": userAgent,
  };
  if (form !== undefined) {
    const type = "application/x-www-form-urlencoded";
    return { method: "POST", headers: { ...headers, "content-type": type }, body: form };
  }
  if (authorization !== undefined && isSameOrigin) {
    return { method: "GET", headers: { ...headers, authorization } };
  }
  return { method: "GET", headers };
}
