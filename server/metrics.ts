import { STATUS_CODES } from "node:http";
import type { CounterConfiguration } from "prom-client";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { PolicyMetrics } from "./policy-metrics.ts";

export type PullKind = "manifest" | "blob" | "tags" | "referrers";
export type PullOutcome = "hit" | "miss" | "stale" | "denied" | "not_found" | "refused" | "error";
export type UpstreamRequestKind = PullKind | "token";
/** Where the bytes of an answer came from. */
export type ByteSource = "memory" | "store" | "fill" | "upstream";
export type UpstreamErrorReason =
  | "connect"
  | "dns"
  | "tls"
  | "timeout"
  | "reset"
  | "protocol"
  | "redirect"
  | "token"
  | "rate_limited"
  | "server_error"
  | "breaker_open"
  | "mismatch";

export interface Pull {
  readonly upstream: string;
  readonly kind: PullKind;
  readonly outcome: PullOutcome;
}

interface PullSeries {
  readonly pulls: Counter.Internal;
  readonly seconds: Histogram.Internal<string> | undefined;
  readonly firstByteSeconds: Histogram.Internal<string> | undefined;
}

const PULL_LABELS = ["upstream", "kind", "outcome"];

/**
 * Seconds. A warm manifest takes a millisecond, a cold layer of 10 GiB minutes. Few, since each is
 * a series for every upstream, kind and outcome, and all series together are to stay below 2,000.
 */
const PULL_BUCKETS = [0.0025, 0.025, 0.25, 1, 5, 30, 300];
const FIRST_BYTE_BUCKETS = [0.0025, 0.025, 0.1, 0.5, 1, 2.5, 10];
/** Only what was served has a duration worth a histogram; the rest is counted. */
const TIMED: ReadonlySet<PullOutcome> = new Set(["hit", "miss", "stale"]);

/**
 * Every metric of the program, one typed function an event. Labels come from the configuration or
 * from the unions above, so their number is bounded whatever clients send.
 */
export class Metrics {
  readonly registry: Registry = new Registry();
  readonly policy: PolicyMetrics = new PolicyMetrics(this.registry);
  readonly #pulls = this.#counter(
    "sluice_pulls_total",
    "Requests of clients, by how they ended.",
    PULL_LABELS,
  );
  readonly #pullSeconds = this.#histogram(
    "sluice_pull_duration_seconds",
    "From a request's arrival to its last byte, in seconds.",
    PULL_LABELS,
    PULL_BUCKETS,
  );
  readonly #firstByteSeconds = this.#histogram(
    "sluice_first_byte_seconds",
    "From a request's arrival to the first byte of its body, in seconds.",
    PULL_LABELS,
    FIRST_BYTE_BUCKETS,
  );
  readonly #servedBytes = this.#counter(
    "sluice_served_bytes_total",
    "Body bytes sent to clients, by where they came from.",
    ["upstream", "source"],
  );
  readonly #pullErrors = this.#counter(
    "sluice_pull_errors_total",
    "Pulls that failed, by reason.",
    ["upstream", "kind", "reason"],
  );
  readonly #upstreamRequests = this.#counter(
    "sluice_upstream_requests_total",
    "Requests to registries, by status; `error` when there was no answer.",
    ["upstream", "kind", "status"],
  );
  readonly #upstreamSeconds = this.#histogram(
    "sluice_upstream_request_duration_seconds",
    "From a request to a registry to its response headers, in seconds.",
    ["upstream", "kind"],
    FIRST_BYTE_BUCKETS,
  );
  readonly #upstreamErrors = this.#counter(
    "sluice_upstream_errors_total",
    "What went wrong with registries.",
    ["upstream", "reason"],
  );
  readonly #upstreamBytes = this.#counter(
    "sluice_upstream_bytes_total",
    "Body bytes received from registries.",
    ["upstream"],
  );
  readonly #upstreamUp = this.#gauge(
    "sluice_upstream_up",
    "1 when the registry's last answer was not a failure and its breaker is closed.",
    ["upstream"],
  );
  readonly #rateLimitRemaining = this.#gauge(
    "sluice_upstream_rate_limit_remaining",
    "Pulls left in the registry's window, as its headers last said.",
    ["upstream"],
  );
  readonly #evictions = this.#counter(
    "sluice_cache_evictions_total",
    "Blobs removed to stay under the byte limit.",
    ["store"],
  );
  readonly #corruptions = this.#counter(
    "sluice_cache_corruptions_total",
    "Blobs found to differ from their digest or size, and removed.",
    ["store"],
  );
  readonly #storeErrors = this.#counter(
    "sluice_store_errors_total",
    "Operations of a store that failed; the pull went on without it.",
    ["store", "operation", "reason"],
  );
  readonly #tagMoves = this.#counter(
    "sluice_tag_moves_total",
    "Tags that came to name another digest.",
    ["upstream", "direction"],
  );
  readonly #reloads = this.#counter("sluice_config_reloads_total", "Configuration reloads.", [
    "outcome",
  ]);
  readonly #buildInfo = this.#gauge(
    "sluice_build_info",
    "1; what runs, and the revision of its policy.",
    ["version", "policy"],
  );

  readonly #pullSeries = new Map<string, PullSeries>();

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    this.#reloads.inc({ outcome: "applied" }, 0);
    this.#reloads.inc({ outcome: "refused" }, 0);
  }

  pull(pull: Pull, seconds: number, firstByteSeconds: number | undefined): void {
    const series = this.#seriesOf(pull);
    series.pulls.inc();
    series.seconds?.observe(seconds);
    if (firstByteSeconds !== undefined) {
      series.firstByteSeconds?.observe(firstByteSeconds);
    }
  }

  pullError(upstream: string, kind: PullKind, reason: string): void {
    this.#pullErrors.inc({ upstream, kind, reason });
  }

  servedBytes(upstream: string, source: ByteSource, bytes: number): void {
    this.#servedBytes.inc({ upstream, source }, bytes);
  }

  /** `seconds` from the request to the response headers, or to the failure. */
  upstreamRequest(
    upstream: string,
    kind: UpstreamRequestKind,
    status: number | "error",
    seconds: number,
  ): void {
    this.#upstreamRequests.inc({ upstream, kind, status: statusLabel(status) });
    this.#upstreamSeconds.observe({ upstream, kind }, seconds);
  }

  upstreamError(upstream: string, reason: UpstreamErrorReason): void {
    this.#upstreamErrors.inc({ upstream, reason });
  }

  upstreamBytes(upstream: string, bytes: number): void {
    this.#upstreamBytes.inc({ upstream }, bytes);
  }

  upstreamUp(upstream: string, isUp: boolean): void {
    this.#upstreamUp.set({ upstream }, isUp ? 1 : 0);
  }

  rateLimitRemaining(upstream: string, remaining: number): void {
    this.#rateLimitRemaining.set({ upstream }, remaining);
  }

  /** No longer configured: what it last was would be shown, and alerted on, for ever. */
  upstreamRemoved(upstream: string): void {
    this.#upstreamUp.remove({ upstream });
    this.#rateLimitRemaining.remove({ upstream });
  }

  evicted(store: string): void {
    this.#evictions.inc({ store });
  }

  corruption(store: string): void {
    this.#corruptions.inc({ store });
  }

  storeError(store: string, operation: string, reason: string): void {
    this.#storeErrors.inc({ store, operation, reason });
  }

  tagMoved(upstream: string, direction: "forward" | "rollback"): void {
    this.#tagMoves.inc({ upstream, direction });
  }

  reload(outcome: "applied" | "refused"): void {
    this.#reloads.inc({ outcome });
  }

  build(version: string, policyRevision: string): void {
    this.#buildInfo.reset();
    this.#buildInfo.set({ version, policy: policyRevision }, 1);
  }

  /** Gauges that are asked when scraped: what they show lives elsewhere. */
  watchFills(read: () => { readonly fills: number; readonly readers: number }): void {
    const fills = this.#gauge("sluice_fills_in_flight", "Downloads being stored.", []);
    const readers = this.#gauge("sluice_fill_readers", "Clients that follow a download.", []);
    this.#onCollect(() => {
      const now = read();
      fills.set(now.fills);
      readers.set(now.readers);
    });
  }

  watchStore(store: string, read: () => { readonly bytes: number; readonly blobs: number }): void {
    const bytes = this.#gauge("sluice_cache_bytes", "Bytes held.", ["store"]);
    const blobs = this.#gauge("sluice_cache_blobs", "Blobs held.", ["store"]);
    // There from the start: an alert on an increase does not see a series come into being.
    this.#evictions.inc({ store }, 0);
    this.#corruptions.inc({ store }, 0);
    this.#onCollect(() => {
      const now = read();
      bytes.set({ store }, now.bytes);
      blobs.set({ store }, now.blobs);
    });
  }

  /** Looked up once a combination of labels: hashing them costs more than counting. */
  #seriesOf(pull: Pull): PullSeries {
    const key = `${pull.upstream} ${pull.kind} ${pull.outcome}`;
    const known = this.#pullSeries.get(key);
    if (known !== undefined) {
      return known;
    }
    const { upstream, kind, outcome } = pull;
    const isTimed = TIMED.has(outcome);
    const series = {
      pulls: this.#pulls.labels(upstream, kind, outcome),
      seconds: isTimed ? this.#pullSeconds.labels(upstream, kind, outcome) : undefined,
      firstByteSeconds: isTimed
        ? this.#firstByteSeconds.labels(upstream, kind, outcome)
        : undefined,
    };
    this.#pullSeries.set(key, series);
    return series;
  }

  readonly #collectors: (() => void)[] = [() => this.policy.collect()];

  #onCollect(collect: () => void): void {
    this.#collectors.push(collect);
  }

  /** The text exposition, for GET /metrics. */
  expose(): Promise<string> {
    for (const collect of this.#collectors) {
      collect();
    }
    return this.registry.metrics();
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    const options: CounterConfiguration<string> = { name, help, labelNames };
    return new Counter({ ...options, registers: [this.registry] });
  }

  #gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }

  #histogram(name: string, help: string, labelNames: string[], buckets: number[]): Histogram {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.registry] });
  }
}

/** A registry may answer any number: what is not a status that node knows counts by its class. */
function statusLabel(status: number | "error"): string {
  const isKnown = status === "error" || STATUS_CODES[status] !== undefined;
  return isKnown ? String(status) : `${Math.floor(status / 100)}xx`;
}
