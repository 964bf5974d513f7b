import type { Digest } from "../../storage/digest.ts";
import type { BlobAsk, BlobStat, OpenBlob } from "../cache/blob-cache.ts";
import type { PageRequest, Registry } from "../cache/cache.ts";
import type { FoundManifest, Manifest } from "../cache/manifest-cache.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import type { FoundTag } from "../cache/tag-cache.ts";
import type { Decision } from "../decision.ts";
import { isServed } from "../decision.ts";
import type { Assessor } from "./assessor.ts";
import { PolicyError } from "./policy-error.ts";
import { ManifestSniffer } from "./sniffer.ts";

/**
 * The policy in front of the cache: what it hands on has been judged, and it is those very bytes.
 * By tag, by digest, as a manifest or as a blob, the judgement is the same. Lists are not judged.
 */
export class PolicyGate implements Registry {
  readonly #registry: Registry;
  readonly #sniffer: ManifestSniffer;
  /** Asked each time: a reload, or a new trusted root, replaces it. */
  readonly #assessor: () => Assessor;

  constructor(registry: Registry, assessor: () => Assessor) {
    this.#registry = registry;
    this.#sniffer = new ManifestSniffer(registry);
    this.#assessor = assessor;
  }

  /** @throws PolicyError when it is known that it must not be served. */
  peekManifest(source: Source, digest: Digest): FoundManifest | undefined {
    const found = this.#registry.peekManifest(source, digest);
    const decision = found && this.#assessor().peek(source, found.manifest);
    return decision && { manifest: found.manifest, outcome: "hit", decision: served(decision) };
  }

  async manifestByDigest(source: Source, digest: Digest): Promise<FoundManifest> {
    const assessor = this.#assessor();
    this.#refuseDenied(assessor, source, digest);
    const found = await this.#registry.manifestByDigest(source, digest);
    return { ...found, decision: served(await assessor.assess(source, found.manifest)) };
  }

  async manifestByTag(source: Source, tag: string): Promise<FoundTag> {
    const found = await this.#registry.manifestByTag(source, tag);
    const decision = await this.#assessor().assessTag(source, tag, found.manifest);
    return { ...found, decision: served(decision) };
  }

  async statBlob(source: Source, digest: Digest): Promise<BlobStat> {
    const assessor = this.#assessor();
    this.#refuseDenied(assessor, source, digest);
    if (!assessor.looksInto(source)) {
      return await this.#registry.statBlob(source, digest);
    }
    const manifest = await this.#sniffer.find(source, digest);
    const judged = await judge(assessor, source, manifest);
    return { ...(await this.#registry.statBlob(source, digest)), ...judged };
  }

  async openBlob(source: Source, digest: Digest, ask: BlobAsk): Promise<OpenBlob> {
    const assessor = this.#assessor();
    this.#refuseDenied(assessor, source, digest);
    if (!assessor.looksInto(source)) {
      return await this.#registry.openBlob(source, digest, ask);
    }
    const { blob, manifest } = await this.#sniffer.open(source, digest, ask);
    try {
      return Object.assign(blob, await judge(assessor, source, manifest));
    } catch (error) {
      await blob[Symbol.asyncDispose]();
      throw error;
    }
  }

  async blobUrl(source: Source, digest: Digest): Promise<string | undefined> {
    this.#refuseDenied(this.#assessor(), source, digest);
    return await this.#registry.blobUrl(source, digest);
  }

  tags(source: Source, page: PageRequest): ReturnType<Registry["tags"]> {
    return this.#registry.tags(source, page);
  }

  referrers(source: Source, digest: Digest): ReturnType<Registry["referrers"]> {
    return this.#registry.referrers(source, digest);
  }

  /** Not even fetched: and layers can be on the deny list, too. */
  #refuseDenied(assessor: Assessor, source: Source, digest: Digest): void {
    const decision = assessor.denied(nameOf(source), digest);
    if (decision !== undefined) {
      throw new PolicyError(decision);
    }
  }
}

/** @throws PolicyError when it must not be served. */
function served(decision: Decision): Decision {
  if (!isServed(decision)) {
    throw new PolicyError(decision);
  }
  return decision;
}

async function judge(
  assessor: Assessor,
  source: Source,
  manifest: Manifest | undefined,
): Promise<{ readonly decision?: Decision }> {
  return manifest === undefined
    ? {}
    : { decision: served(await assessor.assess(source, manifest)) };
}
