import type { RuleSettings } from "../policy-settings.ts";
import type { Evidence } from "./evidence.ts";
import type { Judgement } from "./judgement.ts";
import type { Policy } from "./policy.ts";

/**
 * Policies that a thread keeps, and that requests may name: the one before is still asked for by
 * what was under way when a new one came.
 */
export const PROGRAMS_KEPT = 2;

/** What the threads compile once: a policy and the trust that it stands on. */
export interface Program {
  /** Policy and trust revision together. */
  readonly id: string;
  readonly rules: readonly RuleSettings[];
  readonly denied: Policy["deniedSigners"];
  readonly publicGood: PublicGood;
}

/** The public-good TrustedRoot, or why there is none yet: then nothing counts that stands on it. */
export type PublicGood = { readonly json: string } | { readonly problem: string };

export interface JudgeRequest {
  readonly kind: "judge";
  readonly program: string;
  /** The rule's name; undefined when only the denied signers matter. */
  readonly rule: string | undefined;
  readonly evidence: Evidence;
  readonly nowMs: number;
  /** The thread writes here which candidate it is looking at: who ends it can tell who was to blame. */
  readonly progress: Int32Array;
}

export type ThreadRequest = { readonly kind: "load"; readonly program: Program } | JudgeRequest;

export type ThreadAnswer =
  | { readonly kind: "loaded" }
  | { readonly kind: "judged"; readonly judgement: Judgement }
  | { readonly kind: "failed"; readonly message: string };
