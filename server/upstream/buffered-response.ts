import { RegistryError } from "../errors.ts";
import type { Answer } from "./exchange.ts";
import { AttemptFailure } from "./failure.ts";

export interface ReadOptions {
  readonly bytesMax: number;
  /** For the whole body. */
  readonly timeoutMs: number;
  /** Of whom, for messages: `docker.io`. */
  readonly from: string;
}

/**
 * The whole body in memory, for what has a small bound.
 *
 * @throws RegistryError `upstream-invalid` when it is larger than `bytesMax`, of which at most a
 *   chunk more has been read; AttemptFailure when it breaks or takes too long.
 */
export async function readBody(answer: Answer, options: ReadOptions): Promise<Buffer> {
  const { bytesMax, timeoutMs, from } = options;
  const announced = Number(answer.headers["content-length"] ?? 0);
  if (announced > bytesMax) {
    const error = tooLarge(from, bytesMax);
    answer.abort(error);
    throw error;
  }
  const chunks: Buffer[] = [];
  let seenBytes = 0;
  const timer = setTimeout(() => {
    answer.abort(new AttemptFailure("timeout", "it did not send its answer in time"));
  }, timeoutMs);
  try {
    await answer.consume((chunk) => {
      seenBytes += chunk.length;
      if (seenBytes > bytesMax) {
        throw tooLarge(from, bytesMax);
      }
      chunks.push(Buffer.from(chunk)); // a copy: the chunk is ours only during this call
      return true;
    });
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks);
}

/**
 * What there is of an error's body, up to a bound: enough for its code and message. Never throws,
 * and leaves the connection usable when the body was small.
 */
export async function readErrorBody(
  answer: Answer,
  limits: { readonly errorBytesMax: number; readonly errorTimeoutMs: number },
): Promise<string> {
  const chunks: Buffer[] = [];
  let seenBytes = 0;
  const enough = new Error("enough has been read");
  const timer = setTimeout(() => answer.abort(enough), limits.errorTimeoutMs);
  try {
    await answer.consume((chunk) => {
      chunks.push(Buffer.from(chunk.subarray(0, limits.errorBytesMax - seenBytes)));
      seenBytes += chunk.length;
      if (seenBytes > limits.errorBytesMax) {
        throw enough;
      }
      return true;
    });
  } catch {
    // What arrived is all that there is to quote.
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function tooLarge(from: string, bytesMax: number): RegistryError {
  return new RegistryError(
    "upstream-invalid",
    `${from} sent an answer of more than ${bytesMax} bytes, which is the limit; it was not used`,
  );
}
