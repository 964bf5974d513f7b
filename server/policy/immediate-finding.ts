import type { Manifest } from "../cache/manifest-cache.ts";
import { isArtefactIndex, isSignatureArtefact } from "../oci/artefacts.ts";
import type { Inspection } from "../oci/strict-manifest.ts";
import type { RuleSettings } from "../policy-settings.ts";
import type { Case, Finding } from "./finding.ts";
import { excepted, unasked } from "./finding.ts";
import type { Policy } from "./policy.ts";

/** What can be said of a manifest by itself; undefined when signatures or layers have to be read. */
export function findAtOnce(
  policy: Policy,
  about: Case,
  { bytes }: Manifest,
  inspect: () => Inspection,
): Finding | undefined {
  const { name, digest, rule, nowMs } = about;
  const listed = policy.deniedBytes(bytes);
  if (listed !== undefined) {
    return { verdict: "deny", reason: "denied_digest", problem: listed.reason };
  }
  if (rule.mode === "off") {
    return policy.hasDeniedSigners ? undefined : unasked(rule);
  }
  const inspection = inspect();
  if (inspection.problem !== undefined) {
    return { verdict: "deny", reason: "malformed", problem: inspection.problem };
  }
  const exception = policy.exceptionFor(name, digest, nowMs);
  if (exception !== undefined) {
    return policy.hasDeniedSigners ? undefined : excepted(exception);
  }
  return rule.settings === undefined
    ? { verdict: "deny", reason: "unmatched" }
    : findByContent(policy, inspection, rule.settings);
}

function findByContent(
  { hasDeniedSigners }: Policy,
  inspection: Inspection,
  rule: RuleSettings,
): Finding | undefined {
  if (isArtefactIndex(inspection)) {
    return { verdict: "allow", reason: "artefact" };
  }
  if (isSignatureArtefact(inspection)) {
    return; // its layers have to be read
  }
  if (inspection.hasForeignLayers && rule.foreignLayers === "refuse") {
    return { verdict: "deny", reason: "foreign_layers" };
  }
  const asksNothing = rule.signatures === undefined && rule.attestations.length === 0;
  return asksNothing && !hasDeniedSigners ? { verdict: "allow", reason: "permitted" } : undefined;
}
