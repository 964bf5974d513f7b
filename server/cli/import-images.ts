import type { Digest } from "../../storage/digest.ts";
import { AirGapError } from "../air-gap/air-gap-error.ts";
import type { Layout, NamedImage } from "../air-gap/layout.ts";
import { LayoutUpstream } from "../air-gap/layout-upstream.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import { routeTo } from "../http/routing.ts";
import { shown } from "../oci/reference.ts";
import type { UpstreamSet } from "../upstream/upstream-set.ts";
import type { RefusedImage } from "./air-gap-report.ts";
import { refusalOf } from "./air-gap-report.ts";
import { parseImage } from "./image-reference.ts";
import type { Wanted } from "./import.ts";

/**
 * Where the images of a file belong: under the names of the registries that are configured. What
 * the file says of a name has to be one, and one thing only.
 */
export function resolveImages(
  layout: Layout,
  upstreams: UpstreamSet,
): { readonly wanted: readonly Wanted[]; readonly refused: readonly RefusedImage[] } {
  const tags = new Map<string, Digest>();
  const wanted = new Map<string, Wanted>();
  const refused: RefusedImage[] = layout.unusable.map(({ digest, problem }) => {
    return { image: digest, reason: problem };
  });
  const files = new Map(
    upstreams.all.map((real) => [real.name, new LayoutUpstream(real, layout, tags)]),
  );
  for (const image of layout.images) {
    try {
      const one = resolve(image, upstreams);
      const upstream = files.get(one.source.upstream.name) ?? one.source.upstream;
      refuseTwin(tags, one, image.digest);
      wanted.set(one.image, { ...one, source: { ...one.source, upstream } });
    } catch (error) {
      refused.push(refusalOf(shown(image.name), error));
    }
  }
  if (layout.images.length === 0) {
    refused.push({ image: layout.name, reason: "it has no image with a full name" });
  }
  return { wanted: [...wanted.values()], refused };
}

function resolve({ name, digest }: NamedImage, upstreams: UpstreamSet): Wanted {
  const { name: path, ns, reference } = parseImage(name);
  const source: Source = routeTo({ kind: "manifest", name: path, ns }, upstreams);
  if (reference.digest !== undefined && reference.digest !== digest) {
    throw new AirGapError(`the file has ${digest} under this name`);
  }
  const where = reference.tag === undefined ? `@${digest}` : `:${reference.tag}`;
  return { image: `${nameOf(source)}${where}`, source, reference };
}

function refuseTwin(tags: Map<string, Digest>, { image }: Wanted, digest: Digest): void {
  const known = tags.get(image);
  if (known !== undefined && known !== digest) {
    throw new AirGapError(`the file has this name twice: for ${known} and for ${digest}`);
  }
  tags.set(image, digest);
}
