/**
 * A policy as the configuration has it, with what its files hold: plain data, so that it can be
 * hashed for the policy's revision and handed to a worker thread. Only config/policy.ts makes one.
 */
export interface PolicySettings {
  /** For repositories that no rule names. */
  readonly unmatched: "allow" | "warn" | "deny";
  /** The first that matches decides. */
  readonly rules: readonly RuleSettings[];
  readonly exceptions: readonly ExceptionSettings[];
  readonly deny: readonly DenySettings[];
}

export type PolicyMode = "enforce" | "warn" | "off";

export interface RuleSettings {
  /** Unique: a label of metrics. */
  readonly name: string;
  /** Globs over the canonical `upstream/repository`: `*` inside a segment, `**` across. Anchored. */
  readonly match: readonly string[];
  readonly mode: PolicyMode;
  readonly tags?: TagSettings;
  readonly signatures?: SignatureSettings;
  /** Each of them must be there. */
  readonly attestations: readonly AttestationSettings[];
  readonly children: "inherit" | "require-own";
  /** Descriptors with `urls`, which some clients fetch from there. */
  readonly foreignLayers: "refuse" | "allow";
}

export interface TagSettings {
  /** Globs over the tag; undefined allows any. */
  readonly allow?: readonly string[];
  /** Only tags that are a semantic version, with or without a leading `v`. */
  readonly semver: boolean;
  /** No tag at all: images are asked for by digest. */
  readonly digestOnly: boolean;
}

/** Which of the authorities must have signed; never an empty list. */
export interface SignatureSettings {
  readonly require: "any" | "all";
  readonly authorities: readonly AuthoritySettings[];
}

export type AuthoritySettings = KeylessSettings | KeySettings | NotationSettings;

/** A Fulcio certificate: issuer and subject are both compared, always. */
export interface KeylessSettings {
  readonly kind: "keyless";
  /** The OIDC issuer, exactly. */
  readonly issuer: string;
  readonly subject: SubjectSettings;
  readonly trustedRoot: TrustedRootSettings;
  /** `ignore` needs a timestamp authority in the trusted root. */
  readonly log: "require" | "ignore";
}

/** `glob`: `*` stands for anything but `/`, `**` for anything; anchored. */
export type SubjectSettings = { readonly exact: string } | { readonly glob: string };

export interface KeySettings {
  readonly kind: "key";
  readonly file: string;
  /** A public key, SPKI PEM. */
  readonly pem: string;
  readonly log: "require" | "ignore";
  /** Only looked at when the log is required. */
  readonly trustedRoot: TrustedRootSettings;
}

/** `public-good` is Sigstore's own: bundled, or as TUF last said. */
export type TrustedRootSettings =
  | "public-good"
  | {
      readonly file: string;
      /** A Sigstore TrustedRoot as JSON text. */
      readonly json: string;
    };

export interface NotationSettings {
  readonly kind: "notation";
  readonly trustStoreDir: string;
  /** The certificates of the folder, PEM, one each. */
  readonly certificates: readonly string[];
  /** Distinguished names whose attributes a leaf must all have: `C=US, O=acme`; `*` is any leaf. */
  readonly subjects: readonly string[];
}

export interface AttestationSettings {
  /** An in-toto predicate type, exactly. */
  readonly predicateType: string;
  readonly by: SignatureSettings;
  /** Globs over SLSA's builder id; undefined allows any. */
  readonly builder?: readonly string[];
  /** Globs over the sources that SLSA names (uri of configSource, resolved dependencies, materials). */
  readonly source?: readonly string[];
  readonly vulnerabilities?: VulnerabilitySettings;
}

/** What a vulnerability scan must say: https://cosign.sigstore.dev/attestation/vuln/v1. */
export interface VulnerabilitySettings {
  /** Globs over the scanner's uri; undefined allows any. */
  readonly scanner?: readonly string[];
  /** Since the scan finished. */
  readonly maxAgeSeconds?: number;
  /** Lower case: `critical`, `high`, `medium`, `low`, `negligible`, `unknown`. */
  readonly refuse: readonly string[];
}

/** Lets pass what a rule would refuse, until a moment, with a reason on record. */
export interface ExceptionSettings {
  /** Unique: a label of metrics. The configuration's, or made of ticket or match. */
  readonly name: string;
  readonly match: readonly string[];
  readonly digest?: string;
  /** Milliseconds since the epoch; from then on it does not count. */
  readonly untilMs: number;
  readonly reason: string;
  readonly ticket?: string;
}

/** Beats exceptions, `warn` and `off`. */
export type DenySettings =
  | { readonly digest: string; readonly reason: string }
  | { readonly signer: AuthoritySettings; readonly reason: string };

export interface TrustSettings {
  /** `tuf` is refreshed in the background, the last good one kept on disk. */
  readonly publicGood: "bundled" | "tuf";
  /** Another TUF repository than Sigstore's own, and the root.json that it starts from. */
  readonly tufMirror?: string;
  readonly tufRootFile?: string;
}

export interface AuditSettings {
  readonly target: "stdout" | { readonly file: string };
  /** A file that reaches it is put aside and a new one begun. */
  readonly maxBytes: number;
  /** How many that were put aside are kept. */
  readonly keep: number;
}
