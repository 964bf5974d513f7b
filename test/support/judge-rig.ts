import type { SignatureFormat } from "../../server/decision.ts";
import type {
  Authority,
  SignatureContent,
  VerifiedSignature,
} from "../../server/policy/authority.ts";
import { SignatureProblem } from "../../server/policy/authority.ts";
import type { Candidate, Evidence } from "../../server/policy/evidence.ts";
import { Judge } from "../../server/policy/judge.ts";
import type { Judgement } from "../../server/policy/judgement.ts";
import type {
  AttestationSettings,
  AuthoritySettings,
  RuleSettings,
} from "../../server/policy-settings.ts";
import { digestOf } from "../../storage/digest.ts";

/** A Judge whose authorities just read who is said to have signed. */

export const NOW_MS: number = Date.parse("2026-03-01T12:00:00Z");
export const DAY_MS = 86_400_000;
export const SIGNATURE: SignatureContent = { kind: "signature" };
export const SLSA = "https://slsa.dev/provenance/v1";
export const VULN = "https://cosign.sigstore.dev/attestation/vuln/v1";

/** What a candidate of these tests says, and by whom: the authorities of the tests just read it. */
export interface Fake {
  readonly by: string;
  readonly says?: SignatureContent;
  readonly format?: SignatureFormat;
  readonly validUntilMs?: number;
  readonly throws?: unknown;
}

const encoder = new TextEncoder();

export function evidenceOf(...fakes: readonly Fake[]): Evidence {
  const candidates = fakes.map((fake, index): Candidate => {
    const payload = encoder.encode(JSON.stringify({ index, ...fake }));
    return {
      format: fake.format ?? "bundle",
      artifact: digestOf(payload),
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      payload,
      annotations: {},
    };
  });
  const digest = digestOf(encoder.encode("subject"));
  const subject = { digest, mediaType: "application/x", sizeBytes: 7 };
  return {
    subject,
    candidates,
    passedOver: [],
    failures: [],
    isPartial: false,
    gatheredAtMs: NOW_MS,
  };
}

export function key(file: string): AuthoritySettings {
  return { kind: "key", file, pem: "", log: "ignore", trustedRoot: "public-good" };
}

/** How often each authority looked at each candidate. */
export const looks: Map<string, number> = new Map();

export function compile(settings: AuthoritySettings): Authority {
  const name = settings.kind === "key" ? settings.file : settings.kind;
  return {
    name: `key ${name}`,
    verify(candidate: Candidate): VerifiedSignature {
      const at = `${name} ${candidate.artifact}`;
      looks.set(at, (looks.get(at) ?? 0) + 1);
      const fake = JSON.parse(Buffer.from(candidate.payload).toString()) as Fake;
      if (fake.throws === "problem") {
        throw new SignatureProblem("is about another image");
      }
      if (fake.throws !== undefined) {
        throw new TypeError("Cannot read properties of undefined\n    at secret.ts:1");
      }
      if (fake.by !== name) {
        throw new SignatureProblem(`was not made with ${name}`);
      }
      const { says = SIGNATURE, validUntilMs } = fake;
      return { signer: `the owner of ${name}`, says, ...(validUntilMs && { validUntilMs }) };
    },
  };
}

export function ruleOf(rest: Partial<RuleSettings>): RuleSettings {
  return {
    name: "team",
    match: ["a.b/**"],
    mode: "enforce",
    attestations: [],
    children: "inherit",
    foreignLayers: "refuse",
    ...rest,
  };
}

export function signedBy(require: "any" | "all", ...files: readonly string[]): RuleSettings {
  return ruleOf({ signatures: { require, authorities: files.map(key) } });
}

export function judge(
  rule: RuleSettings | undefined,
  evidence: Evidence,
  denied: readonly string[] = [],
): Judgement {
  const deniedSigners = denied.map((file) => ({ authority: compile(key(file)), reason: "stolen" }));
  return new Judge({ rule, deniedSigners, compile }).judge(evidence, NOW_MS);
}

export function attestation(predicateType: string, predicate: unknown = {}): SignatureContent {
  return { kind: "attestation", predicateType, predicate };
}

export function scan(
  ageDays: number,
  severity?: string,
  uri = "pkg:github/aquasecurity/trivy@1",
): SignatureContent {
  const scanFinishedOn = new Date(NOW_MS - ageDays * DAY_MS).toISOString();
  const Vulnerabilities = severity === undefined ? [] : [{ Severity: severity }];
  const result = { SchemaVersion: 2, Results: [{ Vulnerabilities }] };
  return attestation(VULN, { scanner: { uri, result }, metadata: { scanFinishedOn } });
}

export function attested(
  rest: Partial<AttestationSettings>,
  ...files: readonly string[]
): RuleSettings {
  const by = {
    require: "any",
    authorities: (files.length === 0 ? ["ci"] : files).map(key),
  } as const;
  return ruleOf({ attestations: [{ predicateType: SLSA, by, ...rest }] });
}
