import type { VerifiedSignature } from "../../server/policy/authority.ts";
import type { Candidate, Subject } from "../../server/policy/evidence.ts";
import { keylessAuthority } from "../../server/policy/sigstore/keyless-authority.ts";
import type { KeylessSettings } from "../../server/policy-settings.ts";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";
import type { PrivateSigstore } from "../support/private-sigstore.ts";
import type { SignatureLayer } from "../support/sign-legacy.ts";

export const IMAGE: Digest = digestOf(Buffer.from("the image's manifest"));
export const OTHER_IMAGE: Digest = digestOf(Buffer.from("another image's manifest"));

const ARTIFACT = digestOf(Buffer.from("the manifest that carries the signature"));

export function subjectOf(digest: Digest = IMAGE): Subject {
  return { digest, mediaType: "application/vnd.oci.image.manifest.v1+json", sizeBytes: 20 };
}

/** A bundle as a candidate: an object, or its very bytes. */
export function bundleCandidate(bundle: object | Uint8Array): Candidate {
  return {
    format: "bundle",
    artifact: ARTIFACT,
    mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
    payload: bundle instanceof Uint8Array ? bundle : Buffer.from(JSON.stringify(bundle)),
    annotations: {},
  };
}

/** A layer of a `.sig` image, or of an `.att` one. */
export function legacyCandidate(
  layer: SignatureLayer,
  format: "cosign-signature" | "cosign-attestation" = "cosign-signature",
): Candidate {
  return { format, artifact: ARTIFACT, ...layer };
}

export const WORKFLOW: string =
  "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main";
export const ISSUER: string = "https://token.actions.githubusercontent.com";

export interface KeylessRule extends Partial<KeylessSettings> {
  /** In place of the whole trusted root of the instance. */
  readonly root?: string;
}

/** As a rule for WORKFLOW and ISSUER does it, with the log required, where it says nothing else. */
export function verifyKeyless(
  home: PrivateSigstore,
  candidate: Candidate,
  { root = home.trustedRootJson, ...rule }: KeylessRule = {},
): VerifiedSignature {
  const settings: KeylessSettings = {
    kind: "keyless",
    issuer: ISSUER,
    subject: { exact: WORKFLOW },
    trustedRoot: "public-good",
    log: "require",
    ...rule,
  };
  return keylessAuthority(settings, root).verify(candidate, subjectOf(), Date.now());
}
