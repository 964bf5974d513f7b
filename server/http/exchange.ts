import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Audit } from "../audit.ts";
import type { Decision } from "../decision.ts";
import type { ByteSource, Metrics, PullKind, PullOutcome } from "../metrics.ts";
import type { AccessLog } from "./access-log.ts";

/** What counts and writes down what became of an exchange. */
export interface ExchangeRecords {
  readonly metrics: Metrics;
  readonly accessLog: AccessLog;
  /** Undefined when decisions are not written down. */
  readonly audit: Audit | undefined;
}

/** Ids are unique as long as the process lives, and told apart from those of others. */
const ID_PREFIX = randomBytes(6).toString("hex");
let lastId = 0;

/** Requests whose upstream never became known count under this. */
const NO_UPSTREAM = "none";

/**
 * One request and what is learned about it on the way, counted and logged once when it is over.
 */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The same in the access log and in the audit. */
  readonly id: string;
  /** Its address, taken while the connection stands: afterwards nobody knows it. */
  readonly client: string | undefined;
  /** Who it proved to be; undefined where nobody has to say. */
  user: string | undefined;
  readonly #records: ExchangeRecords;
  readonly #startedAt = performance.now();
  #firstByteAt: number | undefined;
  upstream: string = NO_UPSTREAM;
  kind: PullKind | undefined;
  outcome: PullOutcome | undefined;
  repository: string | undefined;
  reference: string | undefined;
  sentBytes = 0;
  from: ByteSource = "upstream";
  /** What the policy said of the manifest that was asked for. */
  decision: Decision | undefined;
  /** From a fixed set; set when the request failed. */
  failure: string | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, records: ExchangeRecords) {
    this.request = request;
    this.response = response;
    this.#records = records;
    this.client = request.socket.remoteAddress;
    lastId += 1;
    this.id = `${ID_PREFIX}-${lastId}`;
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
    const { metrics, accessLog } = this.#records;
    if (kind !== undefined && outcome !== undefined) {
      const firstByte = this.#firstByteAt && (this.#firstByteAt - this.#startedAt) / 1000;
      metrics.pull({ upstream, kind, outcome }, seconds, firstByte);
      if (this.sentBytes > 0) {
        metrics.servedBytes(upstream, this.from, this.sentBytes);
      }
      if (this.failure !== undefined) {
        metrics.pullError(upstream, kind, this.failure);
      }
    }
    if (this.decision !== undefined) {
      this.#recordDecision(this.decision);
    }
    accessLog.write(this, seconds);
  }

  #recordDecision(decision: Decision): void {
    const { id, client, user, upstream, repository = "", reference = "" } = this;
    const { metrics, audit } = this.#records;
    metrics.policy.verdict(upstream, decision);
    audit?.record({ id, client, user, upstream, repository, reference, decision });
  }
}
