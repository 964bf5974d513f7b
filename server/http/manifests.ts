import type { Registry } from "../cache/cache.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { Source } from "../cache/source.ts";
import type { Decision } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { sendNotModified, sendWhole, warnings } from "./answers.ts";
import { accepts, etagOf, isNotModified } from "./conditional.ts";
import type { Exchange } from "./exchange.ts";
import type { Reference } from "./target.ts";

interface Answer {
  readonly manifest: Manifest;
  readonly outcome: "hit" | "miss" | "stale";
  readonly staleBecause?: string | undefined;
  readonly decision?: Decision;
}

/** GET and HEAD of a manifest: the same answer, with and without the body. */
export async function answerManifest(
  exchange: Exchange,
  registry: Registry,
  source: Source,
  reference: Reference,
): Promise<void> {
  const answer = await find(registry, source, reference);
  const { manifest, outcome, decision } = answer;
  exchange.decision = decision;
  if (reference.tag !== undefined && !accepts(exchange.header("accept"), manifest.mediaType)) {
    throw new RegistryError(
      "manifest-unknown",
      `${source.repository}:${reference.tag} has the media type ${manifest.mediaType}, ` +
        "which the request's Accept header leaves out",
    );
  }
  exchange.outcome = outcome;
  exchange.from = outcome === "miss" ? "upstream" : "memory";
  const headers = {
    "docker-content-digest": manifest.digest,
    etag: etagOf(manifest.digest),
    ...warnings(answer.staleBecause, decision),
  };
  if (isNotModified(exchange.header("if-none-match"), manifest.digest)) {
    sendNotModified(exchange, headers);
  } else {
    sendWhole(exchange, { ...headers, "content-type": manifest.mediaType }, manifest.bytes);
  }
}

async function find(registry: Registry, source: Source, reference: Reference): Promise<Answer> {
  if (reference.digest === undefined) {
    return await registry.manifestByTag(source, reference.tag);
  }
  return (
    registry.peekManifest(source, reference.digest) ??
    (await registry.manifestByDigest(source, reference.digest))
  );
}
