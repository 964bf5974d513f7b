import { Settings as TypeboxSettings } from "typebox/system";
import { Errors } from "typebox/value";
import { CONFIG_LIMITS } from "../limits.ts";
import type { ConfigDocument } from "./document.ts";
import type { ConfigDraft } from "./draft.ts";
import type { Problem } from "./errors.ts";
import { nearest } from "./nearest.ts";
import type { Path } from "./nodes.ts";
import { CONFIG_SCHEMA, toDraft } from "./schema.ts";
import { explainUnsupported } from "./unsupported.ts";

TypeboxSettings.Set({ maxErrors: CONFIG_LIMITS.nodesMax });

/** What of JSON Schema the configuration's schema uses. */
interface Schema {
  readonly type?: string;
  readonly title?: string;
  readonly writeOnly?: boolean;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly maxProperties?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

const SHOWN_CHARACTERS = 60;

/** Compares a file with the schema: what is wrong with its shape, and the rest of it. */
export function checkShape(document: ConfigDocument): {
  readonly draft: ConfigDraft;
  readonly problems: readonly Problem[];
} {
  const check = new ShapeCheck(document);
  const value = structuredClone(document.value);
  check.run(CONFIG_SCHEMA as Schema, value, []);
  return { draft: toDraft(check.withoutRefused(value)), problems: check.problems };
}

class ShapeCheck {
  readonly problems: Problem[] = [];
  readonly #refused: Path[] = [];
  readonly #document: ConfigDocument;

  constructor(document: ConfigDocument) {
    this.#document = document;
  }

  run(schema: Schema, value: unknown, base: Path): void {
    for (const error of Errors(schema, value)) {
      const inner = fromPointer(error.instancePath, value);
      const path = [...base, ...inner];
      const expected = schemaAt(schema, inner);
      if (error.schemaPath.includes("/anyOf/") || error.keyword === "boolean") {
        continue; // told by the error of the union, or of the mapping, that they belong to
      }
      if (error.keyword === "additionalProperties") {
        for (const key of error.params.additionalProperties) {
          this.#unknownKey(expected, [...path, key]);
        }
      } else if (error.keyword === "required") {
        const missing = error.params.requiredProperties.join(" and ");
        const message = `found no ${missing}, expected ${describeExpected(expected)}`;
        this.problems.push(this.#document.problem(path, message, "key"));
      } else if (error.keyword === "anyOf") {
        this.#union(expected, path);
      } else {
        this.#mismatch(expected, path);
      }
    }
  }

  withoutRefused(value: unknown): unknown {
    for (const path of this.#refused) {
      const parent = valueAt(value, path.slice(0, -1));
      const key = path.at(-1);
      if (Array.isArray(parent) && typeof key === "number") {
        parent[key] = undefined;
      } else if (isRecord(parent) && key !== undefined) {
        delete parent[key];
      }
    }
    return this.#refused.some((path) => path.length === 0) ? {} : value;
  }

  #unknownKey(schema: Schema, path: Path): void {
    const key = String(path.at(-1));
    const [entry] = Object.values(schema.patternProperties ?? {});
    if (entry !== undefined) {
      const message = `found name ${JSON.stringify(key)}, expected a lower-case host, with :port if it has one`;
      this.problems.push(this.#document.problem(path, message, "key"));
      this.run(entry, valueAt(this.#document.value, path), path);
      return;
    }
    const known = Object.keys(schema.properties ?? {});
    const near = nearest(key, known);
    const hint =
      near === undefined ? `expected one of ${known.join(", ")}` : `did you mean ${near}?`;
    const message = explainUnsupported(path) ?? `unknown key "${key}", ${hint}`;
    this.problems.push(this.#document.problem(path, message, "key"));
    this.#refused.push(path);
  }

  /** A mapping or a list is compared with the branch that it must be meant for. */
  #union(schema: Schema, path: Path): void {
    const value = valueAt(this.#document.value, path);
    const branch = schema.anyOf?.find(({ type }) => type === typeOf(value));
    if (branch?.type === "object" || branch?.type === "array") {
      this.run(branch, value, path);
    } else {
      this.#mismatch(schema, path);
    }
  }

  #mismatch(schema: Schema, path: Path): void {
    const written = this.#document.written(path);
    const value = valueAt(this.#document.value, path);
    const found = schema.writeOnly ? "a value that is not shown" : describeFound(value, written);
    const isChoice = schema.maxProperties !== undefined && typeOf(value) === "object";
    const keys = isChoice ? Object.keys(Object(value)).join(" and ") : "";
    const message = `found ${keys || found}, expected ${describeExpected(schema)}`;
    this.problems.push(this.#document.problem(path, message));
    this.#refused.push(path);
  }
}

/** `value` tells the type, with variables filled in; only what is written is ever quoted. */
function describeFound(value: unknown, written: unknown): string {
  switch (typeOf(value)) {
    case "null":
      return "nothing";
    case "object":
      return Object.keys(Object(value)).length === 0 ? "an empty mapping" : "a mapping";
    case "array":
      return Object(value).length === 0 ? "an empty list" : "a list";
    case "string":
      return quoteWritten(written);
    default:
      return String(written);
  }
}

/** A text as it stands in the file, shortened, without a password that a url may carry. */
export function quoteWritten(written: unknown): string {
  const text = String(written).replace(/\/\/[^/\s]*@/gu, "//***@");
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  return JSON.stringify(shown);
}

function describeExpected(schema: Schema): string {
  const { title, minimum, maximum } = schema;
  if (title !== undefined) {
    return title;
  }
  if (schema.enum !== undefined) {
    return `one of ${schema.enum.join(", ")}`;
  }
  switch (schema.type) {
    case "boolean":
      return "true or false";
    case "integer":
      return `a whole number from ${minimum} to ${maximum}`;
    case "array":
      return `a list, each ${describeExpected(schema.items ?? {})}`;
    case "object":
      return "a mapping";
    default:
      return "a text that is not empty";
  }
}

function schemaAt(schema: Schema, path: Path): Schema {
  let at = schema;
  for (const step of path) {
    const [entry] = Object.values(at.patternProperties ?? {});
    at = (typeof step === "number" ? at.items : at.properties?.[step]) ?? entry ?? {};
  }
  return at;
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const step of path) {
    at = Object(at)[step];
  }
  return at;
}

/** A JSON pointer (RFC 6901) as a path; what is a number depends on the value that it points into. */
function fromPointer(pointer: string, value: unknown): Path {
  const path: (string | number)[] = [];
  let at = value;
  for (const part of pointer.split("/").slice(1)) {
    const step = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path.push(Array.isArray(at) ? Number(step) : step);
    at = Object(at)[step];
  }
  return path;
}

function typeOf(value: unknown): string {
  if (value === null || value === undefined) {
    return "null";
  }
  return Array.isArray(value) ? "array" : typeof value;
}

function isRecord(value: unknown): value is Record<string | number, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
