import type { RuleSettings } from "../../server/policy-settings.ts";
import { IDENTITY, ISSUER, keylessAt, keyOf, signedBy } from "./policies.ts";
import { key, sigstore } from "./policy-rig.ts";
import type { PrivateSigstore } from "./private-sigstore.ts";
import { createPrivateSigstore } from "./private-sigstore.ts";
import { SigningRows } from "./sign-rows.ts";
import type { KeylessSigner } from "./sign-with.ts";
import { keyless } from "./sign-with.ts";

/** What signatures of tables are made by: whom rules name, and strangers. */

export const stranger: PrivateSigstore = await createPrivateSigstore();
export const rows: SigningRows = new SigningRows(sigstore);
export const release: KeylessSigner = keyless(IDENTITY, ISSUER);
export const mallory: KeylessSigner = keyless("mallory@evil.example", "https://evil.example");
export const EMAIL = "release@acme.example";
export const GOOGLE_ISSUER = "https://accounts.google.com";
/** Of another image than the one that is asked for. */
export const OTHER_DIGEST: string = `sha256:${"ab".repeat(32)}`;

const file = "trusted_root.json";
/** Certificates are of this instance, and the log that has seen them is another one's. */
const foreignCtLog = JSON.stringify({
  ...JSON.parse(sigstore.trustedRootJson),
  ctlogs: JSON.parse(stranger.trustedRootJson).ctlogs,
});

/** Whom a rule asks for, by the rule's name. */
export const RULES: Readonly<Record<string, RuleSettings>> = Object.fromEntries(
  [
    signedBy(keylessAt(sigstore), { name: "keyless" }),
    signedBy(
      keylessAt(sigstore, {
        subject: { glob: "https://github.com/acme/*/.github/workflows/*@refs/heads/main" },
      }),
      { name: "glob" },
    ),
    signedBy(keylessAt(sigstore, { issuer: GOOGLE_ISSUER, subject: { exact: EMAIL } }), {
      name: "email",
    }),
    signedBy(keylessAt(sigstore, { log: "ignore" }), { name: "stamped" }),
    signedBy(keylessAt(sigstore, { trustedRoot: { file, json: foreignCtLog } }), {
      name: "foreign-ctlog",
    }),
    signedBy(keyOf(key), { name: "key" }),
    signedBy(
      keyOf(key, { log: "require", trustedRoot: { file, json: sigstore.trustedRootJson } }),
      { name: "logged-key" },
    ),
    signedBy([keyOf(key), keylessAt(sigstore)], { name: "any" }),
    signedBy([keyOf(key), keylessAt(sigstore)], {
      name: "all",
      signatures: { require: "all", authorities: [keyOf(key), keylessAt(sigstore)] },
    }),
    signedBy(keyOf(key), { name: "own", children: "require-own" }),
  ].map((rule) => [rule.name, rule]),
);

/** Some of them. */
export function rulesOf(...names: readonly string[]): RuleSettings[] {
  return names.flatMap((name) => RULES[name] ?? []);
}
