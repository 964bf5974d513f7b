import type { Readiness as Report } from "./admin/server.ts";
import type { UpstreamHealth } from "./upstream/upstream-set.ts";

/** A store's failure is shown for this long after the last one. */
const STORE_TROUBLE_MS = 60_000;

/** What others say of their health. */
export interface Conditions {
  readonly upstreams: readonly UpstreamHealth[];
  /** Why images that the policy wants to see signed cannot be judged at all. */
  readonly trustProblem: string | undefined;
}

/**
 * Whether to send clients here: not before it can judge what it serves. A dead upstream, a full disk are no reason to say no: all replicas
 * would say it at once, and what is held can still be served.
 */
export class Readiness {
  readonly #now: () => number;
  #storeTrouble: { readonly what: string; readonly atMs: number } | undefined;
  isListening = false;
  isDraining = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  storeFailed(error: unknown): void {
    const what = error instanceof Error ? error.message : String(error);
    this.#storeTrouble = { what, atMs: this.#now() };
  }

  report({ upstreams, trustProblem }: Conditions): Report {
    const reasons: string[] = [];
    if (!this.isListening) {
      reasons.push("not listening yet");
    }
    if (this.isDraining) {
      reasons.push("draining");
    }
    if (trustProblem !== undefined) {
      reasons.push(trustProblem);
    }
    const trouble = this.#storeTrouble;
    if (trouble !== undefined && this.#now() - trouble.atMs < STORE_TROUBLE_MS) {
      reasons.push(`store: ${trouble.what}`);
    }
    for (const { name, isUp, reason } of upstreams) {
      if (!isUp) {
        reasons.push(`upstream ${name}: ${reason ?? "down"}`);
      }
    }
    const isReady = this.isListening && !this.isDraining && trustProblem === undefined;
    return { isReady, reasons };
  }
}
