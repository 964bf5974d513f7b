import type { Node } from "yaml";
import { isAlias, isMap, isNode, isScalar, isSeq } from "yaml";
import { CONFIG_LIMITS } from "../limits.ts";
import type { Problem } from "./errors.ts";
import { ConfigError } from "./errors.ts";
import type { Environment } from "./variables.ts";
import { substitute } from "./variables.ts";

/** From the top of the file to a value: `["upstreams", "docker.io", "url", 0]`. */
export type Path = readonly (string | number)[];

/** Where a value came from. Offsets count from the start of the file. */
export interface Origin {
  readonly keyOffset: number;
  readonly valueOffset: number;
  /** The value as it stands in the file, variables not yet filled in: safe to show. */
  readonly written: unknown;
}

interface Position {
  readonly keyOffset: number;
  readonly depth: number;
}

/** Turns nodes into plain values, aliases followed, each with its origin. */
export class NodeReader {
  readonly problems: Problem[] = [];
  readonly origins: Map<string, Origin> = new Map<string, Origin>();
  readonly #anchors = new Map<string, Node>();
  readonly #environment: Environment;
  readonly #at: (offset: number, message: string) => Problem;
  #nodes = 0;

  constructor(environment: Environment, at: (offset: number, message: string) => Problem) {
    this.#environment = environment;
    this.#at = at;
  }

  read(node: unknown, path: Path, { keyOffset, depth }: Position): unknown {
    const valueOffset = isNode(node) ? (node.range?.[0] ?? keyOffset) : keyOffset;
    this.#limit(valueOffset, depth);
    if (!this.origins.has(pointer(path))) {
      this.origins.set(pointer(path), { keyOffset, valueOffset, written: asWritten(node) });
    }
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target === undefined) {
        return this.#refuse(valueOffset, "found an alias of an anchor that is not set before it");
      }
      return this.read(target, path, { keyOffset, depth: depth + 1 });
    }
    if (isNode(node) && node.anchor !== undefined) {
      this.#anchors.set(node.anchor, node);
    }
    return this.#readContents(node, path, { keyOffset: valueOffset, depth });
  }

  #readContents(node: unknown, path: Path, at: Position): unknown {
    if (isMap(node)) {
      return this.#readMap(node.items, path, at.depth);
    }
    if (isSeq(node)) {
      return node.items.map((item, index) => {
        const offset = isNode(item) ? (item.range?.[0] ?? at.keyOffset) : at.keyOffset;
        return this.read(item, [...path, index], { keyOffset: offset, depth: at.depth + 1 });
      });
    }
    if (!isScalar(node)) {
      return null;
    }
    if (typeof node.value !== "string") {
      return node.value;
    }
    const { text, problem } = substitute(node.value, this.#environment);
    if (problem !== undefined) {
      this.#refuse(at.keyOffset, problem);
    }
    return text;
  }

  #readMap(
    items: readonly { readonly key: unknown; readonly value: unknown }[],
    path: Path,
    depth: number,
  ): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    const lines = new Map<string, number>();
    for (const { key, value } of items) {
      const name = isScalar(key) ? String(key.value) : "";
      const keyOffset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
      const first = lines.get(name);
      if (first !== undefined) {
        this.#refuse(keyOffset, `duplicate key "${name}", expected it once: see line ${first}`);
      } else if (name === "__proto__") {
        // An assignment would set the object's prototype instead of a key.
        this.#refuse(keyOffset, `unknown key "${name}"`);
      } else {
        lines.set(name, this.#at(keyOffset, "").line ?? 1);
        values[name] = this.read(value, [...path, name], { keyOffset, depth: depth + 1 });
      }
    }
    return values;
  }

  #limit(offset: number, depth: number): void {
    this.#nodes += 1;
    const tooMany = this.#nodes > CONFIG_LIMITS.nodesMax;
    if (tooMany || depth > CONFIG_LIMITS.depthMax) {
      const message = tooMany
        ? `found more than ${CONFIG_LIMITS.nodesMax} values, aliases expanded`
        : `found more than ${CONFIG_LIMITS.depthMax} levels, or an alias of itself`;
      throw new ConfigError([...this.problems, this.#at(offset, message)]);
    }
  }

  #refuse(offset: number, message: string): undefined {
    this.problems.push(this.#at(offset, message));
    return undefined;
  }
}

function asWritten(node: unknown): unknown {
  return isAlias(node) ? `*${node.source}` : isScalar(node) ? node.value : undefined;
}

/** A path as a key of a map. */
export function pointer(path: Path): string {
  return JSON.stringify(path);
}
