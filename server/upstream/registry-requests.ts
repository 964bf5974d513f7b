import type { Dispatcher } from "undici";
import { fingerprintOf } from "../credentials/credential.ts";
import type { RegistryErrorCode } from "../errors.ts";
import { RegistryError } from "../errors.ts";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { Metrics, PullKind, UpstreamRequestKind } from "../metrics.ts";
import { describeError, isDenial, isNameUnknown, refusalOf, secretsOf } from "./answer-errors.ts";
import { headerOf, parseRateLimitRemaining, parseRetryAfter } from "./answer-headers.ts";
import type { Attempts } from "./attempts.ts";
import type { Asker, Authorizer, Grant } from "./authorizer.ts";
import { readErrorBody } from "./buffered-response.ts";
import type { LogIns } from "./credentials.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Answer } from "./exchange.ts";
import { exchange } from "./exchange.ts";
import { AttemptFailure, NotAskedError } from "./failure.ts";
import type { RateLimitHolds } from "./rate-limit-holds.ts";
import type { Followed } from "./redirects.ts";
import { followRedirects } from "./redirects.ts";
import type { TargetPolicy } from "./targets.ts";
import type { Surroundings, UpstreamLimits } from "./upstream-limits.ts";

export interface RegistryRequestsOptions {
  readonly name: string;
  readonly userAgent: string;
  readonly dispatcher: Dispatcher;
  readonly attempts: Attempts;
  readonly authorizer: Authorizer;
  readonly holds: RateLimitHolds;
  readonly targets: TargetPolicy;
  readonly metrics: Metrics;
  readonly limits: UpstreamLimits;
  readonly surroundings: Surroundings;
  /** They prove what a client's own log-in may read. */
  readonly areProofs?: boolean;
}

export interface RegistryRequest {
  readonly kind: PullKind;
  readonly method: "GET" | "HEAD";
  /** From `/v2/` on, with its query. */
  readonly path: string;
  readonly repository: string;
  /** What is asked for, for messages: `library/nginx:1`. */
  readonly subject: string;
  readonly accept: string;
  readonly range?: string;
  readonly firstByteTimeoutMs: number;
  readonly keepsAlive?: boolean;
  /** What a 404 means, unless its body says that the repository is unknown. */
  readonly unknown: RegistryErrorCode;
  /** Statuses that `use` wants to see. Others become errors before it is called. */
  readonly statuses: readonly number[];
  /** Behind a redirect `use` wants to see them all. */
  readonly acceptsAnyRedirected?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly avoid?: ReadonlySet<string> | undefined;
}

/** An answer with one of the statuses that were asked for. */
export interface Usable {
  readonly answer: Answer;
  readonly endpoint: Endpoint;
  /** The url that was asked sent us on. */
  readonly isRedirected: boolean;
  /** What is left for reading the body, where that is to be done before answering. */
  readonly remainingMs: number;
}

/** Makes what it wants of the answer; to throw an AttemptFailure asks for another attempt. */
export type Use<T> = (usable: Usable) => Promise<T> | T;

/** One attempt by one of those that we may be. */
interface AttemptAs<T> {
  readonly request: RegistryRequest;
  readonly use: Use<T>;
  readonly endpoint: Endpoint;
  readonly asker: Asker;
  readonly deadline: number;
}

const REFUSED_STATUSES = new Set([401, 403]);
const FAILING_STATUSES = new Set([500, 502, 503, 504]);

/** Sends a pull's requests: logged in, redirected, tried again. Throws RegistryErrors only. */
export class RegistryRequests {
  readonly #options: RegistryRequestsOptions;

  constructor(options: RegistryRequestsOptions) {
    this.#options = options;
  }

  send<T>(request: RegistryRequest, use: Use<T>): Promise<T> {
    const { attempts, areProofs = false } = this.#options;
    return attempts.run(
      (endpoint, remainingMs) => this.#attempt(request, use, endpoint, remainingMs),
      { ...request, isProof: areProofs },
    );
  }

  /** The same registry, asked by somebody else. */
  as(credentials: LogIns, areProofs: boolean): RegistryRequests {
    const authorizer = this.#options.authorizer.as(credentials);
    return new RegistryRequests({ ...this.#options, authorizer, areProofs });
  }

  /** With each log-in that there is, until one is not refused. */
  async #attempt<T>(
    request: RegistryRequest,
    use: Use<T>,
    endpoint: Endpoint,
    remainingMs: number,
  ): Promise<T> {
    const { authorizer, surroundings } = this.#options;
    const deadline = surroundings.now() + remainingMs;
    for (let tried = 1; ; tried += 1) {
      const asker = await this.#asker(request, endpoint, deadline);
      try {
        return await this.#attemptAs({ request, use, endpoint, asker, deadline });
      } catch (error) {
        const mayGoOn = isRefusal(error) && tried < CREDENTIAL_LIMITS.candidatesMax;
        if (!mayGoOn || !(await authorizer.refused(asker))) {
          throw error;
        }
      }
    }
  }

  /** @throws NotAskedError: a log-in that cannot be had, or comes late, is not the registry's fault. */
  async #asker(request: RegistryRequest, endpoint: Endpoint, deadline: number): Promise<Asker> {
    const { authorizer, name, surroundings } = this.#options;
    const asker = await authorizer
      .asker(endpoint.base, request.repository)
      .catch((cause: unknown) => {
        throw new NotAskedError(cause);
      });
    if (surroundings.now() >= deadline) {
      const why =
        `${name} was not asked for ${request.subject}: looking up the log-in that is configured ` +
        "for it took too long; look at its credential helper or plugin";
      throw new NotAskedError(new RegistryError("upstream-unavailable", why));
    }
    return asker;
  }

  async #attemptAs<T>(attempted: AttemptAs<T>): Promise<T> {
    const { request, use, endpoint, asker } = attempted;
    const { surroundings } = this.#options;
    this.#refuseWhileHeld(request, asker);
    const startedAt = surroundings.now();
    const remainingMs = Math.max(1, attempted.deadline - startedAt);
    const within = Math.min(request.firstByteTimeoutMs, remainingMs);
    const attempt = new LoggedInRequest(this.#options, {
      request,
      endpoint,
      asker,
      deadline: startedAt + within,
    });
    const followed = await attempt.send();
    const { answer, isRedirected } = followed;
    this.#noteRateLimit(answer);
    const isWanted =
      request.statuses.includes(answer.status) ||
      (isRedirected && request.acceptsAnyRedirected === true);
    if (!isWanted) {
      throw await this.#errorOf(followed, request, asker, attempt.sent);
    }
    try {
      const leftMs = startedAt + remainingMs - surroundings.now();
      return await use({ answer, endpoint, isRedirected, remainingMs: Math.max(1, leftMs) });
    } catch (error) {
      answer.abort(error instanceof Error ? error : new Error("not used", { cause: error }));
      throw error;
    }
  }

  #refuseWhileHeld(request: RegistryRequest, asker: Asker): void {
    const { holds, name } = this.#options;
    const seconds = holds.remainingSeconds(holdKeyOf(asker));
    if (seconds !== undefined) {
      throw new RegistryError(
        "upstream-limited",
        `${name} asked for a pause of ${seconds} s more, so it was not asked for ` +
          `${request.subject}; a log-in with a higher limit can be configured as its auth`,
        { retryAfterSeconds: seconds },
      );
    }
  }

  #noteRateLimit({ headers }: Answer): void {
    const { metrics, name } = this.#options;
    const remaining = parseRateLimitRemaining(headerOf(headers, "ratelimit-remaining"));
    if (remaining !== undefined) {
      metrics.rateLimitRemaining(name, remaining);
    }
  }

  /** What a status that nobody wanted comes to: a RegistryError is final, a failure is not. */
  async #errorOf(
    { answer, isElsewhere }: Followed,
    request: RegistryRequest,
    asker: Asker,
    sent: string | undefined,
  ): Promise<Error> {
    const { limits, name } = this.#options;
    const { status } = answer;
    const body = await readErrorBody(answer, limits);
    const said = describeError(status, body, {
      lengthMax: limits.errorTextMax,
      secrets: secretsOf(asker.credential, sent),
    });
    if (status === 404) {
      const code = isNameUnknown(body) ? "name-unknown" : request.unknown;
      return new RegistryError(code, `${name} does not have ${request.subject} (${said})`);
    }
    if (isElsewhere && isCurable(status)) {
      return new AttemptFailure("redirect", `the server that it redirected to answered ${said}`);
    }
    if (REFUSED_STATUSES.has(status) || (status === 400 && isDenial(body))) {
      const withheldFrom = this.#options.authorizer.withheldFrom(asker);
      const { credential } = asker;
      return refusalOf({ name, subject: request.subject, said, credential, withheldFrom });
    }
    if (status === 429) {
      return this.#limited(answer, said, request, asker);
    }
    const retryAfterSeconds = this.#retryAfterSeconds(answer);
    if (FAILING_STATUSES.has(status)) {
      return new AttemptFailure("server_error", `it answered ${said}`, { retryAfterSeconds });
    }
    const code = status === 416 || status >= 500 ? "upstream-unavailable" : "upstream-invalid";
    return new RegistryError(code, `${name} answered ${said} when asked for ${request.subject}`);
  }

  #limited(answer: Answer, said: string, request: RegistryRequest, asker: Asker): RegistryError {
    const { holds, metrics, name } = this.#options;
    metrics.upstreamError(name, "rate_limited");
    const asked = this.#retryAfterSeconds(answer);
    const seconds = asked === undefined ? undefined : holds.hold(holdKeyOf(asker), asked);
    return new RegistryError(
      "upstream-limited",
      `${name} answered ${said} when asked for ${request.subject}: its limit of pulls is ` +
        "reached; wait, or configure a log-in with a higher limit as its auth",
      seconds === undefined ? undefined : { retryAfterSeconds: seconds },
    );
  }

  #retryAfterSeconds({ headers }: Answer): number | undefined {
    const { limits, surroundings } = this.#options;
    const seconds = parseRetryAfter(headerOf(headers, "retry-after"), surroundings.now());
    return seconds === undefined ? undefined : Math.min(seconds, limits.retryAfterMaxSeconds);
  }
}

interface LoggedInRequestOptions {
  readonly request: RegistryRequest;
  readonly endpoint: Endpoint;
  readonly asker: Asker;
  /** Until when the response headers must be there, whatever has to happen before. */
  readonly deadline: number;
}

/** One attempt: a request, the log-in that its answer may ask for, and the redirects. */
class LoggedInRequest {
  readonly #context: RegistryRequestsOptions;
  readonly #options: LoggedInRequestOptions;
  /** The last value of Authorization. */
  sent: string | undefined;

  constructor(context: RegistryRequestsOptions, options: LoggedInRequestOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** A signed url may have run out just now, so the registry is asked for another one, once. */
  async send(): Promise<Followed> {
    try {
      const followed = await this.#sendOnce();
      const isFinal = this.#options.request.acceptsAnyRedirected === true;
      if (!followed.isElsewhere || isFinal || !isCurable(followed.answer.status)) {
        return followed;
      }
      await readErrorBody(followed.answer, this.#context.limits);
    } catch (error) {
      const isRedirect = error instanceof AttemptFailure && error.reason === "redirect";
      if (!isRedirect) {
        throw error;
      }
    }
    this.#context.metrics.upstreamError(this.#context.name, "redirect");
    return await this.#sendOnce();
  }

  async #sendOnce(): Promise<Followed> {
    const { authorizer, limits } = this.#context;
    const { asker } = this.#options;
    const remembered = await authorizer.remembered(asker);
    const first = await this.#follow(remembered);
    if (first.isElsewhere || !asksForLogIn(first.answer.status, remembered)) {
      return first;
    }
    const grant = await authorizer.answer(asker, first.answer.headers, remembered);
    if (grant === undefined) {
      return first;
    }
    await readErrorBody(first.answer, limits);
    return await this.#follow(grant);
  }

  #follow(grant: Grant | undefined): Promise<Followed> {
    const { endpoint, request } = this.#options;
    const { limits, name, targets } = this.#context;
    this.sent = grant?.header;
    return followRedirects(endpoint.resolve(request.path), {
      targets,
      redirectsMax: limits.redirectsMax,
      from: name,
      // See Other (RFC 9110 §15.4.4): not what was asked for, but something about it.
      except: request.acceptsAnyRedirected === true ? 303 : undefined,
      send: (url, isSameOrigin) => this.#exchange(url, isSameOrigin ? grant : undefined),
      release: (answer) => readErrorBody(answer, limits),
    });
  }

  #exchange(url: URL, grant: Grant | undefined): Promise<Answer> {
    const { request, deadline } = this.#options;
    const { dispatcher, limits, userAgent, surroundings } = this.#context;
    return measured(this.#context, request.kind, () =>
      exchange(dispatcher, {
        url,
        method: request.method,
        headers: {
          accept: request.accept,
          "accept-encoding": "identity",
          "user-agent": userAgent,
          ...(grant === undefined ? {} : { authorization: grant.header }),
          ...(request.range === undefined ? {} : { range: request.range }),
        },
        firstByteTimeoutMs: Math.max(1, Math.ceil(deadline - surroundings.now())),
        informationalMax: limits.informationalMax,
        keepsAlive: request.keepsAlive ?? false,
        signal: request.signal,
      }),
    );
  }
}

/** Counts a request and how long its response headers took, whatever they say. */
export async function measured(
  context: { readonly name: string; readonly metrics: Metrics },
  kind: UpstreamRequestKind,
  send: () => Promise<Answer>,
): Promise<Answer> {
  const { metrics, name } = context;
  const start = performance.now();
  let status: number | "error" = "error";
  try {
    const answer = await send();
    status = answer.status;
    return answer;
  } finally {
    metrics.upstreamRequest(name, kind, status, (performance.now() - start) / 1000);
  }
}

/** A token that was kept may have ended, which not all say with a 401. */
function asksForLogIn(status: number, used: Grant | undefined): boolean {
  return status === 401 || (used?.source !== undefined && (status === 400 || status === 403));
}

function isRefusal(error: unknown): boolean {
  return error instanceof RegistryError && error.code === "upstream-refused";
}

/** Of a redirect's target: another url from the registry may do better. */
function isCurable(status: number): boolean {
  return REFUSED_STATUSES.has(status) || FAILING_STATUSES.has(status);
}

function holdKeyOf({ registry, credential }: Asker): string {
  return `${registry.host} ${fingerprintOf(credential)}`;
}
