import type { JsonObject } from "../json-object.ts";
import { isObject } from "../json-object.ts";
import { POLICY_LIMITS } from "../limits.ts";
import { findKeyProblem } from "../oci/json-keys.ts";
import { SignatureProblem } from "./authority.ts";

/** A byte order mark is no JSON (RFC 8259 §8.1): it is left in, for the parser to refuse. */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The object that hostile bytes spell, or a problem: at most POLICY_LIMITS.candidateBytesMax,
 * UTF-8, nested no deeper than what reads it afterwards can follow, and without an object that has
 * a member twice: of two readers, each would believe another one (RFC 8259 §4).
 *
 * @throws SignatureProblem that begins with `what`: `its statement is not JSON`.
 */
export function parseJsonObject(bytes: Uint8Array, what: string): JsonObject {
  if (bytes.byteLength > POLICY_LIMITS.candidateBytesMax) {
    throw new SignatureProblem(`${what} is larger than ${POLICY_LIMITS.candidateBytesMax} bytes`);
  }
  if (isDeeperThan(bytes, POLICY_LIMITS.jsonDepthMax)) {
    throw new SignatureProblem(`${what} is nested deeper than ${POLICY_LIMITS.jsonDepthMax}`);
  }
  let text: string;
  let value: unknown;
  try {
    text = UTF8.decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new SignatureProblem(`${what} is not JSON`, { cause });
  }
  const problem = findKeyProblem(text);
  if (problem !== undefined) {
    throw new SignatureProblem(`${what} cannot be relied on: ${problem}`);
  }
  if (!isObject(value)) {
    throw new SignatureProblem(`${what} is not a JSON object`);
  }
  return value;
}

/** A member that is an object, or an empty one: for reading on without a question at each step. */
export function memberOf(value: unknown, name: string): JsonObject {
  const member = own(value, name);
  return isObject(member) ? member : {};
}

export function listOf(value: unknown, name: string): readonly unknown[] {
  const member = own(value, name);
  return Array.isArray(member) ? member : [];
}

export function textOf(value: unknown, name: string): string {
  const member = own(value, name);
  return typeof member === "string" ? member : "";
}

/** Nothing of what every object has. */
function own(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function isDeeperThan(bytes: Uint8Array, depthMax: number): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < bytes.byteLength; at++) {
    const byte = bytes[at];
    if (isInString) {
      if (byte === BACKSLASH) {
        at++;
      } else if (byte === QUOTE) {
        isInString = false;
      }
    } else if (byte === QUOTE) {
      isInString = true;
    } else {
      depth += stepOf(byte);
      if (depth > depthMax) {
        return true;
      }
    }
  }
  return false;
}

function stepOf(byte: number | undefined): number {
  if (byte === 0x7b || byte === 0x5b) {
    return 1; // { [
  }
  return byte === 0x7d || byte === 0x5d ? -1 : 0; // } ]
}
