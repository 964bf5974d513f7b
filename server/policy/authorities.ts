import type { AuthoritySettings, KeylessSettings, KeySettings } from "../policy-settings.ts";
import type { Authority } from "./authority.ts";
import { SignatureProblem } from "./authority.ts";
import { notationAuthority } from "./notation/notation.ts";
import { keyAuthority } from "./sigstore/key-authority.ts";
import { keylessAuthority } from "./sigstore/keyless-authority.ts";
import type { PublicGood } from "./verify-protocol.ts";

/** @throws when the key, the certificates or the trusted root cannot be used. */
export function compileAuthority(settings: AuthoritySettings, publicGood: PublicGood): Authority {
  if (settings.kind === "notation") {
    return notationAuthority(settings);
  }
  if (settings.trustedRoot !== "public-good") {
    return withRoot(settings, settings.trustedRoot.json);
  }
  const isRootUsed = settings.kind === "keyless" || settings.log === "require";
  if ("problem" in publicGood && isRootUsed) {
    return withoutRoot(settings, publicGood.problem);
  }
  return withRoot(settings, "json" in publicGood ? publicGood.json : "");
}

function withRoot(settings: KeylessSettings | KeySettings, trustedRootJson: string): Authority {
  return settings.kind === "keyless"
    ? keylessAuthority(settings, trustedRootJson)
    : keyAuthority(settings, trustedRootJson);
}

/** Fails closed until the root is there. */
function withoutRoot(settings: KeylessSettings | KeySettings, problem: string): Authority {
  return {
    name: settings.kind === "keyless" ? `keyless ${settings.issuer}` : `key ${settings.file}`,
    verify: () => {
      throw new SignatureProblem(`cannot be verified: ${problem}`);
    },
  };
}
