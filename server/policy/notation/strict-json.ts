import type { JsonObject } from "../../json-object.ts";
import { POLICY_LIMITS } from "../../limits.ts";
import { SignatureProblem } from "../authority.ts";
import { parseJsonObject } from "../bounded-json.ts";

/**
 * As parseJsonObject, with a bound on its members: an envelope has few, and a million of them would
 * take longer to read than all the rest.
 *
 * @throws SignatureProblem that begins with `what`.
 */
export function parseStrictObject(bytes: Uint8Array, what: string): JsonObject {
  if (countMembers(bytes) > POLICY_LIMITS.envelopeItemsMax) {
    throw new SignatureProblem(`${what} has more than ${POLICY_LIMITS.envelopeItemsMax} members`);
  }
  return parseJsonObject(bytes, what);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Of arrays and objects: { [ , */
const BEFORE_MEMBER: readonly (number | undefined)[] = [0x7b, 0x5b, 0x2c];

function countMembers(json: Uint8Array): number {
  let members = 0;
  let isInString = false;
  for (let at = 0; at < json.byteLength; at++) {
    const byte = json[at];
    if (byte === QUOTE) {
      isInString = !isInString;
    } else if (byte === BACKSLASH) {
      at++; // only strings have them
    } else if (!isInString) {
      members += BEFORE_MEMBER.includes(byte) ? 1 : 0;
    }
  }
  return members;
}
