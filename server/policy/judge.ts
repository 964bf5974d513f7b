import { POLICY_LIMITS } from "../limits.ts";
import type { AttestationSettings, AuthoritySettings, RuleSettings } from "../policy-settings.ts";
import { findAttestation } from "./attestation-requirement.ts";
import type { Authority } from "./authority.ts";
import type { Evidence } from "./evidence.ts";
import type { Judgement } from "./judgement.ts";
import type { DeniedSigner } from "./looks.ts";
import { Looks } from "./looks.ts";
import type { AuthorityGroup, Outcome } from "./requirement.ts";
import { groupsOf, namesOf, pairsOf } from "./requirement.ts";

export interface JudgeOptions {
  /** Without one, only the denied signers matter. */
  readonly rule: RuleSettings | undefined;
  readonly deniedSigners: readonly DeniedSigner[];
  readonly compile: (settings: AuthoritySettings) => Authority;
}

interface CompiledAttestation {
  readonly settings: AttestationSettings;
  readonly groups: readonly AuthorityGroup[];
}

/**
 * Measures evidence with one rule. One good signature is enough where one is asked for: a bad one
 * beside it changes nothing, but for one by a signer on the deny list. Synchronous; all it knows of
 * time is what it is told.
 */
export class Judge {
  readonly #signatures: readonly AuthorityGroup[];
  readonly #attestations: readonly CompiledAttestation[];
  readonly #deniedSigners: readonly DeniedSigner[];

  constructor({ rule, deniedSigners, compile }: JudgeOptions) {
    const compileOnce = onceEach(compile);
    const { signatures, attestations = [] } = rule ?? {};
    this.#signatures = signatures === undefined ? [] : groupsOf(signatures, compileOnce);
    this.#attestations = attestations.map((settings) => ({
      settings,
      groups: groupsOf(settings.by, compileOnce),
    }));
    this.#deniedSigners = deniedSigners;
  }

  judge(evidence: Evidence, nowMs: number): Judgement {
    const looks = new Looks({ evidence, deniedSigners: this.#deniedSigners, nowMs });
    const signed = this.#signatures.map((group) => findSignature(looks, group));
    const attested = this.#attestations.flatMap(({ settings, groups }) =>
      groups.map((group) => findAttestation(looks, settings, group, nowMs)),
    );
    const outcomes = [...signed, ...attested];
    const reason = this.#reasonOf(looks, signed, attested);
    const isAllowed = reason === "signed" || reason === "permitted";
    const counted = outcomes.flatMap((outcome) => ("counted" in outcome ? [outcome] : []));
    const ends = counted.flatMap(({ validUntilMs }) => validUntilMs ?? []);
    const { checks, durations } = looks;
    return {
      isAllowed,
      reason,
      signers: [...new Set(checks.flatMap(({ counts, signer }) => (counts && signer) || []))],
      missing: missingOf(outcomes, evidence),
      checks,
      ...(isAllowed && ends.length > 0 && { validUntilMs: Math.min(...ends) }),
      durations,
    };
  }

  #reasonOf(
    looks: Looks,
    signed: readonly Outcome[],
    attested: readonly Outcome[],
  ): Judgement["reason"] {
    if (looks.hasDenied()) {
      return "denied_signer"; // whoever else has signed it
    }
    if (signed.length === 0 && attested.length === 0) {
      return "permitted";
    }
    if ([...signed, ...attested].every(isMet)) {
      return "signed";
    }
    if (looks.candidates.length === 0) {
      return "unsigned";
    }
    const isVouchedFor = signed.length > 0 ? signed.every(isMet) : looks.hasVerified;
    return isVouchedFor ? "attestation" : "untrusted";
  }
}

function isMet(outcome: Outcome): boolean {
  return "counted" in outcome;
}

function findSignature(looks: Looks, group: AuthorityGroup): Outcome {
  for (const { candidate, authority } of pairsOf(looks.candidates, group)) {
    const verified = looks.verify(candidate, authority);
    if (verified?.says.kind === "signature") {
      looks.count(candidate, authority);
      return { counted: verified, validUntilMs: verified.validUntilMs };
    }
    if (verified !== undefined) {
      const problem = "is an attestation: it vouches for what it says, and not for the image";
      looks.reject(candidate, authority, problem);
    }
  }
  return { missing: `not signed by ${namesOf(group)}` };
}

function missingOf(outcomes: readonly Outcome[], { candidates }: Evidence): string[] {
  const missing = outcomes.flatMap((outcome) => ("missing" in outcome ? [outcome.missing] : []));
  const { candidatesMax } = POLICY_LIMITS;
  if (missing.length > 0 && candidates.length > candidatesMax) {
    missing.push(`of its ${candidates.length} signatures only ${candidatesMax} were looked at`);
  }
  return missing;
}

/** The same settings are the same authority: what it has looked at, it need not look at again. */
function onceEach(
  compile: (settings: AuthoritySettings) => Authority,
): (settings: AuthoritySettings) => Authority {
  const known = new Map<string, Authority>();
  return (settings) => {
    const key = JSON.stringify(settings);
    const authority = known.get(key) ?? compile(settings);
    known.set(key, authority);
    return authority;
  };
}
