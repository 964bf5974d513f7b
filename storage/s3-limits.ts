/** What the object store may take: bytes, milliseconds, counts. */
export const S3_LIMITS = {
  /** A bucket is near; one that is not reached by then is better not waited for. */
  connectTimeoutMs: 1000,
  /** Until the head of an answer to what sends no body. */
  firstByteTimeoutMs: 3000,
  /** Nothing came, or nothing could be sent. */
  idleTimeoutMs: 15_000,
  /** Some servers copy all parts before they answer that an upload is complete. */
  completeTimeoutMs: 120_000,
  /** To end an upload that failed, or was just being begun: all attempts together. */
  abortTimeoutMs: 2000,
  attemptsMax: 3,
  /** Before the second attempt, at most; doubled before the third. */
  backoffMs: 200,
  /** The same after 503 or 429: it was asked to go slower. */
  slowDownMs: 500,
  /** Readers that stand still keep a socket each. */
  socketsMax: 256,
  breakerFailuresInARow: 5,
  breakerSamplesMin: 10,
  breakerFailureRatio: 0.5,
  breakerWindowMs: 10_000,
  breakerOpenMs: 5000,
  /** Up to this size a blob is one request, whole in memory; above it, parts of at least this size. */
  partBytesMin: 8_388_608,
  /** More parts than that S3 does not take. */
  partsMax: 10_000,
  /** Parts of one upload on their way at once. */
  partsAtOnce: 2,
  /** What the file is read in. */
  pieceBytes: 1_048_576,
  /** Of all uploads together, whatever the load: what does not fit waits its turn. */
  uploadBytesMax: 128_388_608,
  /** An upload that is not finished after a day never will be. */
  leftAfterMs: 86_400_000,
  /** A sweep looks at this many pages of a thousand uploads; the next one goes on. */
  sweepPagesMax: 100,
  /** Longer a signature cannot last (Signature Version 4, query parameters: X-Amz-Expires). */
  presignSecondsMax: 604_800,
} as const;
