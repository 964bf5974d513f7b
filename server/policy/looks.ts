import type { Check, SignatureFormat } from "../decision.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { Authority, VerifiedSignature } from "./authority.ts";
import { SignatureProblem } from "./authority.ts";
import type { Candidate, Evidence, Subject } from "./evidence.ts";
import type { Judgement } from "./judgement.ts";
import { printable } from "./printable.ts";

/** Whose signatures never count, and why. */
export interface DeniedSigner {
  readonly authority: Authority;
  readonly reason: string;
}

const DENIED = "was made by a signer on the deny list";
/** Of an identity, a reason: longer ones are made to be tedious. */
const TEXT_LENGTH_MAX = 500;

/** What one authority made of one candidate. */
interface Look {
  readonly verified: VerifiedSignature | undefined;
  problem: string | undefined;
  counts: boolean;
}

/** What the deny list makes of a candidate. */
interface Denial {
  readonly check: Check;
  readonly isSignature: boolean;
}

export interface LooksOptions {
  readonly evidence: Evidence;
  readonly deniedSigners: readonly DeniedSigner[];
  readonly nowMs: number;
}

/**
 * The candidates of one subject, each looked at with the eyes of each authority at most once, and
 * what is to be told of it afterwards.
 */
export class Looks {
  readonly candidates: readonly Candidate[];
  readonly #subject: Subject;
  readonly #deniedSigners: readonly DeniedSigner[];
  readonly #nowMs: number;
  readonly #looks = new Map<Candidate, Map<Authority, Look>>();
  /** Only of candidates that were compared with the deny list. */
  readonly #denials = new Map<Candidate, Denial | undefined>();
  readonly #seconds = new Map<SignatureFormat, number>();

  constructor({ evidence, deniedSigners, nowMs }: LooksOptions) {
    this.candidates = evidence.candidates.slice(0, POLICY_LIMITS.candidatesMax);
    this.#subject = evidence.subject;
    this.#deniedSigners = deniedSigners;
    this.#nowMs = nowMs;
  }

  /** What an authority proved; undefined when that is nothing, or the signer is on the deny list. */
  verify(candidate: Candidate, authority: Authority): VerifiedSignature | undefined {
    const looks = this.#looks.get(candidate) ?? new Map<Authority, Look>();
    this.#looks.set(candidate, looks);
    const look = looks.get(authority) ?? this.#look(candidate, authority);
    looks.set(authority, look);
    return look.problem === DENIED ? undefined : look.verified;
  }

  /** It is what a rule asked for. */
  count(candidate: Candidate, authority: Authority): void {
    const look = this.#looks.get(candidate)?.get(authority);
    if (look !== undefined) {
      look.counts = true;
    }
  }

  /** It is genuine, and not what a rule asked for. */
  reject(candidate: Candidate, authority: Authority, problem: string): void {
    const look = this.#looks.get(candidate)?.get(authority);
    if (look !== undefined) {
      look.problem ??= problem;
    }
  }

  /** Whether a signer on the deny list has signed it; an attestation of theirs does not count. */
  hasDenied(): boolean {
    return this.candidates.some((candidate) => this.#denialOf(candidate)?.isSignature === true);
  }

  /** Whether any authority recognised anything, counting or not. */
  get hasVerified(): boolean {
    return [...this.#looks.values()].some((looks) =>
      [...looks.values()].some(({ verified }) => verified !== undefined),
    );
  }

  get checks(): readonly Check[] {
    const denials = [...this.#denials.values()].flatMap((denial) => denial?.check ?? []);
    const checks = [...this.#looks].flatMap(([candidate, looks]) =>
      [...looks]
        .filter(([, { problem }]) => problem !== DENIED) // told with its reason
        .map(([authority, look]) => checkOf(candidate, authority, look)),
    );
    return [...denials, ...checks];
  }

  get durations(): Judgement["durations"] {
    return [...this.#seconds].map(([format, seconds]) => ({ format, seconds }));
  }

  #look(candidate: Candidate, authority: Authority): Look {
    const { verified, problem } = this.#attempt(candidate, authority);
    if (verified !== undefined && this.#denialOf(candidate) !== undefined) {
      return { verified, problem: DENIED, counts: false };
    }
    return { verified, problem, counts: false };
  }

  #denialOf(candidate: Candidate): Denial | undefined {
    if (!this.#denials.has(candidate)) {
      this.#denials.set(candidate, this.#findDenial(candidate));
    }
    return this.#denials.get(candidate);
  }

  #findDenial(candidate: Candidate): Denial | undefined {
    for (const { authority, reason } of this.#deniedSigners) {
      const { verified } = this.#attempt(candidate, authority);
      if (verified !== undefined) {
        const problem = `${DENIED}: ${reason}`;
        const check = checkOf(candidate, authority, { verified, problem, counts: false });
        return { check, isSignature: verified.says.kind === "signature" };
      }
    }
    return;
  }

  /** Whatever is thrown: this one does not count, the next is looked at. */
  #attempt(candidate: Candidate, authority: Authority): Pick<Look, "verified" | "problem"> {
    const startedMs = performance.now();
    try {
      const verified = authority.verify(candidate, this.#subject, this.#nowMs);
      const isOver = verified.validUntilMs !== undefined && verified.validUntilMs <= this.#nowMs;
      return isOver
        ? { verified: undefined, problem: "is no longer valid" }
        : { verified, problem: undefined };
    } catch (error) {
      const problem = error instanceof SignatureProblem ? error.message : "could not be verified";
      return { verified: undefined, problem };
    } finally {
      const seconds = (performance.now() - startedMs) / 1000;
      this.#seconds.set(candidate.format, (this.#seconds.get(candidate.format) ?? 0) + seconds);
    }
  }
}

function checkOf(candidate: Candidate, authority: Authority, look: Look): Check {
  const { verified, problem, counts } = look;
  return {
    format: candidate.format,
    artifact: candidate.artifact,
    authority: printable(authority.name, TEXT_LENGTH_MAX),
    counts,
    ...(verified !== undefined && { signer: printable(verified.signer, TEXT_LENGTH_MAX) }),
    ...(!counts && { problem: printable(problem ?? "was not needed", TEXT_LENGTH_MAX) }),
  };
}
