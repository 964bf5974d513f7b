import { createHash, X509Certificate } from "node:crypto";
import type {
  AttestationSettings,
  AuthoritySettings,
  DenySettings,
  ExceptionSettings,
  PolicySettings,
  RuleSettings,
  SignatureSettings,
  TrustedRootSettings,
} from "../policy-settings.ts";
import { policyAuthorities } from "./policy-sources.ts";

const DAY_SECONDS = 86_400;

/** A policy as a configuration file would have it: files by name, not by what they hold. */
export function effectivePolicy(policy: PolicySettings): Readonly<Record<string, unknown>> {
  const { unmatched, rules, exceptions, deny } = policy;
  return {
    unmatched,
    ...(rules.length > 0 && { rules: rules.map(printableRule) }),
    ...(exceptions.length > 0 && { exceptions: exceptions.map(printableException) }),
    ...(deny.length > 0 && { deny: deny.map(printableDeny) }),
  };
}

/** What a file holds that a policy names, so that two machines can be compared. */
export interface Fingerprint {
  /** The file, or a trust store's folder. */
  readonly file: string;
  /** `sha256:…` of the file, as sha256sum has it; of a certificate's DER, as openssl has it. */
  readonly sha256: string;
}

/** Keys, trusted roots and certificates that a policy was made with, each once. */
export function policyFingerprints(policy: PolicySettings): readonly Fingerprint[] {
  const all = policyAuthorities(policy).flatMap(fingerprintsOf);
  return [...new Map(all.map((one) => [`${one.file} ${one.sha256}`, one])).values()];
}

function fingerprintsOf(authority: AuthoritySettings): readonly Fingerprint[] {
  if (authority.kind === "notation") {
    return authority.certificates.map((pem) => ({
      file: authority.trustStoreDir,
      sha256: sha256(new X509Certificate(pem).raw),
    }));
  }
  const { trustedRoot } = authority;
  return [
    ...(authority.kind === "key" ? [{ file: authority.file, sha256: sha256(authority.pem) }] : []),
    ...(trustedRoot === "public-good"
      ? []
      : [{ file: trustedRoot.file, sha256: sha256(trustedRoot.json) }]),
  ];
}

function sha256(contents: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(contents).digest("hex")}`;
}

function printableRule({ tags, signatures, attestations, ...rule }: RuleSettings): unknown {
  const { name, match, mode, children, foreignLayers } = rule;
  return {
    name,
    match,
    mode,
    ...(tags && { tags }),
    ...(signatures && { signatures: printableSignatures(signatures) }),
    ...(attestations.length > 0 && { attestations: attestations.map(printableAttestation) }),
    children,
    foreignLayers,
  };
}

function printableSignatures({ require, authorities }: SignatureSettings): unknown {
  return { [require]: authorities.map(printableAuthority) };
}

function printableAttestation(attestation: AttestationSettings): unknown {
  const { by, vulnerabilities, ...rest } = attestation;
  const { scanner, maxAgeSeconds, refuse = [] } = vulnerabilities ?? {};
  return {
    ...rest,
    by: printableSignatures(by),
    ...(vulnerabilities && {
      vulnerabilities: {
        ...(scanner && { scanner }),
        ...(maxAgeSeconds !== undefined && { maxAgeDays: maxAgeSeconds / DAY_SECONDS }),
        ...(refuse.length > 0 && { refuse }),
      },
    }),
  };
}

function printableAuthority(authority: AuthoritySettings): unknown {
  switch (authority.kind) {
    case "keyless": {
      const { issuer, subject, trustedRoot, log } = authority;
      const who = "exact" in subject ? { subject: subject.exact } : { subjectGlob: subject.glob };
      return { keyless: { issuer, ...who, ...printableRoot(trustedRoot), log } };
    }
    case "key": {
      const { file, log, trustedRoot } = authority;
      return { key: { file, ...printableRoot(trustedRoot), log } };
    }
    case "notation": {
      const { trustStoreDir, subjects } = authority;
      return { notation: { trustStoreDir, subjects } };
    }
  }
}

function printableRoot(root: TrustedRootSettings): object {
  return root === "public-good" ? {} : { trustedRootFile: root.file };
}

function printableException({ untilMs, ...rest }: ExceptionSettings): unknown {
  return { ...rest, until: new Date(untilMs).toISOString() };
}

function printableDeny(deny: DenySettings): unknown {
  return "signer" in deny ? { signer: printableAuthority(deny.signer), reason: deny.reason } : deny;
}
