import { readFileSync, statSync } from "node:fs";
import type { ParsedNode } from "yaml";
import { isScalar, LineCounter, parseDocument } from "yaml";
import { CONFIG_LIMITS } from "../limits.ts";
import type { Problem } from "./errors.ts";
import { ConfigError } from "./errors.ts";
import type { Origin, Path } from "./nodes.ts";
import { NodeReader, pointer } from "./nodes.ts";
import type { Environment } from "./variables.ts";

/**
 * A configuration file as plain values, with `${NAME}` filled in, that knows where each of them
 * stands. What is wrong with the text itself is in `problems`; reading goes on behind it.
 */
export class ConfigDocument {
  readonly file: string;
  readonly value: unknown;
  readonly problems: readonly Problem[];
  readonly #lines: LineCounter;
  readonly #origins: ReadonlyMap<string, Origin>;

  constructor(file: string, text: string, environment: Environment) {
    this.file = file;
    this.#lines = new LineCounter();
    const contents = parseText(file, text, this.#lines);
    const reader = new NodeReader(environment, (offset, message) => this.#at(offset, message));
    this.value = reader.read(contents, [], { keyOffset: 0, depth: 0 });
    this.problems = reader.problems;
    this.#origins = reader.origins;
  }

  /** A problem with the value at `path`, or with its key. */
  problem(path: Path, message: string, part: "key" | "value" = "value"): Problem {
    const origin = this.#origins.get(pointer(path));
    const offset = part === "key" ? origin?.keyOffset : origin?.valueOffset;
    return this.#at(offset ?? 0, message);
  }

  /** The value at `path` as it is written, without what variables stand for. */
  written(path: Path): unknown {
    return this.#origins.get(pointer(path))?.written;
  }

  has(path: Path): boolean {
    return this.#origins.has(pointer(path));
  }

  #at(offset: number, message: string): Problem {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.file, line: Math.max(line, 1), column: Math.max(col, 1), message };
  }
}

/** @throws ConfigError when the file cannot be read as UTF-8 YAML at all. */
export function readDocument(file: string, path: string, env: Environment): ConfigDocument {
  let bytes: Buffer;
  try {
    if (statSync(path).size > CONFIG_LIMITS.fileBytesMax) {
      throw new ConfigError([
        { file, message: `is larger than ${CONFIG_LIMITS.fileBytesMax} bytes` },
      ]);
    }
    bytes = readFileSync(path);
  } catch (cause) {
    if (cause instanceof ConfigError) {
      throw cause;
    }
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
    throw new ConfigError([{ file, message: `cannot be read: ${code}` }], { cause });
  }
  return new ConfigDocument(file, decodeUtf8(file, bytes), env);
}

function decodeUtf8(file: string, bytes: Buffer): string {
  const text = new TextDecoder().decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    const before = text.slice(0, text.indexOf("\uFFFD"));
    const line = before.split("\n").length;
    const column = before.length - before.lastIndexOf("\n");
    const message = "found bytes that are not UTF-8, expected UTF-8 text";
    throw new ConfigError([{ file, line, column, message }], { cause });
  }
}

function parseText(file: string, text: string, lineCounter: LineCounter): ParsedNode | null {
  const document = parseDocument(text, {
    lineCounter,
    prettyErrors: false, // they quote the source, which may hold a secret
    stringKeys: true,
    uniqueKeys: false, // NodeReader looks itself: it can say where the first one stands
    resolveKnownTags: false,
    schema: "core",
  });
  const errors = [...document.errors, ...document.warnings].map(({ code, message, pos }) => {
    const { line, col: column } = lineCounter.linePos(pos[0]);
    const what = code === "MULTIPLE_DOCS" ? "a second document, expected one" : unquoted(message);
    return { file, line, column, message: `not valid YAML: ${what}` };
  });
  const problems: Problem[] = firstOfEachLine(errors).map((problem) => ({
    ...problem,
    message: problem.message + flowHint(text.split("\n", problem.line).at(-1) ?? ""),
  }));
  if (document.directives.yaml.explicit && document.directives.yaml.version !== "1.2") {
    problems.push({ file, line: 1, column: 1, message: "found a %YAML directive, expected none" });
  }
  if (problems.length > 0) {
    throw new ConfigError(problems);
  }
  if (isScalar(document.contents) && document.contents.value === null) {
    return null;
  }
  return document.contents;
}

/** The parser's messages end with the text that it met, after a colon: that may be a secret. */
function unquoted(message: string): string {
  return message.replace(/: .*$/su, "");
}

/** In flow style a plain `${NAME}` opens a mapping: the parser's complaint does not say so. */
function flowHint(line: string): string {
  const flow = line.search(/[{[]/u);
  const hasVariable = flow !== -1 && line.includes("${", flow + 1);
  return hasVariable ? `; inside { } and [ ] a variable needs quotes: "\${NAME}"` : "";
}

/** What follows a syntax error on its line is the parser finding its feet again. */
function firstOfEachLine<T extends { readonly line: number }>(problems: readonly T[]): T[] {
  const firsts = new Map(problems.toReversed().map((problem) => [problem.line, problem]));
  return [...firsts.values()].toReversed();
}
