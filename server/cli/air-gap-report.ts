import { AirGapError } from "../air-gap/air-gap-error.ts";
import type { CollectedImage } from "../air-gap/collect.ts";
import { nameOf } from "../cache/source.ts";
import { RegistryError } from "../errors.ts";
import { readableBytes } from "./progress.ts";

/** An image that was taken across, for machines. */
export interface ReportedImage {
  /** Canonical: `docker.io/library/alpine:3.20`. */
  readonly image: string;
  readonly digest: string;
  readonly platforms: readonly string[];
  /** Children of the index that were not chosen, or are not in the file. */
  readonly absent: readonly string[];
  readonly manifests: number;
  readonly blobs: number;
  /** Of all of them; what images share is counted with each. */
  readonly sizeBytes: number;
  /** Signatures, attestations and other referrers. */
  readonly referrers: number;
  readonly leftOut: readonly string[];
}

export interface RefusedImage {
  readonly image: string;
  readonly reason: string;
}

/** `docker.io/library/alpine:3.20`, or with its digest. */
export function fullNameOf({ source, reference }: CollectedImage): string {
  return `${nameOf(source)}${reference.tag === undefined ? `@${reference.digest}` : `:${reference.tag}`}`;
}

export function reportOf(image: CollectedImage): ReportedImage {
  const { manifests, blobs, attached } = image;
  const all = [...manifests.values(), ...blobs.values()];
  return {
    image: fullNameOf(image),
    digest: image.root.digest,
    platforms: image.platforms,
    absent: image.absent,
    manifests: manifests.size,
    blobs: blobs.size,
    sizeBytes: all.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    referrers: attached.reduce((sum, one) => sum + one.referrers.length + one.tags.length, 0),
    leftOut: image.leftOut,
  };
}

/** For people: one line for the image, and one for each thing that was left out. */
export function reportLines(verb: string, report: ReportedImage): readonly string[] {
  const { image, digest, manifests, blobs, sizeBytes, referrers, absent, leftOut } = report;
  const parts = [
    `${manifests} manifests`,
    `${blobs} blobs`,
    readableBytes(sizeBytes),
    `${referrers} signatures and other referrers`,
    ...(absent.length === 0 ? [] : [`without ${absent.length} of its platforms`]),
  ];
  const name = image.includes("@") ? image : `${image} ${digest}`;
  return [
    `${verb} ${name}: ${parts.join(", ")}`,
    ...leftOut.map((what) => `left out of ${image}: ${what}`),
  ];
}

/** What is wrong with an image, in one sentence. @throws whatever says nothing about the image. */
export function refusalOf(image: string, error: unknown): RefusedImage {
  if (error instanceof RegistryError || error instanceof AirGapError) {
    return { image, reason: error.message };
  }
  throw error;
}

export function refusalLine({ image, reason }: RefusedImage): string {
  return `sluice: ${image}: ${reason}`;
}
