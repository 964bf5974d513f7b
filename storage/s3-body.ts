import { StorageError } from "./errors.ts";
import { S3_LIMITS } from "./s3-limits.ts";
import type { S3Body } from "./s3-objects.ts";

/**
 * The chunks of one answer. The socket is read as fast as they are taken: what is read ahead is what
 * a node stream holds, 64 KiB. Standing still counts only while somebody waits for bytes.
 *
 * @throws StorageError when the body stands still, or is shorter or longer than it was said to be.
 */
export async function* chunksOf(body: S3Body): AsyncGenerator<Uint8Array, void, undefined> {
  const { stream, lengthBytes } = body;
  const chunks: AsyncIterator<unknown> = stream[Symbol.asyncIterator]();
  let received = 0;
  try {
    for (;;) {
      const next = await nextInTime(body, chunks);
      if (next.done === true) {
        break;
      }
      if (!(next.value instanceof Uint8Array)) {
        throw new TypeError("the body must come as bytes");
      }
      received += next.value.byteLength;
      if (received > lengthBytes) {
        throw brokenOff(`sent more than the ${lengthBytes} bytes it had said`);
      }
      yield next.value;
    }
  } finally {
    stream.destroy();
  }
  if (received < lengthBytes) {
    throw brokenOff(`ended after ${received} of ${lengthBytes} bytes`);
  }
}

async function nextInTime(
  body: S3Body,
  chunks: AsyncIterator<unknown>,
): Promise<IteratorResult<unknown>> {
  const timer = setTimeout(() => {
    const seconds = S3_LIMITS.idleTimeoutMs / 1000;
    body.stream.destroy(brokenOff(`sent nothing for ${seconds} s`));
  }, S3_LIMITS.idleTimeoutMs);
  try {
    return await chunks.next();
  } finally {
    clearTimeout(timer);
  }
}

function brokenOff(what: string): StorageError {
  return new StorageError("store-unavailable", `the bucket ${what}`);
}
