import type { EvidenceStore } from "../../storage/evidence-store.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import type { RuleSettings } from "../policy-settings.ts";
import type { CandidateSource } from "./candidates.ts";
import type { Evidence, Subject } from "./evidence.ts";
import { decodeEvidence, encodeEvidence } from "./evidence-codec.ts";
import { gatherEvidence } from "./gather.ts";
import { hasScans } from "./hidden-scans.ts";
import type { Verification, Verifier } from "./verifier.ts";

export interface EvidenceJudgeOptions {
  readonly registry: CandidateSource;
  readonly store: EvidenceStore;
  readonly verifier: Pick<Verifier, "judge">;
  /** What the verifier has loaded for this policy and trust. */
  readonly program: string;
  /** Why nothing of a rule can be verified for now: then nothing that does not count is a deny. */
  readonly problemOf: (rule: RuleSettings | undefined) => string | undefined;
  /** A signature can be a reason to refuse: then all of them have to be seen. */
  readonly hasDeniedSigners: boolean;
  readonly metrics: Metrics;
  readonly now: () => number;
}

/** Evidence with what it came to. */
export interface Judged extends Verification {
  readonly evidence: Evidence;
}

/**
 * Evidence from the store as far as it carries, else from the registry. An allow from the store
 * needs no upstream; a deny is compared with what the registry has now, unless it is that recent.
 */
export class EvidenceJudge {
  readonly #options: EvidenceJudgeOptions;

  constructor(options: EvidenceJudgeOptions) {
    this.#options = options;
  }

  /** @throws VerificationFailed, RegistryError `overloaded`. */
  async judge(source: Source, subject: Subject, rule: RuleSettings | undefined): Promise<Judged> {
    const held = await this.#held(source, subject, rule);
    if (held === undefined) {
      return await this.#fresh(source, subject, rule);
    }
    const { evidence, judgement } = held;
    if (this.#isRecent(evidence) || (judgement.isAllowed && !this.#mayBeOutdated(evidence, rule))) {
      return held;
    }
    const fresh = await this.#fresh(source, subject, rule);
    // A registry that is down takes nothing back of what was found there.
    return judgement.isAllowed && fresh.evidence.failures.length > 0 ? held : fresh;
  }

  #isRecent({ isPartial, gatheredAtMs }: Evidence): boolean {
    const ageMs = this.#options.now() - gatheredAtMs;
    // Of the future: the clock was set back, or somebody wrote it there.
    return !isPartial && ageMs >= 0 && ageMs < POLICY_LIMITS.denyMs;
  }

  /** A signature stays one; of scans the latest decides, and there may be a later one by now. */
  #mayBeOutdated({ gatheredAtMs }: Evidence, rule: RuleSettings | undefined): boolean {
    return hasScans(rule) && this.#options.now() - gatheredAtMs >= POLICY_LIMITS.allowMs;
  }

  async #held(
    source: Source,
    subject: Subject,
    rule: RuleSettings | undefined,
  ): Promise<Judged | undefined> {
    const record = await this.#options.store.getEvidence(nameOf(source), subject.digest);
    const evidence = record && decodeEvidence(record.bytes, subject, record.gatheredAtMs);
    if (evidence === undefined || (evidence.isPartial && this.#needsAll(rule))) {
      return;
    }
    if (wantsAttestations(rule) && evidence.withAttestations !== true) {
      return;
    }
    return await this.#verify(evidence, rule);
  }

  async #fresh(source: Source, subject: Subject, rule: RuleSettings | undefined): Promise<Judged> {
    const { registry, store, now } = this.#options;
    let settled: { readonly of: Evidence; readonly judged: Judged } | undefined;
    const request = {
      source,
      subject,
      wantsAttestations: wantsAttestations(rule),
      needsAll: this.#needsAll(rule),
      isEnough: async (partial: Evidence): Promise<boolean> => {
        settled = { of: partial, judged: await this.#verify(partial, rule) };
        return settled.judged.judgement.isAllowed;
      },
    };
    const evidence = await gatherEvidence(registry, request, now);
    const judged = settled?.of === evidence ? settled.judged : await this.#verify(evidence, rule);
    const bytes = encodeEvidence(evidence);
    if (bytes !== undefined) {
      const { gatheredAtMs } = evidence;
      await store.putEvidence(nameOf(source), subject.digest, { bytes, gatheredAtMs });
    }
    return judged;
  }

  async #verify(evidence: Evidence, rule: RuleSettings | undefined): Promise<Judged> {
    const { verifier, program, metrics, now } = this.#options;
    const request = { program, rule: rule?.name, evidence, nowMs: now() };
    const verification = await verifier.judge(request);
    for (const { format, seconds } of verification.judgement.durations) {
      metrics.policy.verification(format, seconds);
    }
    const problem = this.#options.problemOf(rule);
    const failures = problem === undefined ? [] : [problem];
    return {
      ...verification,
      evidence: { ...evidence, failures: [...evidence.failures, ...failures] },
    };
  }

  /**
   * Where a signature suffices, the first that counts decides. But a later scan may be worse than an
   * earlier one, and any signature may be by a signer on the deny list.
   */
  #needsAll(rule: RuleSettings | undefined): boolean {
    const isFirstEnough = rule?.signatures !== undefined && rule.attestations.length === 0;
    return this.#options.hasDeniedSigners || !isFirstEnough;
  }
}

function wantsAttestations(rule: RuleSettings | undefined): boolean {
  return rule !== undefined && rule.attestations.length > 0;
}
