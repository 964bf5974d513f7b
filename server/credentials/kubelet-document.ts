import { LineCounter, parseDocument } from "yaml";
import { CREDENTIAL_LIMITS } from "../limits.ts";

const QUOTED_MAX = 100;

/** `["providers", 0, "name"]`. */
export type Path = readonly (string | number)[];

/** A YAML or JSON file as plain values, and all that is wrong with it, each with its place. */
export class KubeletDocument {
  /** `file:line:column: path: what is wrong`. */
  readonly problems: string[] = [];
  readonly value: unknown;
  readonly #file: string;
  readonly #lines = new LineCounter();
  readonly #offsetOf: (path: Path) => number | undefined;

  constructor(file: string, text: string) {
    this.#file = file;
    if (text.length > CREDENTIAL_LIMITS.kubeletConfigCharactersMax) {
      const limit = CREDENTIAL_LIMITS.kubeletConfigCharactersMax;
      this.problems.push(`${file}: is larger than ${limit} characters; is it the right file?`);
      this.#offsetOf = () => undefined;
      return;
    }
    const document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false, // they quote the source, which may hold a secret
      stringKeys: true,
      resolveKnownTags: false,
      schema: "core",
    });
    this.#offsetOf = (path) => offsetOf(document.getIn(path, true));
    const first = document.errors[0] ?? document.warnings[0];
    if (first !== undefined) {
      // The parser's messages end with the text that it met, after a colon.
      this.#add(first.pos[0], `not valid YAML: ${first.message.replace(/: .*$/su, "")}`);
      return;
    }
    try {
      this.value = document.toJS({ maxAliasCount: CREDENTIAL_LIMITS.kubeletItemsMax });
    } catch {
      this.#add(0, "not valid YAML: found an alias of nothing, or too many aliases of aliases");
    }
  }

  /** @param path - to the value that is wrong; when it is not there, its parent's place is told. */
  problem(path: Path, message: string): void {
    const lengths = [...path.keys(), path.length].toReversed();
    const offsets = lengths.map((length) => this.#offsetOf(path.slice(0, length)));
    const offset = offsets.find((candidate) => candidate !== undefined);
    this.#add(offset ?? 0, `${written(path)}: ${message}`);
  }

  /** A mapping's keys that hold something; undefined, and a problem, when it is none. */
  fields(
    path: Path,
    value: unknown,
    known: readonly string[],
  ): ReadonlyMap<string, unknown> | undefined {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return this.mismatch(path, value, `a mapping with ${known.join(", ")}`);
    }
    const fields = new Map<string, unknown>(Object.entries(value));
    for (const [key, field] of fields) {
      if (!known.includes(key)) {
        const expected = `expected one of ${known.join(", ")}`;
        this.problem(path, `found the unknown key ${quoted(key)}, ${expected}`);
      }
      if (field === null) {
        fields.delete(key);
      }
    }
    return fields;
  }

  /** What is absent is an empty list; undefined, and a problem, when it is none. */
  list(path: Path, value: unknown): readonly unknown[] | undefined {
    if (value === undefined) {
      return [];
    }
    if (!Array.isArray(value) || value.length > CREDENTIAL_LIMITS.kubeletItemsMax) {
      const expected = `expected a list of at most ${CREDENTIAL_LIMITS.kubeletItemsMax} items`;
      this.problem(path, `found ${kindOf(value)}, ${expected}`);
      return undefined;
    }
    return value;
  }

  exactly(path: Path, value: unknown, expected: string): void {
    if (value !== expected) {
      const isOlder = typeof value === "string" && /^[a-z.0-9]+\/v1(alpha1|beta1)$/.test(value);
      this.mismatch(path, value, isOlder ? `${expected}, since older ones are not read` : expected);
    }
  }

  /** Quotes what it found: not for what may be a secret. */
  mismatch(path: Path, value: unknown, expected: string): undefined {
    const found = typeof value === "string" ? quoted(value) : kindOf(value);
    this.problem(path, `found ${found}, expected ${expected}`);
    return undefined;
  }

  #add(offset: number, message: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.problems.push(`${this.#file}:${Math.max(line, 1)}:${Math.max(col, 1)}: ${message}`);
  }
}

function offsetOf(node: unknown): number | undefined {
  const range: unknown = typeof node === "object" && node !== null ? Reflect.get(node, "range") : 0;
  const first: unknown = Array.isArray(range) ? range[0] : undefined;
  return typeof first === "number" ? first : undefined;
}

/** `providers[0].name`. */
function written(path: Path): string {
  const text = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`)).join("");
  return text.replace(/^\./, "") || "the file";
}

function quoted(text: string): string {
  return JSON.stringify(text.length > QUOTED_MAX ? `${text.slice(0, QUOTED_MAX)}...` : text);
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) {
    return "nothing";
  }
  if (Array.isArray(value)) {
    return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  }
  return typeof value === "object" ? "a mapping" : `a ${typeof value}`;
}
