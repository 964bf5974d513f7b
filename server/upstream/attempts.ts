import { RegistryError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { Endpoint } from "./endpoint.ts";
import type { FailureReason } from "./failure.ts";
import { AttemptFailure, NotAskedError } from "./failure.ts";
import { RetryBudget } from "./retry-budget.ts";
import type { Surroundings, UpstreamLimits } from "./upstream-limits.ts";

export interface AttemptsOptions {
  readonly name: string;
  readonly urls: readonly string[];
  readonly limits: UpstreamLimits;
  readonly surroundings: Surroundings;
  readonly metrics: Metrics;
}

export interface RunOptions {
  /** What is asked for, for messages: `library/nginx:1`. */
  readonly subject: string;
  readonly avoid?: ReadonlySet<string> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** With a log-in that anybody may have made up: what it may be to blame for is not the url's fault. */
  readonly isProof?: boolean;
}

/** Throws an AttemptFailure when another attempt makes sense, anything else when it is final. */
export type Attempt<T> = (endpoint: Endpoint, remainingMs: number) => Promise<T>;

/** The same url would fail again, or take as long again. */
const FUTILE_REASONS: ReadonlySet<FailureReason> = new Set(["timeout", "tls", "redirect"]);

/** Before anything of a request was sent. */
const UNREACHED_REASONS: ReadonlySet<FailureReason> = new Set(["connect", "dns", "tls"]);

/** What one run has been through. */
interface Course {
  readonly deadline: number;
  readonly failures: Map<Endpoint, number>;
  /** Asking these again would only take time. */
  readonly given: Set<Endpoint>;
  readonly isProof: boolean;
  count: number;
  isStaleRetrySpent: boolean;
  last: { readonly endpoint: Endpoint; readonly failure: AttemptFailure } | undefined;
}

/**
 * Tries the urls of an upstream, healthiest first: another url at once, the same one again after a
 * jittered wait and only within the retry budget, all of it before the answer's deadline.
 */
export class Attempts {
  readonly endpoints: readonly Endpoint[];
  readonly #options: AttemptsOptions;
  readonly #budget: RetryBudget;

  constructor(options: AttemptsOptions) {
    const { limits, surroundings, urls } = options;
    this.#options = options;
    this.endpoints = urls.map((url) => new Endpoint(url, limits, surroundings.now));
    this.#budget = new RetryBudget(limits, surroundings.now);
  }

  async run<T>(attempt: Attempt<T>, options: RunOptions): Promise<T> {
    const { limits, surroundings } = this.#options;
    const course: Course = {
      deadline: surroundings.now() + limits.answerTimeoutMs,
      failures: new Map(),
      given: new Set(),
      isProof: options.isProof === true,
      count: 0,
      isStaleRetrySpent: false,
      last: undefined,
    };
    this.#budget.requested();
    for (;;) {
      options.signal?.throwIfAborted();
      const endpoint = this.#choose(course, options);
      const done = await this.#tryOnce(endpoint, attempt, course);
      if (done !== undefined) {
        return done.value;
      }
      await this.#prepareNext(course, options);
    }
  }

  async #tryOnce<T>(
    endpoint: Endpoint,
    attempt: Attempt<T>,
    course: Course,
  ): Promise<{ readonly value: T } | undefined> {
    const { metrics, name, surroundings } = this.#options;
    course.count += 1;
    endpoint.breaker.started();
    try {
      const value = await attempt(endpoint, course.deadline - surroundings.now());
      endpoint.succeeded();
      metrics.upstreamUp(name, true);
      return { value };
    } catch (error) {
      if (error instanceof NotAskedError) {
        endpoint.abandoned();
        throw error.cause;
      }
      if (error instanceof RegistryError) {
        endpoint.succeeded();
        metrics.upstreamUp(name, true);
        throw error;
      }
      if (!(error instanceof AttemptFailure)) {
        endpoint.abandoned();
        throw error;
      }
      this.#failed(endpoint, error, course);
      return undefined;
    }
  }

  #failed(endpoint: Endpoint, failure: AttemptFailure, course: Course): void {
    course.last = { endpoint, failure };
    if (failure.mayBeStale && !course.isStaleRetrySpent) {
      // The other side had closed an idle connection: that says nothing about its health.
      course.isStaleRetrySpent = true;
      course.count -= 1;
      endpoint.abandoned();
      return;
    }
    const { metrics, name } = this.#options;
    course.failures.set(endpoint, (course.failures.get(endpoint) ?? 0) + 1);
    if (FUTILE_REASONS.has(failure.reason)) {
      course.given.add(endpoint);
    }
    if (course.isProof && !UNREACHED_REASONS.has(failure.reason)) {
      endpoint.abandoned();
      return;
    }
    metrics.upstreamError(name, failure.reason);
    endpoint.failed(failure);
    metrics.upstreamUp(
      name,
      this.endpoints.some((one) => one.lastFailure === undefined),
    );
  }

  /** Returns when the next attempt may start, or throws what the run comes to. */
  async #prepareNext(course: Course, options: RunOptions): Promise<void> {
    const { limits, surroundings } = this.#options;
    const { last } = course;
    if (last === undefined || !course.failures.has(last.endpoint)) {
      return;
    }
    const { failure } = last;
    if (failure.reason === "protocol") {
      throw this.#errorOf(failure, options);
    }
    const next = this.#usable(course, options)[0];
    const attemptsMax = Math.max(limits.attemptsMax, this.endpoints.length);
    const isLate = course.deadline - surroundings.now() < 1;
    if (next === undefined || course.count >= attemptsMax || isLate) {
      throw this.#errorOf(failure, options);
    }
    if (!course.failures.has(next)) {
      return;
    }
    const waitMs = this.#waitMs(course.failures.get(next) ?? 1, failure);
    const isInTime = surroundings.now() + waitMs < course.deadline;
    if (!isInTime || waitMs > limits.retryDelayMaxMs || !this.#budget.spend()) {
      throw this.#errorOf(failure, options);
    }
    await surroundings.delay(waitMs, options.signal);
  }

  /** Jitter over an interval that doubles, never less than the registry itself asked for. */
  #waitMs(failures: number, failure: AttemptFailure): number {
    const { limits, surroundings } = this.#options;
    const { retryDelayMinMs, retryDelayMaxMs } = limits;
    const ceiling = Math.min(retryDelayMaxMs, retryDelayMinMs * 2 ** (failures + 1));
    const jitter = retryDelayMinMs + surroundings.random() * (ceiling - retryDelayMinMs);
    return Math.max(jitter, (failure.retryAfterSeconds ?? 0) * 1000);
  }

  #choose(course: Course, options: RunOptions): Endpoint {
    const [first] = this.#usable(course, options);
    if (first !== undefined) {
      return first;
    }
    if (course.last !== undefined) {
      throw this.#errorOf(course.last.failure, options);
    }
    const { metrics, name } = this.#options;
    metrics.upstreamError(name, "breaker_open");
    const waitMs = Math.min(...this.endpoints.map(({ breaker }) => breaker.waitMs));
    const seconds = Math.max(1, Math.ceil(waitMs / 1000));
    const why = this.endpoints.map(({ lastFailure }) => lastFailure).find(Boolean) ?? "it failed";
    throw new RegistryError(
      "upstream-unavailable",
      `${name} was not asked for ${options.subject}: ${why} just now, several times; ` +
        `it will be asked again in ${seconds} s`,
      { retryAfterSeconds: seconds },
    );
  }

  /** Stable, so that among equals the configured order decides. */
  #usable(course: Course, { avoid }: RunOptions): Endpoint[] {
    const rank = (endpoint: Endpoint): number =>
      (course.failures.get(endpoint) ?? 0) * 8 +
      (avoid?.has(endpoint.url) === true ? 4 : 0) +
      (endpoint.breaker.isClosed ? 0 : 2) +
      (endpoint.hasFailedRecently ? 1 : 0);
    return this.endpoints
      .filter((endpoint) => !course.given.has(endpoint) && endpoint.breaker.waitMs === 0)
      .toSorted((one, other) => rank(one) - rank(other));
  }

  #errorOf(failure: AttemptFailure, { subject }: RunOptions): RegistryError {
    const { name } = this.#options;
    const { retryAfterSeconds } = failure;
    return new RegistryError(
      failure.reason === "protocol" ? "upstream-invalid" : "upstream-unavailable",
      `${name} could not be asked for ${subject}: ${failure.message}`,
      { cause: failure, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) },
    );
  }
}
