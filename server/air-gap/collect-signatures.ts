import type { Digest } from "../../storage/digest.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { ReferrerDescriptor } from "../cache/referrers-cache.ts";
import type { Source } from "../cache/source.ts";
import { RegistryError } from "../errors.ts";
import { AIR_GAP_LIMITS } from "../limits.ts";
import { isSignatureArtefact } from "../oci/artefacts.ts";
import type { Inspection } from "../oci/strict-manifest.ts";
import { inspectManifest } from "../oci/strict-manifest.ts";
import { PolicyError } from "../policy/policy-error.ts";
import type { Collected } from "./content.ts";
import { addContent } from "./content.ts";
import type { ManifestEntry } from "./descriptors.ts";
import { cosignTagOf, referrersTagOf } from "./descriptors.ts";
import type { Pulls } from "./pulls.ts";

/** What stands beside a manifest. */
export interface Attached {
  readonly subject: Digest;
  /** By the referrers API, or the tag that stands in for it. */
  readonly referrers: readonly ManifestEntry[];
  /** cosign's older places. */
  readonly tags: readonly { readonly tag: string; readonly entry: ManifestEntry }[];
}

export interface SignatureContext {
  readonly pulls: Pulls;
  /** The image itself came from the store: where the registry is silent, so may its signatures. */
  readonly mayBeHeld: boolean;
  /** What is found is added to these. */
  readonly manifests: Map<Digest, Collected>;
  readonly blobs: Map<Digest, Collected>;
}

/** About the artefact, and final: the registry has it so. */
const SPOILED: ReadonlySet<string> = new Set([
  "upstream-invalid",
  "manifest-unknown",
  "blob-unknown",
  "name-unknown",
  "policy-denied",
]);
const SILENT: ReadonlySet<string> = new Set(["upstream-unavailable", "upstream-limited"]);
const SUFFIXES = ["sig", "att"] as const;

/** Finds signatures, attestations and whatever else refers to manifests. None of it is verified. */
export class SignatureCollector {
  readonly attached: Attached[] = [];
  readonly leftOut: string[] = [];
  readonly #source: Source;
  readonly #context: SignatureContext;
  #isSilent = false;

  constructor(source: Source, context: SignatureContext) {
    this.#source = source;
    this.#context = context;
  }

  /** Also what refers to a referrer, but for signatures: nobody signs those. */
  async collect(subjects: readonly Digest[], depth = 0): Promise<void> {
    const signable: Digest[] = [];
    for (const subject of subjects) {
      const [referrers, ...tags] = await Promise.all([
        this.#referrersOf(subject),
        ...SUFFIXES.map((suffix) => this.#tagged(subject, suffix)),
      ]);
      const attached = {
        subject,
        referrers: referrers.map(({ entry }) => entry),
        tags: tags.flat(),
      };
      if (attached.referrers.length + attached.tags.length > 0) {
        this.attached.push(attached);
      }
      signable.push(...referrers.flatMap((one) => (one.isSignature ? [] : [one.entry.digest])));
    }
    if (signable.length > 0 && depth < AIR_GAP_LIMITS.nestingMax) {
      await this.collect(signable, depth + 1);
    }
  }

  async #referrersOf(
    subject: Digest,
  ): Promise<readonly { readonly entry: ManifestEntry; readonly isSignature: boolean }[]> {
    const { lookups } = this.#context.pulls;
    const list = await this.#ask(
      (signal) => lookups.referrersNow(this.#source, subject, signal),
      async () => listOf(await this.#held(referrersTagOf(subject))),
    );
    const found = [];
    const { referrersMax } = AIR_GAP_LIMITS;
    if ((list?.length ?? 0) > referrersMax) {
      this.leftOut.push(`${subject} has more than ${referrersMax} referrers: the rest`);
    }
    for (const descriptor of (list ?? []).slice(0, referrersMax)) {
      const digest = descriptor["digest"] as Digest;
      const taken = await this.#orLeaveOut(digest, async () => {
        const inspection = await this.#take(digest);
        if (inspection.subject !== subject) {
          throw new RegistryError("upstream-invalid", "its subject is another");
        }
        return inspection;
      });
      if (taken !== undefined) {
        found.push({ entry: taken.entry, isSignature: isSignatureArtefact(taken) });
      }
    }
    return found;
  }

  async #tagged(subject: Digest, suffix: "sig" | "att"): Promise<Attached["tags"]> {
    const tag = cosignTagOf(subject, suffix);
    if (tag === undefined) {
      return [];
    }
    const { lookups } = this.#context.pulls;
    const manifest = await this.#ask(
      (signal) => lookups.tagNow(this.#source, tag, signal),
      () => this.#held(tag),
    );
    const digest = manifest?.digest;
    const taken = digest && (await this.#orLeaveOut(digest, () => this.#take(digest)));
    return taken === undefined ? [] : [{ tag, entry: taken.entry }];
  }

  /** A registry that does not answer is asked once. */
  async #ask<T>(
    now: (signal: AbortSignal) => Promise<T | undefined>,
    held: () => Promise<T | undefined>,
  ): Promise<T | undefined> {
    if (this.#isSilent) {
      return await held();
    }
    try {
      return await now(AbortSignal.timeout(AIR_GAP_LIMITS.lookupTimeoutMs));
    } catch (error) {
      const isSilent = error instanceof RegistryError && SILENT.has(error.code);
      if (!isSilent || !this.#context.mayBeHeld || this.#context.pulls.held === undefined) {
        throw error;
      }
      if (!this.#isSilent) {
        this.#isSilent = true;
        const { name } = this.#source.upstream;
        this.leftOut.push(`${name} does not answer: signatures that are not in the store`);
      }
      return await held();
    }
  }

  async #held(tag: string): Promise<Manifest | undefined> {
    return await this.#context.pulls.held?.(this.#source, tag);
  }

  /** With its content, once all of it is known to be there. */
  async #take(digest: Digest): Promise<Inspection & { readonly entry: ManifestEntry }> {
    const { pulls, manifests, blobs } = this.#context;
    const { manifest } = await pulls.registry.manifestByDigest(this.#source, digest);
    const { mediaType, bytes } = manifest;
    const inspection = inspectManifest(bytes, mediaType);
    if (inspection.problem !== undefined || inspection.children.length > 0) {
      throw new RegistryError("upstream-invalid", inspection.problem ?? "it is an index");
    }
    const content = new Map<Digest, Collected>();
    addContent(content, inspection);
    for (const { digest: blob, sizeBytes } of content.values()) {
      const stat = await pulls.registry.statBlob(this.#source, blob);
      if (stat.sizeBytes !== undefined && stat.sizeBytes !== sizeBytes) {
        throw new RegistryError("upstream-invalid", `its blob ${blob} has another size`);
      }
    }
    for (const [blob, collected] of content) {
      blobs.set(blob, collected);
    }
    manifests.set(digest, { digest, sizeBytes: bytes.byteLength });
    return { ...inspection, entry: entryOf(manifest, inspection) };
  }

  async #orLeaveOut<T>(artifact: Digest, take: () => Promise<T>): Promise<T | undefined> {
    try {
      return await take();
    } catch (error) {
      if (!(error instanceof RegistryError && SPOILED.has(error.code))) {
        throw error;
      }
      const why = error instanceof PolicyError ? "the policy refuses it" : error.message;
      this.leftOut.push(`${artifact}: ${why}`);
      return;
    }
  }
}

/** From the manifest itself, so that it is the same whatever a registry's list says. */
function entryOf(
  { digest, mediaType, bytes }: Manifest,
  { artifactType, config }: Inspection,
): ManifestEntry {
  const { annotations } = JSON.parse(bytes.toString("utf8")) as { readonly annotations?: unknown };
  const type = artifactType ?? config?.mediaType;
  const isPlain =
    typeof annotations === "object" &&
    annotations !== null &&
    Object.values(annotations).every((value) => typeof value === "string");
  return {
    digest,
    mediaType,
    sizeBytes: bytes.byteLength,
    ...(type && { artifactType: type }),
    ...(isPlain && { annotations: annotations as Readonly<Record<string, string>> }),
  };
}

function listOf(manifest: Manifest | undefined): readonly ReferrerDescriptor[] {
  if (manifest === undefined) {
    return [];
  }
  return inspectManifest(manifest.bytes, manifest.mediaType).children.map(({ digest }) => ({
    digest,
  }));
}
