import parseVersion from "semver/functions/parse.js";
import { compileGlob } from "../glob.ts";
import type { TagSettings } from "../policy-settings.ts";

/**
 * Why a rule does not let an image be asked for by this tag, as a sentence without its subject:
 * `the tag latest is not …`; undefined when it may.
 */
export function tagProblem(tags: TagSettings | undefined, tag: string): string | undefined {
  if (tags === undefined) {
    return;
  }
  if (tags.digestOnly) {
    return `it is asked for by the tag ${tag}: this rule takes digests only`;
  }
  if (tags.allow !== undefined && !tags.allow.some((glob) => compileGlob(glob)(tag))) {
    return `the tag ${tag} is none of ${tags.allow.join(" ")}`;
  }
  if (tags.semver && !isVersion(tag)) {
    return `the tag ${tag} is not a semantic version, as 1.2.3 or v1.2.3`;
  }
  return;
}

/** semver.org 2.0.0 to the letter, but for a leading `v`. */
function isVersion(tag: string): boolean {
  return /^v?[0-9]/.test(tag) && parseVersion(tag) !== null;
}
