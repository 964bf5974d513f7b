import { POLICY_LIMITS } from "../limits.ts";
import { listOf, memberOf, textOf } from "./bounded-json.ts";

/** What a provenance says of where an image comes from, as far as rules ask. */
export interface Provenance {
  /** Empty when it names none. */
  readonly builder: string;
  readonly sources: readonly string[];
}

const NOTHING: Provenance = { builder: "", sources: [] };

/**
 * Reads a predicate of SLSA provenance; of other types it reads nothing. Its shape is taken from
 * its type alone, so that a field of another version says nothing.
 *
 * @see https://slsa.dev/spec/v1.0/provenance
 * @see https://slsa.dev/spec/v0.2/provenance
 */
export function readProvenance(predicateType: string, predicate: unknown): Provenance {
  if (/^https:\/\/slsa\.dev\/provenance\/v1(?:\.[0-9]+)?$/.test(predicateType)) {
    return readV1(predicate);
  }
  return predicateType === "https://slsa.dev/provenance/v0.2" ? readV02(predicate) : NOTHING;
}

function readV1(predicate: unknown): Provenance {
  const definition = memberOf(predicate, "buildDefinition");
  const workflow = memberOf(memberOf(definition, "externalParameters"), "workflow");
  return {
    builder: textOf(memberOf(memberOf(predicate, "runDetails"), "builder"), "id"),
    sources: namedBy([
      textOf(workflow, "repository"),
      ...urisOf(definition, "resolvedDependencies"),
    ]),
  };
}

function readV02(predicate: unknown): Provenance {
  const configSource = memberOf(memberOf(predicate, "invocation"), "configSource");
  return {
    builder: textOf(memberOf(predicate, "builder"), "id"),
    sources: namedBy([textOf(configSource, "uri"), ...urisOf(predicate, "materials")]),
  };
}

function urisOf(value: unknown, list: string): string[] {
  return listOf(value, list)
    .slice(0, POLICY_LIMITS.provenanceSourcesMax)
    .map((item) => textOf(item, "uri"));
}

function namedBy(texts: readonly string[]): string[] {
  return [...new Set(texts)].filter((text) => text !== "");
}
