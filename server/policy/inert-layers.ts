import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestFrom, hasher } from "../../storage/digest.ts";
import type { Source } from "../cache/source.ts";
import { RegistryError } from "../errors.ts";
import { POLICY_LIMITS } from "../limits.ts";
import { startsLikeLayer, TAR_BLOCK_BYTES } from "../oci/layer-bytes.ts";
import type { Inspection } from "../oci/strict-manifest.ts";
import { untilAborted } from "../until-aborted.ts";
import type { CandidateSource } from "./candidates.ts";

/**
 * Whether an artefact's layers are what their media types say, in so far as nothing could unpack
 * them: Docker reads layers without asking for their type, so an image could call itself a
 * signature. Each is read to its end, where its digest is compared. One that is not there yet could
 * be anything later, so it speaks against.
 *
 * @throws RegistryError when a layer could not be read for now.
 */
export async function hasInertLayers(
  registry: CandidateSource,
  source: Source,
  { layers }: Inspection,
): Promise<boolean> {
  const signal = AbortSignal.timeout(POLICY_LIMITS.gatherTimeoutMs);
  const digests = [...new Set(layers.map(({ digest }) => digest))];
  try {
    const looks = areInert((digest) => isInert({ registry, source, signal }, digest), digests);
    return await untilAborted(looks, signal);
  } catch (error) {
    throw signal.aborted ? tookTooLong(error) : error;
  }
}

function tookTooLong(cause: unknown): RegistryError {
  return new RegistryError("upstream-unavailable", "reading its layers took too long", { cause });
}

/** A few at a time: what a manifest names is no measure for what may be fetched on its account. */
async function areInert(
  look: (digest: Digest) => Promise<boolean>,
  digests: readonly Digest[],
): Promise<boolean> {
  const { referrersAtOnce } = POLICY_LIMITS;
  for (let at = 0; at < digests.length; at += referrersAtOnce) {
    const looks = await Promise.all(digests.slice(at, at + referrersAtOnce).map(look));
    if (!looks.every((inert) => inert)) {
      return false;
    }
  }
  return true;
}

interface LayerContext {
  readonly registry: CandidateSource;
  readonly source: Source;
  readonly signal: AbortSignal;
}

async function isInert(context: LayerContext, digest: Digest): Promise<boolean> {
  const { registry, source, signal } = context;
  const hash = hasher(algorithmOf(digest)); // the store does not hash each time that it is read
  let head = Buffer.alloc(0);
  try {
    await using blob = await registry.openBlob(source, digest, { choose: () => undefined, signal });
    for await (const chunk of blob) {
      signal.throwIfAborted();
      hash.update(chunk);
      if (head.byteLength < TAR_BLOCK_BYTES) {
        head = Buffer.concat([head, chunk.subarray(0, TAR_BLOCK_BYTES)]);
      }
    }
  } catch (error) {
    if (error instanceof RegistryError && error.code === "blob-unknown") {
      return false;
    }
    throw error;
  }
  return digestFrom(hash, algorithmOf(digest)) === digest && !startsLikeLayer(head);
}
