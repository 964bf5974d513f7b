import type { JsonObject } from "../../json-object.ts";
import { listOf, memberOf, parseJsonObject, textOf } from "../bounded-json.ts";

const LISTS = ["tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"];

/**
 * The latest moment that a Sigstore TrustedRoot mentions: when its newest key came, or when one
 * was retired. A root has no version of its own, so this tells which of two is the later one.
 *
 * @returns milliseconds since the epoch; -Infinity when it mentions none.
 * @throws SignatureProblem when it is no JSON object.
 */
export function latestChangeMs(trustedRoot: string): number {
  const root = parseJsonObject(Buffer.from(trustedRoot), "the trusted root");
  const moments = LISTS.flatMap((list) => listOf(root, list))
    .flatMap(validitiesOf)
    .flatMap((validFor) => [textOf(validFor, "start"), textOf(validFor, "end")])
    .map((text) => Date.parse(text))
    .filter((moment) => !Number.isNaN(moment));
  return Math.max(Number.NEGATIVE_INFINITY, ...moments);
}

/** Authorities have it themselves, logs with their key. */
function validitiesOf(entry: unknown): JsonObject[] {
  return [memberOf(entry, "validFor"), memberOf(memberOf(entry, "publicKey"), "validFor")];
}
