import { setTimeout as sleep } from "node:timers/promises";
import type { Source } from "../cache/source.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { CandidateSource, Findings } from "./candidates.ts";
import { CandidateLookup } from "./candidates.ts";
import type { Evidence, Subject } from "./evidence.ts";

export interface GatherRequest {
  readonly source: Source;
  readonly subject: Subject;
  readonly wantsAttestations: boolean;
  /** What is found later may speak against the image: then nothing is decided before. */
  readonly needsAll: boolean;
  /** Whether what one look-up found settles it, so that nobody waits for a slow one. */
  readonly isEnough: (evidence: Evidence) => Promise<boolean>;
}

/**
 * Asks all places where signatures are kept, at once, and within one deadline. Never rejects: what
 * could not be asked is among the failures.
 */
export async function gatherEvidence(
  registry: CandidateSource,
  request: GatherRequest,
  now: () => number,
): Promise<Evidence> {
  const { source, subject, wantsAttestations, needsAll, isEnough } = request;
  const signal = AbortSignal.timeout(POLICY_LIMITS.gatherTimeoutMs);
  const begin = (): CandidateLookup => new CandidateLookup({ registry, source, subject, signal });
  const referrers = begin();
  const tags = begin();
  const attestations = wantsAttestations ? [begin()] : [];
  const runs = [
    { lookup: referrers, done: referrers.byReferrers() },
    { lookup: tags, done: tags.byTag("sig") },
    ...attestations.map((lookup) => ({ lookup, done: lookup.byTag("att") })),
  ];
  const all = Promise.all(runs.map(({ done }) => done));
  const evidenceNow = (isPartial: boolean): Evidence => ({
    subject,
    isPartial,
    ...(wantsAttestations && { withAttestations: true }),
    ...merged(runs.map(({ lookup }) => lookup.findings)),
    gatheredAtMs: now(),
  });
  if (!needsAll && (await isOneFarAhead(runs, all))) {
    const partial = evidenceNow(true);
    if (await isEnough(partial)) {
      return partial;
    }
  }
  await all;
  return evidenceNow(false);
}

interface Run {
  readonly lookup: CandidateLookup;
  readonly done: Promise<void>;
}

/** Whether one look-up found something, and others still run a moment later. */
async function isOneFarAhead(runs: readonly Run[], all: Promise<unknown>): Promise<boolean> {
  const ahead = Promise.any(
    runs.map(async ({ lookup, done }) => {
      await done;
      if (lookup.findings.candidates.length === 0) {
        throw new Error("nothing found here");
      }
      await sleep(POLICY_LIMITS.gatherGraceMs, undefined, { ref: false });
      return true;
    }),
  ).catch(() => false);
  const together = all.then(() => false);
  return await Promise.race([together, ahead]);
}

/** In turn from each look-up, so that garbage in one place does not crowd out the other. */
function merged(findings: readonly Findings[]): Findings {
  const candidates: Findings["candidates"] = [];
  const longest = Math.max(...findings.map((one) => one.candidates.length));
  for (let at = 0; at < longest; at += 1) {
    candidates.push(...findings.flatMap((one) => one.candidates.slice(at, at + 1)));
  }
  return {
    candidates: candidates.slice(0, POLICY_LIMITS.candidatesMax),
    passedOver: findings.flatMap((one) => one.passedOver),
    failures: findings.flatMap((one) => one.failures),
    isCut: findings.some((one) => one.isCut) || candidates.length > POLICY_LIMITS.candidatesMax,
  };
}
