import { LRUCache } from "lru-cache";
import { SingleFlight } from "../cache/single-flight.ts";
import { ACCESS_LIMITS } from "../limits.ts";
import type { TokenSettings } from "../settings.ts";
import { CheckGate } from "./check-gate.ts";
import { ClientsError, LogInProblem, OwnLogInProblem } from "./clients-error.ts";
import type { Identity } from "./identity.ts";
import type { VerifiedToken } from "./issuer.ts";
import { Issuer, SignatureProblem } from "./issuer.ts";
import { KeyFile } from "./key-file.ts";
import type { KeySource } from "./key-set.ts";
import { KeyUrl } from "./key-url.ts";
import { LogInKeys } from "./log-in-keys.ts";
import { isUnverifiedFor, readUnverifiedIssuer } from "./token-claims.ts";

export interface TokensOptions {
  readonly settings: readonly TokenSettings[];
  /** The wall clock in milliseconds. */
  readonly now: () => number;
  readonly onFault: (error: unknown) => void;
}

interface Kept {
  readonly identity: Identity;
  readonly untilMs: number;
  readonly issuer: Issuer;
  readonly fingerprint: string;
}

/**
 * JWTs of configured issuers (RFC 7519). One that was verified is believed for a minute, but no
 * longer than it and the keys it was verified with last.
 */
export class Tokens implements AsyncDisposable {
  readonly #options: TokensOptions;
  readonly #sources: readonly KeySource[];
  /** By name: two clusters may well call themselves the same. */
  readonly #issuers: ReadonlyMap<string, readonly Issuer[]>;
  readonly #kept = new LRUCache<string, Kept>({ max: ACCESS_LIMITS.logInsMax });
  readonly #flights = new SingleFlight<Identity>();
  readonly #keys = new LogInKeys();

  /** @throws ClientsError when a jwksFile cannot be read; a url that is down is only told of. */
  static async create(options: TokensOptions): Promise<Tokens> {
    const sources: KeySource[] = [];
    for (const settings of options.settings) {
      sources.push(await openKeys(settings, options));
    }
    return new Tokens(options, sources);
  }

  private constructor(options: TokensOptions, sources: readonly KeySource[]) {
    const { now } = options;
    const gate = new CheckGate(ACCESS_LIMITS.tokenChecksMax);
    const issuers = options.settings.flatMap((settings, index) => {
      const keys = sources[index];
      return keys === undefined ? [] : new Issuer({ settings, keys, gate, now });
    });
    this.#options = options;
    this.#sources = sources;
    this.#issuers = Map.groupBy(issuers, ({ name }) => name);
  }

  /** @throws LogInProblem when the token is not to be taken; RegistryError `overloaded`. */
  async identify(token: string): Promise<Identity> {
    const key = this.#keys.nameOf(token);
    const kept = this.#kept.get(key);
    if (kept !== undefined && (await this.#isGood(kept))) {
      return kept.identity;
    }
    return await this.#flights.run(key, async () => await this.#verify(key, token));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#sources.map((source) => source[Symbol.asyncDispose]()));
  }

  async #isGood({ untilMs, issuer, fingerprint }: Kept): Promise<boolean> {
    return this.#options.now() < untilMs && (await issuer.fingerprint()) === fingerprint;
  }

  async #verify(key: string, token: string): Promise<Identity> {
    const issuers = this.#issuers.get(readUnverifiedIssuer(token));
    if (issuers === undefined) {
      throw new LogInProblem("the token is of an issuer that is not configured (clients.tokens)");
    }
    const { issuer, verified } = await verifyByAny(issuers, token).catch((error: unknown) => {
      const isForUs = issuers.some(({ audience }) => isUnverifiedFor(token, audience));
      throw error instanceof LogInProblem && isForUs
        ? new OwnLogInProblem(error.message, { cause: error })
        : error;
    });
    const { identity, expiresAtMs, fingerprint } = verified;
    const untilMs = Math.min(expiresAtMs, this.#options.now() + ACCESS_LIMITS.rightMs);
    this.#kept.set(key, { identity, untilMs, issuer, fingerprint });
    return identity;
  }
}

/** Of several problems the one that is told comes from whoever has signed the token. */
async function verifyByAny(
  issuers: readonly Issuer[],
  token: string,
): Promise<{ readonly issuer: Issuer; readonly verified: VerifiedToken }> {
  let problem: unknown;
  for (const issuer of issuers) {
    try {
      return { issuer, verified: await issuer.verify(token) };
    } catch (error) {
      if (problem === undefined || problem instanceof SignatureProblem) {
        problem = error;
      }
    }
  }
  throw problem;
}

async function openKeys(settings: TokenSettings, options: TokensOptions): Promise<KeySource> {
  const { now, onFault } = options;
  const { jwksFile, jwksUrl } = settings;
  if (jwksFile !== undefined) {
    return await KeyFile.open({ path: jwksFile, now, onFault });
  }
  if (jwksUrl === undefined) {
    throw new ClientsError(`clients.tokens: ${settings.issuer} has neither jwksFile nor jwksUrl`);
  }
  const keys = new KeyUrl({ settings: { ...settings, jwksUrl }, now, onFault });
  keys.current().catch(() => undefined); // ahead of need; what fails has been told
  return keys;
}
