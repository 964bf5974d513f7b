import type { Digest } from "../../storage/digest.ts";
import type { Registry } from "../cache/cache.ts";
import type { ReferrerDescriptor } from "../cache/referrers-cache.ts";
import type { Source } from "../cache/source.ts";
import { MEDIA_TYPES } from "../oci/media-types.ts";
import type { Headers } from "./answers.ts";
import { sendWhole, warnings } from "./answers.ts";
import type { Exchange } from "./exchange.ts";

export interface ReferrersQuery {
  readonly digest: Digest;
  readonly artifactType?: string;
}

/** GET of what refers to a manifest (distribution-spec v1.1.1 §listing-referrers). */
export async function answerReferrers(
  exchange: Exchange,
  registry: Registry,
  source: Source,
  query: ReferrersQuery,
): Promise<void> {
  const found = await registry.referrers(source, query.digest);
  exchange.outcome = found.outcome;
  const headers: Headers = {
    "content-type": MEDIA_TYPES.ociIndex,
    ...warnings(found.staleBecause),
  };
  if (query.artifactType !== undefined) {
    headers["oci-filters-applied"] = "artifactType";
  }
  const manifests = found.list.filter((one) => hasType(one, query.artifactType));
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests };
  sendWhole(exchange, headers, Buffer.from(JSON.stringify(index)));
}

function hasType(descriptor: ReferrerDescriptor, artifactType: string | undefined): boolean {
  return artifactType === undefined || descriptor["artifactType"] === artifactType;
}
