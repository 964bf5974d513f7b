import type {
  AuthoritySettings,
  KeylessSettings,
  KeySettings,
  PolicySettings,
  RuleSettings,
} from "../../server/policy-settings.ts";
import type { PrivateSigstore } from "./private-sigstore.ts";
import type { KeySigner } from "./sign-with.ts";

export const IDENTITY = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main";
export const ISSUER = "https://token.actions.githubusercontent.com";

/** A rule in force for all of `team.example`, which asks for nothing yet. */
export function ruleOf(rule: Partial<RuleSettings> = {}): RuleSettings {
  return {
    name: "team",
    match: ["team.example/**"],
    mode: "enforce",
    attestations: [],
    children: "inherit",
    foreignLayers: "refuse",
    ...rule,
  };
}

/** A rule that wants to see one of them. */
export function signedBy(
  authority: AuthoritySettings | readonly AuthoritySettings[],
  rule: Partial<RuleSettings> = {},
): RuleSettings {
  const authorities = [authority].flat();
  return ruleOf({ signatures: { require: "any", authorities }, ...rule });
}

export function keylessAt(
  sigstore: PrivateSigstore,
  settings: Partial<KeylessSettings> = {},
): KeylessSettings {
  return {
    kind: "keyless",
    issuer: ISSUER,
    subject: { exact: IDENTITY },
    trustedRoot: { file: "trusted_root.json", json: sigstore.trustedRootJson },
    log: "require",
    ...settings,
  };
}

export function keyOf(
  { publicKeyPem: pem }: KeySigner,
  settings: Partial<KeySettings> = {},
): KeySettings {
  const trustedRoot = "public-good" as const;
  return { kind: "key", file: "cosign.pub", pem, log: "ignore", trustedRoot, ...settings };
}

export function policyOf(
  rules: RuleSettings | readonly RuleSettings[],
  policy: Partial<PolicySettings> = {},
): PolicySettings {
  return { unmatched: "allow", rules: [rules].flat(), exceptions: [], deny: [], ...policy };
}
