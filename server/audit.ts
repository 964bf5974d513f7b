import type { Decision } from "./decision.ts";
import { isServed } from "./decision.ts";

/** Where lines go: a LineFile, or a list in tests. */
export interface AuditSink {
  /** Nothing is written down, so nothing needs to be put together. */
  readonly isOff?: boolean;
  write(line: string): void;
}

/** One decision, and who asked for it. */
export interface AuditEntry {
  /** Of the request: it stands in the access log and in what the client was told, too. */
  readonly id: string;
  readonly client: string | undefined;
  /** Who the client proved to be, where clients have to. */
  readonly user?: string | undefined;
  readonly upstream: string;
  readonly repository: string;
  /** A tag or a digest, as it was asked for. */
  readonly reference: string;
  readonly decision: Decision;
}

/** No field of a hostile request makes a line longer than this, in characters. */
const FIELD_LENGTH_MAX = 1024;
/** Ours, but made of what was found. */
const MESSAGE_LENGTH_MAX = 4096;
/** As many as there may be signatures. */
const SIGNERS_MAX = 32;

/** One JSON line a decision: who pulled what, what was decided, why, and on which grounds. */
export class Audit {
  readonly #sink: AuditSink;
  readonly #now: () => number;
  /** What is the same for all who ask: as JSON, without its first brace. */
  readonly #decided = new WeakMap<Decision, string>();

  /** @param now - the wall clock in milliseconds. */
  constructor(sink: AuditSink, now: () => number = Date.now) {
    this.#sink = sink;
    this.#now = now;
  }

  /** Never throws and never waits. Every line has every field; what there is none of is null. */
  record({ decision, ...entry }: AuditEntry): void {
    if (this.#sink.isOff === true) {
      return;
    }
    const asked = JSON.stringify({
      time: new Date(this.#now()).toISOString(),
      id: cut(entry.id),
      client: entry.client === undefined ? null : cut(entry.client),
      user: entry.user === undefined ? null : cut(entry.user),
      upstream: entry.upstream,
      repository: cut(entry.repository),
      reference: cut(entry.reference),
    });
    let decided = this.#decided.get(decision);
    if (decided === undefined) {
      decided = JSON.stringify(decidedOf(decision)).slice(1);
      this.#decided.set(decision, decided);
    }
    this.#sink.write(`${asked.slice(0, -1)},${decided}`);
  }
}

function decidedOf(decision: Decision): object {
  const signers = decision.signers.slice(0, SIGNERS_MAX).map((signer) => cut(signer));
  return {
    digest: decision.digest ?? null,
    rule: decision.rule,
    mode: decision.mode,
    verdict: decision.verdict,
    served: isServed(decision),
    reason: decision.reason,
    // Of a plain allow it would only say again what the other fields say, at every pull.
    message:
      decision.verdict === "allow" && decision.exception === undefined
        ? null
        : cut(decision.message, MESSAGE_LENGTH_MAX),
    signer: signers[0] ?? null,
    // All of them, when there are several: lines are many, and few have more than one.
    signers: signers.length > 1 ? signers : [],
    exception: decision.exception ?? null,
    evidence: decision.evidence ?? null,
    policyRevision: decision.policyRevision,
    trustRevision: decision.trustRevision,
  };
}

function cut(text: string, lengthMax: number = FIELD_LENGTH_MAX): string {
  return text.length > lengthMax ? `${text.slice(0, lengthMax)}…` : text;
}
