import type { Test } from "tap";
import type { Digest } from "../../storage/digest.ts";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";

export type Scheme = "basic" | "bearer";

/** What a tenant's repository holds. */
export interface TenantImage {
  readonly layer: Digest;
  readonly layerText: string;
  readonly image: Digest;
  /** Of an index that is tagged `multi`; no tag names it. */
  readonly child: Digest;
  readonly index: Digest;
  /** Refers to `image`. */
  readonly referrer: Digest;
}

export interface TenantRegistry {
  readonly upstream: FakeUpstream;
  readonly images: ReadonlyMap<string, TenantImage>;
  /** The same bytes in every repository. */
  readonly common: Digest;
}

/** Who may read what there. `:` is nobody, whose rights all others have, too. */
export const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  "alice:a-secret": ["a/app", "both/app", "a/gone"],
  "bob:b-secret": ["b/app", "both/app"],
  "robot:r-secret": ["a/app", "b/app", "both/app", "a/gone", "none/app"],
  ":": ["public/app"],
};

export const REPOSITORIES: readonly string[] = ["a/app", "b/app", "both/app", "public/app"];

const IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar";

export function may(login: string, repository: string): boolean {
  return [...(RIGHTS[login] ?? []), ...(RIGHTS[":"] ?? [])].includes(repository);
}

export function basic(login: string): string {
  return `Basic ${Buffer.from(login).toString("base64")}`;
}

/** A registry with the tenants `a` and `b`, who share one repository, and a public one. */
export async function startTenantRegistry(t: Test, scheme: Scheme): Promise<TenantRegistry> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const images = new Map(REPOSITORIES.map((name) => [name, addTenant(upstream, name)]));
  const common = Buffer.from("in every repository");
  const [digest] = REPOSITORIES.map((name) => upstream.addBlob(name, common));
  if (digest === undefined) {
    throw new Error("there are no repositories");
  }
  const isKnown = (login: string): boolean => Object.hasOwn(RIGHTS, login);
  await upstream.requireAuth({ scheme, may, isKnown });
  return { upstream, images, common: digest };
}

function addTenant(upstream: FakeUpstream, name: string): TenantImage {
  const config = upstream.addBlob(name, Buffer.from(`{"of":"${name}"}`));
  const layerText = `layer of ${name}`;
  const layer = upstream.addBlob(name, Buffer.from(layerText));
  const configOf = { digest: config, size: `{"of":"${name}"}`.length };
  const layers = [{ digest: layer, size: layerText.length }];
  const image = upstream.addManifest(name, "v1", imageNaming(configOf, layers));
  const child = upstream.addManifest(name, undefined, {
    ...imageNaming(configOf, layers),
    annotations: { of: "an index" },
  });
  const index = upstream.addManifest(name, "multi", indexNaming([child]));
  const referrer = upstream.addManifest(name, undefined, {
    ...imageNaming(configOf, layers),
    artifactType: "application/vnd.example.sbom",
    subject: { mediaType: IMAGE_TYPE, digest: image, size: 1 },
  });
  return { layer, layerText, image, child, index, referrer };
}

export interface Named {
  readonly digest: string;
  readonly size: number;
  readonly urls?: readonly string[];
}

/** Names any digests, whether its repository has them or not: registries take that. */
export function imageNaming(config: Named, layers: readonly Named[]): object {
  return {
    schemaVersion: 2,
    mediaType: IMAGE_TYPE,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: layers.map((layer) => ({ mediaType: LAYER_TYPE, ...layer })),
  };
}

export function indexNaming(children: readonly string[]): object {
  return {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: children.map((digest) => ({
      mediaType: IMAGE_TYPE,
      digest,
      size: 1,
      platform: { architecture: "amd64", os: "linux" },
    })),
  };
}
