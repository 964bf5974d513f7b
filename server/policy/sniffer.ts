import { LRUCache } from "lru-cache";
import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestOf } from "../../storage/digest.ts";
import { StorageError } from "../../storage/errors.ts";
import type { BlobAsk, OpenBlob } from "../cache/blob-cache.ts";
import type { Registry } from "../cache/cache.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { Source } from "../cache/source.ts";
import { POLICY_LIMITS, UPSTREAM_LIMITS } from "../limits.ts";
import { looksLikeManifest, mayBeginObject } from "../oci/strict-manifest.ts";
import { mediaTypeFromBytes } from "./manifest-type.ts";

/** A blob as it may be handed on; `manifest` is set when its bytes are one. */
export interface Sniffed {
  readonly blob: OpenBlob;
  readonly manifest: Manifest | undefined;
}

/**
 * Finds manifests that are asked for as blobs, whatever anyone calls them: by their bytes. Only
 * what is small and begins like JSON is read ahead; everything else goes through as it comes.
 */
export class ManifestSniffer {
  readonly #registry: Pick<Registry, "openBlob" | "statBlob">;
  /** By digest: what some bytes are not, they are not in any repository. */
  readonly #others = new LRUCache<Digest, true>({ max: POLICY_LIMITS.sniffedMax });

  constructor(registry: Pick<Registry, "openBlob" | "statBlob">) {
    this.#registry = registry;
  }

  async open(source: Source, digest: Digest, ask: BlobAsk): Promise<Sniffed> {
    const blob = await this.#registry.openBlob(source, digest, ask);
    if (this.#others.has(digest) || (isLarge(blob.sizeBytes) && blob.from === "store")) {
      return { blob, manifest: undefined };
    }
    try {
      if (blob.range !== undefined) {
        return { blob, manifest: await this.#readWhole(source, digest, ask.signal) };
      }
      return isLarge(blob.sizeBytes)
        ? { blob: provedLarge(blob), manifest: undefined }
        : await this.#readAhead(digest, blob);
    } catch (error) {
      await blob[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** For HEAD: what is small is looked into, what is large is not even opened. */
  async find(source: Source, digest: Digest): Promise<Manifest | undefined> {
    if (this.#others.has(digest)) {
      return;
    }
    const { sizeBytes } = await this.#registry.statBlob(source, digest);
    return isLarge(sizeBytes)
      ? undefined
      : await this.#readWhole(source, digest, new AbortController().signal);
  }

  /** The bytes that are looked at are the bytes that are sent. */
  async #readAhead(digest: Digest, blob: OpenBlob): Promise<Sniffed> {
    const chunks = blob[Symbol.asyncIterator]();
    const first = await chunks.next();
    if (first.done === true || !mayBeginObject(first.value)) {
      const head = first.done === true ? [] : [first.value];
      return { blob: replayed(blob, head, chunks), manifest: undefined };
    }
    const { head, isWhole } = await collect(first.value, chunks);
    const manifest = isWhole ? manifestOf(digest, Buffer.concat(head)) : undefined;
    if (manifest === undefined && isWhole) {
      this.#others.set(digest, true);
    }
    return { blob: replayed(blob, head, chunks), manifest };
  }

  async #readWhole(
    source: Source,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<Manifest | undefined> {
    const ask = { choose: () => undefined, signal };
    await using blob = await this.#registry.openBlob(source, digest, ask);
    if (isLarge(blob.sizeBytes) && blob.from === "store") {
      return;
    }
    const { manifest } = await this.#readAhead(digest, blob);
    return manifest;
  }
}

function isLarge(sizeBytes: number | undefined): boolean {
  return sizeBytes !== undefined && sizeBytes > UPSTREAM_LIMITS.manifestBytesMax;
}

/** Up to the size of the largest manifest, in copies: a chunk is its reader's for one turn only. */
async function collect(
  first: Uint8Array,
  chunks: AsyncIterator<Uint8Array>,
): Promise<{ readonly head: readonly Uint8Array[]; readonly isWhole: boolean }> {
  const head: Uint8Array[] = [Buffer.from(first)];
  let sizeBytes = first.byteLength;
  while (sizeBytes <= UPSTREAM_LIMITS.manifestBytesMax) {
    const next = await chunks.next();
    if (next.done === true) {
      return { head, isWhole: true };
    }
    head.push(Buffer.from(next.value));
    sizeBytes += next.value.byteLength;
  }
  return { head, isWhole: false };
}

/**
 * What is said of these bytes is said of the digest from then on, and not every read of the store
 * is hashed.
 *
 * @throws StorageError `content-mismatch` when they are others.
 */
function manifestOf(digest: Digest, bytes: Buffer): Manifest | undefined {
  if (digestOf(bytes, algorithmOf(digest)) !== digest) {
    throw new StorageError("content-mismatch", `the bytes under ${digest} are others`);
  }
  return looksLikeManifest(bytes)
    ? { digest, mediaType: mediaTypeFromBytes(bytes), bytes }
    : undefined;
}

/**
 * A size that an upstream announces may be a lie, and bytes go out before the digest is compared:
 * what begins like JSON goes out once it is too large to be a manifest. Nobody waits for that
 * before the headers.
 */
function provedLarge(blob: OpenBlob): OpenBlob {
  async function* grown(): AsyncGenerator<Uint8Array> {
    const chunks = blob[Symbol.asyncIterator]();
    try {
      const first = await chunks.next();
      if (first.done !== true) {
        yield* mayBeginObject(first.value)
          ? (await collect(first.value, chunks)).head
          : [first.value];
        yield* { [Symbol.asyncIterator]: () => chunks };
      }
    } finally {
      await chunks.return?.();
    }
  }
  return replayed(blob, [], grown());
}

/** The blob again from its start: what was read of it, then the rest. */
function replayed(
  blob: OpenBlob,
  head: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): OpenBlob {
  const { sizeBytes, range, outcome, from } = blob;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      yield* head;
      yield* { [Symbol.asyncIterator]: () => rest };
    } finally {
      await rest.return?.();
    }
  }
  return {
    sizeBytes,
    range,
    outcome,
    from,
    [Symbol.asyncIterator]: () => chunks(),
    [Symbol.asyncDispose]: () => blob[Symbol.asyncDispose](),
  };
}
