import type { BlobStore } from "../../storage/blob-store.ts";
import type { Digest } from "../../storage/digest.ts";
import { algorithmOf, digestOf } from "../../storage/digest.ts";

/**
 * A small blob whole, and proved: undefined when the store does not have it, or has other bytes
 * under its name.
 *
 * @throws StorageError when the store fails.
 */
export async function readHeld(
  store: BlobStore,
  digest: Digest,
  sizeBytesMax: number,
): Promise<Buffer | undefined> {
  await using reader = await store.open(digest);
  if (reader === undefined || reader.sizeBytes > sizeBytesMax) {
    return;
  }
  const bytes = Buffer.allocUnsafeSlow(reader.sizeBytes);
  let done = 0;
  for await (const chunk of reader) {
    bytes.set(chunk, done);
    done += chunk.byteLength;
  }
  return digestOf(bytes, algorithmOf(digest)) === digest ? bytes : undefined;
}

/** @throws StorageError when the store fails. The caller has proved that the bytes match. */
export async function writeHeld(store: BlobStore, digest: Digest, bytes: Buffer): Promise<void> {
  await using writer = await store.ingest(digest, bytes.byteLength);
  await writer.write(bytes, 0);
  await writer.commit(bytes.byteLength);
}
