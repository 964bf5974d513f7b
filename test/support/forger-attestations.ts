import type { RuleSettings } from "../../server/policy-settings.ts";
import { rows } from "./forger-rules.ts";
import { keyOf, ruleOf } from "./policies.ts";
import { key } from "./policy-rig.ts";
import { SLSA_PROVENANCE, VULNERABILITIES } from "./sign-statements.ts";
import type { Signer } from "./sign-with.ts";
import type { Sign } from "./signed-images.ts";

/** Rules that ask for attestations, and what CI makes for them. */

export const SLSA_V02 = "https://slsa.dev/provenance/v0.2";
export const BUILDER = "https://github.com/actions/runner/github-hosted";
export const SOURCE = "git+https://github.com/acme/app@refs/heads/main";
const DAY_MS = 86_400_000;

const by = { require: "any", authorities: [keyOf(key)] } as const;
const from = { builder: [BUILDER], source: ["git+https://github.com/acme/*@refs/heads/main"] };
const vulnerabilities = {
  scanner: ["pkg:github/aquasecurity/trivy@*", "pkg:github/anchore/grype@*"],
  maxAgeSeconds: 7 * 86_400,
  refuse: ["critical"],
};

export const ATTESTED: readonly RuleSettings[] = [
  ruleOf({ name: "slsa", attestations: [{ predicateType: SLSA_PROVENANCE, by, ...from }] }),
  ruleOf({ name: "slsa-v02", attestations: [{ predicateType: SLSA_V02, by, ...from }] }),
  ruleOf({
    name: "scanned",
    attestations: [{ predicateType: VULNERABILITIES, by, vulnerabilities }],
  }),
  ruleOf({
    name: "signed-and-scanned",
    signatures: by,
    attestations: [{ predicateType: VULNERABILITIES, by, vulnerabilities }],
  }),
];

/** https://slsa.dev/spec/v1.0/provenance */
export function provenance(builder: string = BUILDER, source: string = SOURCE): object {
  return {
    buildDefinition: {
      buildType: "https://actions.github.io/buildtypes/workflow/v1",
      externalParameters: {},
      resolvedDependencies: [{ uri: source, digest: { gitCommit: "c0ffee" } }],
    },
    runDetails: { builder: { id: builder } },
  };
}

/** https://slsa.dev/spec/v0.2/provenance */
export function provenanceV02(builder: string = BUILDER, source: string = SOURCE): object {
  return { builder: { id: builder }, invocation: { configSource: { uri: source } } };
}

export interface ScanOptions {
  readonly ageDays?: number;
  readonly result?: unknown;
  readonly scanner?: string;
  /** In place of the time that its age gives. */
  readonly finishedOn?: string;
}

/** As `cosign attest --type vuln` has it, of a scan by Trivy that found nothing. */
export function scanOf(options: ScanOptions = {}): object {
  const { ageDays = 1, scanner = "pkg:github/aquasecurity/trivy@0.58.0" } = options;
  const finishedOn = new Date(Date.now() - ageDays * DAY_MS).toISOString();
  return {
    invocation: { parameters: null, uri: "", event_id: "", "builder.id": "" },
    scanner: { uri: scanner, version: "1", result: options.result ?? trivyOf() },
    metadata: { scanStartedOn: finishedOn, scanFinishedOn: options.finishedOn ?? finishedOn },
  };
}

export function trivyOf(...severities: readonly string[]): object {
  const Vulnerabilities = severities.map((Severity) => ({ VulnerabilityID: "CVE-1", Severity }));
  return { SchemaVersion: 2, Results: [{ Target: "alpine", Class: "os-pkgs", Vulnerabilities }] };
}

export function grypeOf(...severities: readonly string[]): object {
  const matches = severities.map((severity) => ({ vulnerability: { id: "CVE-1", severity } }));
  return { matches, descriptor: { name: "grype" } };
}

/** By the key that the rules name, unless somebody else signs. */
export function attesting(predicateType: string, predicate: object, signer: Signer = key): Sign {
  return rows.bundle({ by: signer, predicateType, predicate });
}

/** The same in the older format. */
export function attestingByTag(...attested: readonly (readonly [string, object])[]): Sign {
  return rows.attestationTag(
    attested.map(([predicateType, predicate]) => ({ by: key, predicateType, predicate })),
  );
}
