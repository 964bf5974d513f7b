import { MANIFEST_LIMITS } from "../limits.ts";
import { shown } from "./reference.ts";

/** The names of one object's members so far; undefined stands for an array. */
type Frame = Set<string> | undefined;

/**
 * Finds what makes readers of one JSON text disagree: an object that has a member twice (some take
 * the first, some the last, some refuse). Also stops at texts that are too deep or have too many
 * members to be a manifest. Of texts that are not JSON it may say anything, but it ends.
 *
 * @returns a sentence about "it", or undefined.
 * @see RFC 8259 §4
 */
export function findKeyProblem(text: string): string | undefined {
  return new KeyScanner(text).run();
}

/** Goes through a text once, without recursion. */
class KeyScanner {
  readonly #text: string;
  readonly #frames: Frame[] = [];
  #at = 0;
  #members = 0;
  #isKeyNext = false;

  constructor(text: string) {
    this.#text = text;
  }

  run(): string | undefined {
    for (; this.#at < this.#text.length; this.#at += 1) {
      const problem = this.#take(this.#text[this.#at]);
      if (problem !== undefined) {
        return problem;
      }
    }
    return;
  }

  #take(character: string | undefined): string | undefined {
    switch (character) {
      case '"':
        return this.#takeString();
      case "{":
      case "[":
        return this.#open(character);
      case "}":
      case "]":
        this.#frames.pop();
        this.#isKeyNext = false;
        return;
      case ",":
        this.#isKeyNext = this.#frames.at(-1) !== undefined;
        return;
      default:
        return;
    }
  }

  #open(character: "{" | "["): string | undefined {
    this.#isKeyNext = character === "{";
    this.#frames.push(this.#isKeyNext ? new Set() : undefined);
    return this.#frames.length > MANIFEST_LIMITS.depthMax
      ? `it is nested deeper than ${MANIFEST_LIMITS.depthMax}`
      : undefined;
  }

  #takeString(): string | undefined {
    const start = this.#at;
    this.#at = endOfString(this.#text, start);
    if (!this.#isKeyNext) {
      return;
    }
    this.#isKeyNext = false;
    this.#members += 1;
    if (this.#members > MANIFEST_LIMITS.membersMax) {
      return `it has more than ${MANIFEST_LIMITS.membersMax} members`;
    }
    const key = keyOf(this.#text.slice(start, this.#at + 1));
    const frame = this.#frames.at(-1);
    if (frame?.has(key)) {
      return `it has ${shown(key)} twice in one object`;
    }
    frame?.add(key);
    return;
  }
}

/** The place of the quote that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let first = quote;
    while (text[first - 1] === "\\") {
      first -= 1;
    }
    if ((quote - first) % 2 === 0) {
      return quote;
    }
  }
  return text.length;
}

/** As Go has it: what is no Unicode becomes U+FFFD, so that two such names are one. */
function keyOf(quoted: string): string {
  if (!quoted.includes("\\")) {
    return quoted.slice(1, -1);
  }
  try {
    return String(JSON.parse(quoted)).toWellFormed();
  } catch {
    return quoted; // no JSON: the parser says so
  }
}

/**
 * A name as Go's encoding/json compares it: without regard to case, and U+017F (long s) and
 * U+212A (Kelvin sign) are s and k to it.
 *
 * @see https://pkg.go.dev/encoding/json#Unmarshal
 */
export function foldKey(key: string): string {
  return key
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase())
    .replaceAll("\u017f", "s")
    .replaceAll("\u212a", "k");
}

/**
 * The member of an object that some readers take for one of the known names, and others pass over.
 *
 * @param known in their one spelling, by what foldKey makes of it.
 */
export function findTwin(
  object: Readonly<Record<string, unknown>>,
  known: ReadonlyMap<string, string>,
): string | undefined {
  return Object.keys(object).find((key) => {
    const name = known.get(foldKey(key));
    return name !== undefined && name !== key;
  });
}

/** For findTwin. */
export function knownKeys(...names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [foldKey(name), name]));
}
