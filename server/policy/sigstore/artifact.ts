import type { Digest } from "../../../storage/digest.ts";
import { digestOf } from "../../../storage/digest.ts";
import { SignatureProblem } from "../authority.ts";
import { parseJsonObject } from "../bounded-json.ts";
import { toBundle } from "./bundle.ts";
import { toProblem } from "./problem.ts";
import type { SignedBundle, SignerCheck } from "./sigstore-authority.ts";
import { openEnvelope, openMessage } from "./sigstore-authority.ts";

/** What a bundle is to be about: a file's content, or only what that hashes to. */
export type Artifact = { readonly bytes: Uint8Array } | { readonly digest: Digest };

/**
 * Verifies a bundle for any file, not only an image's manifest: a statement that names it, or a
 * signature over its bytes.
 *
 * @returns who signed.
 * @throws SignatureProblem
 */
export function verifyArtifact(
  signerCheck: SignerCheck,
  bundleBytes: Uint8Array,
  artifact: Artifact,
): string {
  try {
    return signerCheck.check(open(bundleBytes, artifact));
  } catch (error) {
    throw toProblem(error);
  }
}

function open(bundleBytes: Uint8Array, artifact: Artifact): SignedBundle {
  const bundle = toBundle(parseJsonObject(bundleBytes, "its bundle"));
  if (bundle.content.$case === "dsseEnvelope") {
    const digest = "digest" in artifact ? artifact.digest : digestOf(artifact.bytes);
    return openEnvelope(bundle, digest).signed;
  }
  if ("digest" in artifact) {
    // Node's crypto hashes by itself what it verifies: it takes no digest in place of the bytes.
    throw new SignatureProblem("is over a file's bytes: give the file, its digest is not enough");
  }
  return openMessage(bundle, artifact.bytes);
}
