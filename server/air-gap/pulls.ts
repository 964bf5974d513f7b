import type { Lookups, Registry } from "../cache/cache.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { Source } from "../cache/source.ts";

/** What images are pulled from. */
export interface Pulls {
  /** Judged by the policy. */
  readonly registry: Registry;
  /** The cache itself: what is asked about an image is not judged. */
  readonly lookups: Lookups & Pick<Registry, "statBlob">;
  /** What the store has for a tag, without a question to the registry. */
  readonly held?: (source: Source, tag: string) => Promise<Manifest | undefined>;
}
