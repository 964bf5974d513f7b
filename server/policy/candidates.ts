import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestOf, hexOf } from "../../storage/digest.ts";
import type { Lookups, Registry } from "../cache/cache.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { ReferrerDescriptor } from "../cache/referrers-cache.ts";
import type { Source } from "../cache/source.ts";
import type { SignatureFormat } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { POLICY_LIMITS } from "../limits.ts";
import { isTag } from "../oci/reference.ts";
import type { InspectedLayer, Inspection } from "../oci/strict-manifest.ts";
import { inspectManifest } from "../oci/strict-manifest.ts";
import { untilAborted } from "../until-aborted.ts";
import type { Candidate, PassedOver, Subject } from "./evidence.ts";
import { byLikelihood, formatOf } from "./signature-types.ts";

/** What is asked for signatures: the cache, whose own answers are not judged. */
export type CandidateSource = Pick<Registry, "manifestByDigest" | "openBlob"> & Lookups;

/** What one look-up found so far. It grows while the look-up runs. */
export interface Findings {
  readonly candidates: Candidate[];
  readonly passedOver: PassedOver[];
  readonly failures: string[];
  /** Some of what was found is past what is looked at. */
  isCut: boolean;
}

/** About the artefact, and final: the registry has it so. Other errors say nothing about it. */
const SPOILED: ReadonlySet<string> = new Set([
  "upstream-invalid",
  "manifest-unknown",
  "blob-unknown",
  "name-unknown",
]);

export interface LookupContext {
  readonly registry: CandidateSource;
  readonly source: Source;
  readonly subject: Subject;
  readonly signal: AbortSignal;
}

/** Opens what may be a signature. Nothing is verified here but that bytes are what they are named. */
export class CandidateLookup {
  readonly findings: Findings = { candidates: [], passedOver: [], failures: [], isCut: false };
  readonly #context: LookupContext;
  /** Of large candidates that were found, or are being read. */
  #largeBytes = 0;

  constructor(context: LookupContext) {
    this.#context = context;
  }

  /** cosign's older place: `sha256-<hex>.sig` and `.att`, an image whose layers are signatures. */
  async byTag(suffix: "sig" | "att"): Promise<void> {
    const { registry, source, subject, signal } = this.#context;
    const tag = `${algorithmOf(subject.digest)}-${hexOf(subject.digest)}.${suffix}`;
    await this.#lookUp(`the tag ${tag}`, async () => {
      // With SHA-512 it is longer than a tag can be.
      const manifest = isTag(tag) ? await registry.tagNow(source, tag, signal) : undefined;
      if (manifest !== undefined) {
        await this.#openLayers(manifest);
      }
    });
  }

  /** The referrers API, or the tag that stands in for it. Each is opened: descriptors say anything. */
  async byReferrers(): Promise<void> {
    const { registry, source, subject, signal } = this.#context;
    await this.#lookUp("the referrers", async () => {
      const list = await registry.referrersNow(source, subject.digest, signal);
      const ranked = list.toSorted(byLikelihood).slice(0, POLICY_LIMITS.referrersOpenedMax);
      if (list.length > ranked.length) {
        this.#cut("referrers", `${list.length} of them: only ${ranked.length} were opened`);
      }
      const { referrersAtOnce } = POLICY_LIMITS;
      for (let at = 0; at < ranked.length; at += referrersAtOnce) {
        if (!this.#hasRoom) {
          this.findings.isCut = true;
          return;
        }
        const group = ranked.slice(at, at + referrersAtOnce);
        await Promise.all(group.map((descriptor) => this.#openReferrer(descriptor)));
      }
    });
  }

  get #hasRoom(): boolean {
    return this.findings.candidates.length < POLICY_LIMITS.candidatesMax;
  }

  /** A "no" of the registry was an answer already: what is thrown here leaves the question open. */
  async #lookUp(what: string, run: () => Promise<void>): Promise<void> {
    try {
      await untilAborted(run(), this.#context.signal);
    } catch (error) {
      this.findings.failures.push(`${what} could not be looked up: ${reasonOf(error)}`);
    }
  }

  async #openReferrer(descriptor: ReferrerDescriptor): Promise<void> {
    const { registry, source, subject } = this.#context;
    const digest = descriptor["digest"] as Digest;
    await this.#orPassOver(digest, async () => {
      const { manifest } = await registry.manifestByDigest(source, digest);
      const inspection = this.#inspect(manifest);
      if (inspection !== undefined && inspection.subject !== subject.digest) {
        this.#passOver(digest, `its subject is ${inspection.subject ?? "missing"}`);
      } else if (inspection !== undefined) {
        await this.#openAll(digest, inspection.layers);
      }
    });
  }

  async #openLayers(manifest: Manifest): Promise<void> {
    const inspection = this.#inspect(manifest);
    if (inspection !== undefined) {
      // Writers append: the latest is the last.
      await this.#openAll(manifest.digest, inspection.layers.toReversed());
    }
  }

  #inspect({ bytes, mediaType, digest }: Manifest): Inspection | undefined {
    const inspection = inspectManifest(bytes, mediaType);
    if (inspection.problem !== undefined) {
      this.#passOver(digest, inspection.problem);
      return;
    }
    return inspection;
  }

  async #openAll(artifact: Digest, layers: readonly InspectedLayer[]): Promise<void> {
    const known = layers.flatMap((layer) => {
      const format = formatOf(layer.mediaType);
      return format === undefined ? [] : [{ layer, format }];
    });
    const { candidatesMax } = POLICY_LIMITS;
    if (known.length > candidatesMax) {
      this.#cut(artifact, `it has ${known.length} layers: only ${candidatesMax} were opened`);
    }
    await Promise.all(
      known
        .slice(0, candidatesMax)
        .map(({ layer, format }) =>
          this.#orPassOver(artifact, () => this.#openLayer(artifact, layer, format)),
        ),
    );
  }

  async #openLayer(
    artifact: Digest,
    layer: InspectedLayer,
    format: SignatureFormat,
  ): Promise<void> {
    const { digest, mediaType, sizeBytes, annotations } = layer;
    const { candidateBytesMax } = POLICY_LIMITS;
    if (sizeBytes > candidateBytesMax) {
      this.#cut(artifact, `its layer is larger than ${candidateBytesMax} bytes`);
      return;
    }
    if (!this.#hasRoom || !this.#makeRoom(sizeBytes)) {
      this.#cut(artifact, "too much was found to read all of it");
      return;
    }
    const payload = await this.#read(digest, sizeBytes);
    if (payload === undefined) {
      this.#passOver(artifact, "the bytes of its layer are not those of its descriptor");
      return;
    }
    if (this.#hasRoom) {
      this.findings.candidates.push({ format, artifact, mediaType, payload, annotations });
    } else {
      this.findings.isCut = true;
    }
  }

  #makeRoom(sizeBytes: number): boolean {
    const { candidateSmallBytes, candidatesLargeBytesMax } = POLICY_LIMITS;
    if (sizeBytes <= candidateSmallBytes) {
      return true;
    }
    this.#largeBytes += sizeBytes;
    return this.#largeBytes <= candidatesLargeBytesMax;
  }

  async #read(digest: Digest, sizeBytesMax: number): Promise<Buffer | undefined> {
    const { registry, source, signal } = this.#context;
    await using blob = await registry.openBlob(source, digest, {
      choose: () => undefined,
      signal,
    });
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    for await (const chunk of blob) {
      signal.throwIfAborted();
      sizeBytes += chunk.byteLength;
      if (sizeBytes > sizeBytesMax) {
        return;
      }
      chunks.push(Buffer.from(chunk)); // a copy: the store reuses the chunk for the next one
    }
    const bytes = Buffer.concat(chunks);
    return digestOf(bytes, algorithmOf(digest)) === digest ? bytes : undefined;
  }

  async #orPassOver(artifact: Digest, open: () => Promise<void>): Promise<void> {
    try {
      await open();
    } catch (error) {
      if (!(error instanceof RegistryError && SPOILED.has(error.code))) {
        throw error;
      }
      this.#passOver(artifact, error.message);
    }
  }

  #cut(artifact: string, problem: string): void {
    this.findings.isCut = true;
    this.#passOver(artifact, problem);
  }

  #passOver(artifact: string, problem: string): void {
    this.findings.passedOver.push({ artifact, problem });
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof RegistryError) {
    return error.message;
  }
  const isTimeout = error instanceof DOMException && error.name === "TimeoutError";
  return isTimeout ? "it took too long" : "something went wrong in the proxy";
}
