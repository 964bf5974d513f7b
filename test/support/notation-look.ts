import { createHash } from "node:crypto";
import { SignatureProblem } from "../../server/policy/authority.ts";
import type { Candidate, Subject } from "../../server/policy/evidence.ts";
import { notationAuthority } from "../../server/policy/notation/notation.ts";
import { parseDigest } from "../../storage/digest.ts";
import type { MintedNotation, NotationSigningOptions, NotationTarget } from "./notation-fixture.ts";
import { notationSettings } from "./notation-fixture.ts";

/** A manifest that exists by name only. */
export function subjectOf(text: string): Subject {
  const hex = createHash("sha256").update(text).digest("hex");
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  return { digest: parseDigest(`sha256:${hex}`), mediaType, sizeBytes: 1234 };
}

export function targetOf({ mediaType, digest, sizeBytes }: Subject): NotationTarget {
  return { mediaType, digest, size: sizeBytes };
}

export const IMAGE: Subject = subjectOf("image");
export const TARGET: NotationTarget = targetOf(IMAGE);
/** A whole second, as envelopes have them. */
export const NOW: number = Math.floor(Date.now() / 1000) * 1000;

export const SCHEME = "io.cncf.notary.signingScheme";
export const SIGNING_TIME = "io.cncf.notary.signingTime";
export const AUTHENTIC_TIME = "io.cncf.notary.authenticSigningTime";
export const EXPIRY = "io.cncf.notary.expiry";

export function candidateOf(minted: Pick<MintedNotation, "mediaType" | "envelope">): Candidate {
  const artifact = parseDigest(`sha256:${"0".repeat(64)}`);
  const { mediaType, envelope } = minted;
  return { format: "notation", artifact, mediaType, payload: envelope, annotations: {} };
}

export interface Look {
  readonly roots?: readonly string[];
  readonly subjects?: readonly string[];
  readonly image?: Subject;
  readonly nowMs?: number;
}

/** The signer, or the reason why there is none; by default with the envelope's own root trusted. */
export function look(minted: MintedNotation, options: Look = {}): string {
  const { roots = [minted.rootPem], subjects, image = IMAGE, nowMs = Date.now() } = options;
  const authority = notationAuthority(notationSettings(roots, subjects));
  try {
    return authority.verify(candidateOf(minted), image, nowMs).signer;
  } catch (error) {
    if (error instanceof SignatureProblem) {
      return error.message;
    }
    throw error;
  }
}

/** Other protected headers besides the usual ones; undefined leaves one out. */
export function set(
  headers: Readonly<Record<string, unknown>>,
): Pick<NotationSigningOptions, "headers"> {
  return {
    headers: (usual) =>
      Object.fromEntries(
        Object.entries({ ...usual, ...headers }).filter(([, value]) => value !== undefined),
      ),
  };
}
