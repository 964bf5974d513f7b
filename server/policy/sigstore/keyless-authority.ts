import type { X509Certificate } from "@sigstore/core";
import type { KeylessSettings } from "../../policy-settings.ts";
import type { Authority } from "../authority.ts";
import { SignatureProblem } from "../authority.ts";
import { leafOf } from "./bundle.ts";
import { checkUsage, identityOf, issuerName, parseCertificate } from "./certificate.ts";
import type { ExpectedIdentity, IdentitySettings } from "./identity.ts";
import { checkIdentity, expectIdentity, nameOf } from "./identity.ts";
import { toProblem } from "./problem.ts";
import type { SignedBundle, SignerCheck } from "./sigstore-authority.ts";
import { sigstoreAuthority } from "./sigstore-authority.ts";
import type { LogMode, Trust } from "./trust-material.ts";
import { certificateTrust } from "./trust-material.ts";

/**
 * Who signs with a short-lived certificate of a Fulcio, as one subject of one OIDC issuer.
 *
 * @param trustedRootJson A Sigstore TrustedRoot as JSON.
 * @throws Error when the root cannot be read, or cannot satisfy the settings.
 */
export function keylessAuthority(settings: KeylessSettings, trustedRootJson: string): Authority {
  return sigstoreAuthority(keylessCheck(settings, trustedRootJson, settings.log));
}

/** @throws Error when the root cannot be read, or cannot satisfy the settings. */
export function keylessCheck(
  settings: IdentitySettings,
  trustedRootJson: string,
  log: LogMode,
): SignerCheck {
  const expected = expectIdentity(settings);
  const trust = certificateTrust(trustedRootJson, log);
  const name = `keyless ${expected.name}`;
  return { name, check: (signed) => check(signed, expected, trust) };
}

function check(signed: SignedBundle, expected: ExpectedIdentity, trust: Trust): string {
  const der = leafOf(signed.bundle);
  if (der === undefined) {
    throw new SignatureProblem(`was made with a key, the rule asks for keyless ${expected.name}`);
  }
  const certificate = parseCertificate(der);
  try {
    trust.verify(signed, {
      entityKey: { $case: "certificate", certificate },
      logged: { kind: "certificate", der },
    });
  } catch (error) {
    throw withClaim(error, { certificate, der, expected });
  }
  checkUsage(certificate);
  const identity = identityOf(certificate);
  checkIdentity(identity, expected);
  return nameOf(identity);
}

interface Claim {
  readonly certificate: X509Certificate;
  readonly der: Buffer;
  readonly expected: ExpectedIdentity;
}

/** What is not proved is still the best hint when something is refused: whose it is said to be. */
function withClaim(error: unknown, { certificate, der, expected }: Claim): SignatureProblem {
  const problem = toProblem(error);
  try {
    const identity = identityOf(certificate);
    const asked = expected.matches(identity) ? "" : `, the rule asks for ${expected.name}`;
    const claim = `it claims to be by ${nameOf(identity)}, certified by ${issuerName(der)}${asked}`;
    return new SignatureProblem(`${problem.message}; ${claim}`, { cause: error });
  } catch {
    return problem;
  }
}
