import { readFileSync } from "node:fs";
import { isDigest } from "../../storage/digest.ts";
import { SignatureProblem } from "../policy/authority.ts";
import type { Artifact } from "../policy/sigstore/artifact.ts";
import { verifyArtifact } from "../policy/sigstore/artifact.ts";
import { keyCheck } from "../policy/sigstore/key-authority.ts";
import { keylessCheck } from "../policy/sigstore/keyless-authority.ts";
import type { SignerCheck } from "../policy/sigstore/sigstore-authority.ts";
import { bundledPublicGoodRoot } from "../policy/trust/public-good-root.ts";

export interface VerifyBundleOptions {
  readonly bundle: string;
  readonly certificateIdentity?: string;
  readonly certificateOidcIssuer?: string;
  readonly key?: string;
  readonly trustedRoot?: string;
}

/**
 * Verifies a Sigstore bundle for a file, or for what has a digest, with the log required. The
 * interface is that of the sigstore-conformance suite.
 *
 * @param usage Ends the program for a command line that cannot be meant.
 * @returns the exit code: 0, or 1 with the reason in one line on stderr.
 */
export function verifyBundle(
  target: string,
  options: VerifyBundleOptions,
  usage: (message: string) => never,
): number {
  const makeCheck = whoMustHaveSigned(options, usage);
  try {
    const root = options.trustedRoot;
    const rootJson = root === undefined ? bundledPublicGoodRoot() : readFileSync(root, "utf8");
    const check = makeCheck(rootJson);
    const signer = verifyArtifact(check, readFileSync(options.bundle), readArtifact(target));
    process.stdout.write(`signed by ${signer}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`sluice: ${reasonOf(error, options.bundle)}\n`);
    return 1;
  }
}

function whoMustHaveSigned(
  { key, certificateIdentity, certificateOidcIssuer }: VerifyBundleOptions,
  usage: (message: string) => never,
): (rootJson: string) => SignerCheck {
  if (key !== undefined) {
    if (certificateIdentity !== undefined || certificateOidcIssuer !== undefined) {
      usage("error: --key goes without --certificate-identity and --certificate-oidc-issuer");
    }
    return (rootJson) =>
      keyCheck({ file: key, pem: readFileSync(key, "utf8") }, rootJson, "require");
  }
  if (!certificateIdentity || !certificateOidcIssuer) {
    return usage(
      "error: --key is needed, or --certificate-identity with --certificate-oidc-issuer",
    );
  }
  const settings = { issuer: certificateOidcIssuer, subject: { exact: certificateIdentity } };
  return (rootJson) => keylessCheck(settings, rootJson, "require");
}

function readArtifact(target: string): Artifact {
  return isDigest(target) ? { digest: target } : { bytes: readFileSync(target) };
}

function reasonOf(error: unknown, bundleFile: string): string {
  const message = error instanceof Error ? error.message : String(error);
  const reason = error instanceof SignatureProblem ? `${bundleFile} ${message}` : message;
  return reason.replaceAll("\n", " ");
}
