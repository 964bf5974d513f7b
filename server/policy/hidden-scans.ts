import type { RuleSettings } from "../policy-settings.ts";
import type { Judged } from "./evidence-judge.ts";

/** Whether the latest scan decides, so that all of them have to be seen. */
export function hasScans(rule: RuleSettings | undefined): boolean {
  const { attestations = [] } = rule ?? {};
  return attestations.some(({ vulnerabilities }) => vulnerabilities !== undefined);
}

/**
 * Refuses what an older scan would allow while not everything that was found was looked at: whoever
 * may push could put so much beside an image that its newest scan is in the rest.
 */
export function refuseHidden(judged: Judged, rule: RuleSettings | undefined): Judged {
  const { evidence, judgement, spoiled } = judged;
  const isWhole = evidence.isCut !== true && spoiled.length === 0;
  if (isWhole || !judgement.isAllowed || !hasScans(rule)) {
    return judged;
  }
  const missing = ["more was found than is looked at, and a newer scan may be in the rest"];
  return {
    ...judged,
    judgement: { ...judgement, isAllowed: false, reason: "attestation", missing },
  };
}
