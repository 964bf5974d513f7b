import { LRUCache } from "lru-cache";
import type { Credential } from "../credentials/credential.ts";
import { basicHeaderOf, fingerprintOf } from "../credentials/credential.ts";
import { RegistryError } from "../errors.ts";
import { logInOf } from "./answer-errors.ts";
import { headerOf, parseRetryAfter } from "./answer-headers.ts";
import type { Answer } from "./exchange.ts";
import { AttemptFailure } from "./failure.ts";
import type { TokenReply } from "./token-reply.ts";
import { parseTokenReply } from "./token-reply.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

/** A place to get a token from, and what for. */
export interface TokenRequest {
  readonly realm: URL;
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  readonly credential: Credential | undefined;
  /** An older one is asked for anew: the service has to confirm the credential. */
  readonly ageMaxMs?: number | undefined;
}

/** One HTTP request to the token service; redirects are followed, the body is bounded. */
export interface TokenFetch {
  readonly url: URL;
  readonly authorization?: string;
  /** A form to POST; a GET without it. */
  readonly form?: string;
}

export interface TokenSourceOptions {
  /** Of whom, for messages: `docker.io`. */
  readonly name: string;
  readonly limits: UpstreamLimits;
  readonly now: () => number;
  readonly send: (request: TokenFetch) => Promise<Answer>;
  readonly read: (answer: Answer) => Promise<Buffer>;
  readonly readError: (answer: Answer) => Promise<string>;
  /** Called once for each time that no token came of it. */
  readonly onFailure: () => void;
}

interface KeptToken {
  readonly token: string;
  readonly fetchedAt: number;
  readonly expiresAt: number;
  readonly refreshAt: number;
}

const CLIENT_ID = "sluice";
/** How services that only know GET answer a POST: ACR, Artifactory, older ones. */
const NO_POST_STATUSES = new Set([400, 401, 404, 405]);
/** "No" in the words of all: ECR Public says 400, Artifactory 406 to those without a log-in. */
const REFUSED_STATUSES = new Set([400, 401, 403, 406]);
const ATTEMPTS_MAX = 2;

/**
 * Tokens of one upstream. However many wait for the same token, it is asked for once; it is
 * renewed in the background before it ends.
 */
export class TokenSource {
  readonly #options: TokenSourceOptions;
  readonly #kept: LRUCache<string, KeptToken>;
  readonly #pending = new Map<string, Promise<string>>();

  constructor(options: TokenSourceOptions) {
    this.#options = options;
    this.#kept = new LRUCache({ max: options.limits.tokensMax });
  }

  /**
   * @throws RegistryError `upstream-refused` when the service refuses us, `upstream-unavailable`
   *   when it does not answer, or not with a token.
   */
  async token(request: TokenRequest): Promise<string> {
    const key = keyOf(request);
    const kept = this.#kept.get(key);
    const now = this.#options.now();
    const { ageMaxMs = Number.POSITIVE_INFINITY } = request;
    if (kept === undefined || kept.expiresAt <= now || now - kept.fetchedAt >= ageMaxMs) {
      return await this.#fetchOnce(key, request);
    }
    if (kept.refreshAt <= now) {
      this.#fetchOnce(key, request).catch(() => undefined); // the kept one is still good
    }
    return kept.token;
  }

  /** Forgets a token that was refused, unless another has taken its place meanwhile. */
  drop(request: TokenRequest, token: string): void {
    const key = keyOf(request);
    if (this.#kept.peek(key)?.token === token) {
      this.#kept.delete(key);
    }
  }

  #fetchOnce(key: string, request: TokenRequest): Promise<string> {
    const pending = this.#pending.get(key);
    if (pending !== undefined) {
      return pending;
    }
    const fetching = this.#fetch(request)
      .then(
        (reply) => this.#keep(key, reply),
        (error: unknown) => this.#giveUp(error),
      )
      .finally(() => this.#pending.delete(key));
    this.#pending.set(key, fetching);
    return fetching;
  }

  #giveUp(error: unknown): never {
    this.#options.onFailure();
    throw error;
  }

  #keep(key: string, { token, lifetimeSeconds }: TokenReply): string {
    const now = this.#options.now();
    const { tokenRefreshAt } = this.#options.limits;
    this.#kept.set(key, {
      token,
      fetchedAt: now,
      expiresAt: now + lifetimeSeconds * 1000,
      refreshAt: now + lifetimeSeconds * 1000 * tokenRefreshAt,
    });
    return token;
  }

  async #fetch(request: TokenRequest): Promise<TokenReply> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#fetchReply(request);
      } catch (error) {
        if (!(error instanceof AttemptFailure)) {
          throw error;
        }
        const isWorthwhile = error.reason === "reset" || error.reason === "connect";
        if (!isWorthwhile || attempt >= ATTEMPTS_MAX) {
          throw this.#unavailable(request, error.message, error);
        }
      }
    }
  }

  async #fetchReply(request: TokenRequest): Promise<TokenReply> {
    const { readError, read, limits, now } = this.#options;
    const answer = await this.#ask(request);
    if (REFUSED_STATUSES.has(answer.status)) {
      await readError(answer);
      throw this.#refused(request, answer.status);
    }
    if (answer.status === 429) {
      await readError(answer);
      throw this.#limited(request, parseRetryAfter(headerOf(answer.headers, "retry-after"), now()));
    }
    if (answer.status !== 200) {
      await readError(answer);
      throw this.#unavailable(request, `it answered ${answer.status}`);
    }
    const reply = parseTokenReply(await this.#readReply(request, answer, read), limits);
    if (reply === undefined) {
      throw this.#unavailable(request, "what it sent holds no usable token");
    }
    return reply;
  }

  async #readReply(
    request: TokenRequest,
    answer: Answer,
    read: TokenSourceOptions["read"],
  ): Promise<Buffer> {
    try {
      return await read(answer);
    } catch (error) {
      if (error instanceof RegistryError) {
        throw this.#unavailable(request, "it sent far more than a token", error);
      }
      throw error;
    }
  }

  /** The form of OAuth 2 when the credential needs it, else, or when it is not known, a GET. */
  async #ask(request: TokenRequest): Promise<Answer> {
    const { send, readError } = this.#options;
    const { credential, realm } = request;
    if (credential?.kind === "identity") {
      const posted = await send({ url: realm, form: formOf(request, credential.token) });
      if (!NO_POST_STATUSES.has(posted.status)) {
        return posted;
      }
      await readError(posted);
    }
    const authorization = authorizationOf(credential);
    const url = getUrlOf(request);
    return await send(authorization === undefined ? { url } : { url, authorization });
  }

  #refused(request: TokenRequest, status: number): RegistryError {
    const { name } = this.#options;
    const who =
      request.credential === undefined
        ? "without a log-in, and none is configured (or may be sent there)"
        : `with ${logInOf(request.credential)} that it was sent, which may be wrong or ended: ` +
          "check them, and what they may read there";
    return new RegistryError(
      "upstream-refused",
      `the token service of ${name} (${request.realm.host}) answered ${status} to a request ` +
        `for ${request.scopes.join(" ")} ${who}; the image may also not exist`,
    );
  }

  #limited(request: TokenRequest, askedSeconds: number | undefined): RegistryError {
    const { limits, name } = this.#options;
    return new RegistryError(
      "upstream-limited",
      `the token service of ${name} (${request.realm.host}) answered 429: ` +
        "its limit is reached; wait, or configure a log-in as the upstream's auth",
      askedSeconds === undefined
        ? undefined
        : { retryAfterSeconds: Math.min(askedSeconds, limits.retryAfterMaxSeconds) },
    );
  }

  #unavailable(request: TokenRequest, why: string, cause?: Error): RegistryError {
    const { name } = this.#options;
    return new RegistryError(
      "upstream-unavailable",
      `${name} wants a token of ${request.realm.host}, which did not give one: ${why}`,
      cause === undefined ? undefined : { cause },
    );
  }
}

function keyOf({ realm, service, scopes, credential }: TokenRequest): string {
  return JSON.stringify([realm.href, service ?? null, scopes, fingerprintOf(credential)]);
}

function authorizationOf(credential: Credential | undefined): string | undefined {
  if (credential?.kind === "basic") {
    return basicHeaderOf(credential.username, credential.password);
  }
  // Where only GET is known, as at older ACRs, an identity token is taken as a password.
  return credential?.kind === "identity"
    ? basicHeaderOf(credential.username, credential.token)
    : undefined;
}

function getUrlOf({ realm, service, scopes, credential }: TokenRequest): URL {
  const url = new URL(realm);
  if (service !== undefined) {
    url.searchParams.set("service", service);
  }
  url.searchParams.delete("scope");
  for (const scope of scopes) {
    url.searchParams.append("scope", scope);
  }
  if (credential?.kind === "basic") {
    url.searchParams.set("account", credential.username);
  }
  return url;
}

function formOf({ service, scopes }: TokenRequest, refreshToken: string): string {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: refreshToken,
    scope: scopes.join(" "),
    client_id: CLIENT_ID,
  });
  if (service !== undefined) {
    form.set("service", service);
  }
  return form.toString();
}
