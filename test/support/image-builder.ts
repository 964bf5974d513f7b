import { createHash } from "node:crypto";
import type { Compression } from "./layer-builder.ts";
import { debianLayers, layerOf } from "./layer-builder.ts";

/** Bytes with their name and their type, as a descriptor points at them. */
export interface Content {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** Everything that a registry must hold for one reference. */
export interface Artifact {
  /** What a tag points at. */
  readonly top: Content;
  /** Each after all that it names, `top` last: the order in which registries take them. */
  readonly manifests: readonly Content[];
  readonly blobs: readonly Content[];
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
}

interface ImageOptions {
  readonly format?: "oci" | "docker";
  readonly compression?: Compression;
  readonly architecture?: string;
}

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
const OCI_EMPTY = "application/vnd.oci.empty.v1+json";
const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";

const CONFIG_TYPES = {
  oci: "application/vnd.oci.image.config.v1+json",
  docker: "application/vnd.docker.container.image.v1+json",
} as const;

const LAYER_TYPES = {
  oci: {
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  },
  docker: {
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    zstd: "application/vnd.docker.image.rootfs.diff.tar.zstd",
  },
} as const;

export function contentOf(
  mediaType: string,
  bytes: Uint8Array,
  algorithm: "sha256" | "sha512" = "sha256",
): Content {
  const hex = createHash(algorithm).update(bytes).digest("hex");
  return { digest: `${algorithm}:${hex}`, mediaType, bytes };
}

/**
 * A Debian root file system as several layers, about 30 MiB of them. With zstd it starts at the
 * second one: the same stack would count as unpacked already for a client that holds the other.
 */
export async function debianImage(options: ImageOptions = {}): Promise<Artifact> {
  const { compression = "gzip" } = options;
  const layers = await debianLayers(compression);
  return imageOf(compression === "zstd" ? layers.slice(1) : layers, options);
}

/** One small layer, different for each `name`. */
export async function smallImage(name: string, options: ImageOptions = {}): Promise<Artifact> {
  const bytes = Buffer.from(`this is ${name}\n`.repeat(2000));
  const entries = [{ path: `${name}.txt`, mode: 0o644, bytes }];
  return imageOf([layerOf(entries, options.compression ?? "gzip")], options);
}

/** An index of two platforms; the first is the one that the clients of this machine choose. */
export async function multiPlatformImage(
  name: string,
  format: "oci" | "docker" = "oci",
): Promise<Artifact> {
  const architectures = ["amd64", "arm64"];
  const images = await Promise.all(
    architectures.map((architecture) => {
      return smallImage(`${name}-${architecture}`, { format, architecture });
    }),
  );
  const mediaType = format === "oci" ? OCI_INDEX : DOCKER_LIST;
  const top = jsonContent(mediaType, {
    schemaVersion: 2,
    mediaType,
    manifests: images.map((image, at) => ({
      ...descriptorOf(image.top),
      platform: { os: "linux", architecture: architectures[at] },
    })),
  });
  return {
    top,
    manifests: [...images.flatMap((image) => image.manifests), top],
    blobs: images.flatMap((image) => image.blobs),
  };
}

/** A Helm chart as `helm push` makes it. */
export function helmChart(name: string, version: string): Artifact {
  const chart = `apiVersion: v2\nname: ${name}\nversion: ${version}\n`;
  const values = Buffer.from("replicas: 1\n");
  const layer = layerOf(
    [
      { path: `${name}/Chart.yaml`, mode: 0o644, bytes: Buffer.from(chart) },
      { path: `${name}/values.yaml`, mode: 0o644, bytes: values },
    ],
    "gzip",
  );
  const config = jsonContent("application/vnd.cncf.helm.config.v1+json", { name, version });
  const content = contentOf("application/vnd.cncf.helm.chart.content.v1.tar+gzip", layer.bytes);
  return manifestOf(config, [content], {
    layerAnnotations: { "org.opencontainers.image.title": `${name}-${version}.tgz` },
  });
}

/** An artifact that points at `subject`: a referrer, such as a bill of materials. */
export function referrerOf(subject: Content, artifactType: string, text: string): Artifact {
  const empty = contentOf(OCI_EMPTY, Buffer.from("{}"));
  const body = contentOf("application/json", Buffer.from(JSON.stringify({ text })));
  return manifestOf(empty, [body], { artifactType, subject: descriptorOf(subject) });
}

/** An artifact whose one layer is named by its sha512. */
export function sha512Artifact(text: string): Artifact {
  const config = contentOf(OCI_EMPTY, Buffer.from("{}"));
  const layer = contentOf("application/octet-stream", Buffer.from(text.repeat(5000)), "sha512");
  return manifestOf(config, [layer], {
    artifactType: "application/vnd.example.long-digest",
    layerAnnotations: { "org.opencontainers.image.title": "long.txt" },
  });
}

/**
 * The index that a client keeps under the tag `sha256-<hex>` for registries without the referrers
 * API (distribution-spec v1.1.1, "Referrers Tag Schema").
 */
export function referrersIndex(referrers: readonly Artifact[]): Artifact {
  const top = jsonContent(OCI_INDEX, {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: referrers.map((referrer) => {
      const { artifactType } = JSON.parse(Buffer.from(referrer.top.bytes).toString()) as Descriptor;
      return { ...descriptorOf(referrer.top), artifactType };
    }),
  });
  return { top, manifests: [top], blobs: [] };
}

function imageOf(
  layers: readonly { readonly diffId: string; readonly bytes: Uint8Array }[],
  { format = "oci", compression = "gzip", architecture = "amd64" }: ImageOptions,
): Artifact {
  const config = jsonContent(CONFIG_TYPES[format], {
    architecture,
    os: "linux",
    config: { Cmd: ["/bin/sh"] },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map(() => ({ created: "2026-01-01T00:00:00Z", created_by: "sluice tests" })),
  });
  const type = LAYER_TYPES[format][compression];
  const contents = layers.map((layer) => contentOf(type, layer.bytes));
  return manifestOf(config, contents, { format });
}

function manifestOf(
  config: Content,
  layers: readonly Content[],
  more: {
    readonly format?: "oci" | "docker";
    readonly artifactType?: string;
    readonly subject?: Descriptor;
    readonly layerAnnotations?: Readonly<Record<string, string>>;
  },
): Artifact {
  const { format = "oci", layerAnnotations, ...fields } = more;
  const mediaType = format === "oci" ? OCI_MANIFEST : DOCKER_MANIFEST;
  const annotations = layerAnnotations ? { annotations: layerAnnotations } : {};
  const top = jsonContent(mediaType, {
    schemaVersion: 2,
    mediaType,
    ...fields,
    config: descriptorOf(config),
    layers: layers.map((layer) => ({ ...descriptorOf(layer), ...annotations })),
  });
  return { top, manifests: [top], blobs: [config, ...layers] };
}

function descriptorOf({ mediaType, digest, bytes }: Content): Descriptor {
  return { mediaType, digest, size: bytes.byteLength };
}

function jsonContent(mediaType: string, value: unknown): Content {
  return contentOf(mediaType, Buffer.from(JSON.stringify(value)));
}
