import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { POLICY_LIMITS } from "../../limits.ts";
import type { TrustSettings } from "../../policy-settings.ts";

/** Where Sigstore itself publishes. */
const SIGSTORE_MIRROR = "https://tuf-repo-cdn.sigstore.dev";

/** A TUF repository and where trust in it begins. Plain data: it goes to another process. */
export interface TufSource {
  /** Without a slash at the end. */
  readonly mirror: string;
  /** The root.json to start from, as text; undefined is Sigstore's, which the library knows. */
  readonly root: string | undefined;
  /**
   * 16 hex of what it is made of, a folder's name. What was learned from one repository, or from
   * one start, never counts for another.
   */
  readonly id: string;
}

/**
 * The repository that the settings name; undefined when no network is to be used.
 *
 * @throws Error when the root file is none, or is missing for a mirror that needs one.
 */
export function tufSourceOf(settings: TrustSettings): TufSource | undefined {
  if (settings.publicGood === "bundled") {
    return undefined;
  }
  const mirror = settings.tufMirror ?? SIGSTORE_MIRROR;
  const root = settings.tufRootFile === undefined ? undefined : readRoot(settings.tufRootFile);
  if (root === undefined && mirror !== SIGSTORE_MIRROR) {
    throw new Error(`trust.tufRootFile: ${mirror} needs the root.json to start from`);
  }
  const hash = createHash("sha256").update(JSON.stringify([mirror, root ?? null]));
  return { mirror, root, id: hash.digest("hex").slice(0, 16) };
}

function readRoot(file: string): string {
  try {
    if (statSync(file).size > POLICY_LIMITS.trustBytesMax) {
      throw new Error(`is larger than ${POLICY_LIMITS.trustBytesMax} bytes`);
    }
    const text = readFileSync(file, "utf8");
    const root = JSON.parse(text) as { readonly signed?: { readonly _type?: unknown } } | null;
    if (root?.signed?._type !== "root") {
      throw new Error("is no root of a TUF repository");
    }
    return text;
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new Error(`trust.tufRootFile: ${file}: ${what}`, { cause: error });
  }
}
