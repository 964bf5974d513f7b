import type { Registry } from "prom-client";
import { Counter, Gauge, Histogram } from "prom-client";
import type { DecisionReason, SignatureFormat, Verdict } from "./decision.ts";

export interface CountedDecision {
  readonly rule: string;
  readonly verdict: Verdict;
  readonly reason: DecisionReason;
}

export interface CountedException {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

/** Seconds. A key takes a tenth of a millisecond, a certificate with log and timestamp some 30. */
const VERIFICATION_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

/** What the policy did, one typed function an event. Rules and exceptions are the configuration's. */
export class PolicyMetrics {
  readonly #verdicts: Counter;
  readonly #verificationSeconds: Histogram;
  readonly #exceptionsActive: Gauge;
  readonly #exceptionExpiry: Gauge;
  readonly #auditLinesLost: Counter;
  readonly #trustRefreshes: Counter;
  readonly #series = new Map<string, Counter.Internal>();
  readonly #seriesOf = new WeakMap<CountedDecision, Counter.Internal>();
  #readExceptions: () => readonly CountedException[] = () => [];
  #nowMs: () => number = Date.now;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#verdicts = new Counter({
      name: "sluice_verdicts_total",
      help: "Manifests that were asked for, by what the policy said; in warn mode a deny is served.",
      labelNames: ["upstream", "rule", "verdict", "reason"],
      registers,
    });
    this.#verificationSeconds = new Histogram({
      name: "sluice_verification_duration_seconds",
      help: "Cryptography of one image's signatures of one format, in seconds.",
      labelNames: ["format"],
      buckets: VERIFICATION_BUCKETS,
      registers,
    });
    this.#exceptionsActive = new Gauge({
      name: "sluice_exceptions_active",
      help: "Exceptions of the policy that count now.",
      registers,
    });
    this.#exceptionExpiry = new Gauge({
      name: "sluice_exception_expiry_timestamp_seconds",
      help: "When an exception of the policy stops, or stopped, to count, in seconds since the epoch.",
      labelNames: ["name"],
      registers,
    });
    this.#auditLinesLost = new Counter({
      name: "sluice_audit_lines_lost_total",
      help: "Decisions that could not be written down: the disk under the audit file is slow or full.",
      registers,
    });
    this.#trustRefreshes = new Counter({
      name: "sluice_trust_refreshes_total",
      help: "Refreshes of the trusted root by TUF, by how they ended; the last good one stays in force.",
      labelNames: ["outcome"],
      registers,
    });
  }

  trustRefreshed(outcome: string): void {
    this.#trustRefreshes.inc({ outcome });
  }

  /** A decision is one object for as long as it holds: its series is looked up once. */
  verdict(upstream: string, decision: CountedDecision): void {
    let series = this.#seriesOf.get(decision);
    if (series === undefined) {
      series = this.#find(upstream, decision);
      this.#seriesOf.set(decision, series);
    }
    series.inc();
  }

  #find(upstream: string, { rule, verdict, reason }: CountedDecision): Counter.Internal {
    const key = `${upstream} ${verdict} ${reason} ${rule}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      series = this.#verdicts.labels(upstream, rule, verdict, reason);
      this.#series.set(key, series);
    }
    return series;
  }

  verification(format: SignatureFormat, seconds: number): void {
    this.#verificationSeconds.observe({ format }, seconds);
  }

  auditLinesLost(lines: number): void {
    this.#auditLinesLost.inc(lines);
  }

  /** Asked when scraped: exceptions stop to count by themselves. */
  watchExceptions(read: () => readonly CountedException[], nowMs: () => number): void {
    this.#readExceptions = read;
    this.#nowMs = nowMs;
  }

  collect(): void {
    const exceptions = this.#readExceptions();
    const nowMs = this.#nowMs();
    this.#exceptionsActive.set(exceptions.filter(({ untilMs }) => nowMs < untilMs).length);
    this.#exceptionExpiry.reset();
    for (const { name, untilMs } of exceptions) {
      this.#exceptionExpiry.set({ name }, untilMs / 1000);
    }
  }
}
