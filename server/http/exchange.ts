import type { IncomingMessage, ServerResponse } from "node:http";
import type { ByteSource, Metrics, PullKind, PullOutcome } from "../metrics.ts";
import type { AccessLog } from "./access-log.ts";

/** Requests whose upstream never became known count under this. */
const NO_UPSTREAM = "none";

/**
 * One request and what is learned about it on the way, counted and logged once when it is over.
 */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly #metrics: Metrics;
  readonly #accessLog: AccessLog;
  readonly #startedAt = performance.now();
  #firstByteAt: number | undefined;
  upstream: string = NO_UPSTREAM;
  kind: PullKind | undefined;
  outcome: PullOutcome | undefined;
  repository: string | undefined;
  reference: string | undefined;
  sentBytes = 0;
  from: ByteSource = "upstream";
  /** From a fixed set; set when the request failed. */
  failure: string | undefined;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    parts: { readonly metrics: Metrics; readonly accessLog: AccessLog },
  ) {
    this.request = request;
    this.response = response;
    this.#metrics = parts.metrics;
    this.#accessLog = parts.accessLog;
    response.once("close", () => this.#over());
  }

  get hasUpstream(): boolean {
    return this.upstream !== NO_UPSTREAM;
  }

  get isHead(): boolean {
    return this.request.method === "HEAD";
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  sent(bytes: number): void {
    this.#firstByteAt ??= performance.now();
    this.sentBytes += bytes;
  }

  #over(): void {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const { kind, outcome, upstream } = this;
    if (kind !== undefined && outcome !== undefined) {
      const firstByte = this.#firstByteAt && (this.#firstByteAt - this.#startedAt) / 1000;
      this.#metrics.pull({ upstream, kind, outcome }, seconds, firstByte);
      if (this.sentBytes > 0) {
        this.#metrics.servedBytes(upstream, this.from, this.sentBytes);
      }
      if (this.failure !== undefined) {
        this.#metrics.pullError(upstream, kind, this.failure);
      }
    }
    this.#accessLog.write(this, seconds);
  }
}
