import { S3ServiceException } from "@aws-sdk/client-s3";
import { StorageError } from "./errors.ts";
import { reasonOf } from "./store-events.ts";

/**
 * Names of errors as S3 and the SDK give them, with what to do about it. A closed list: the names
 * come from the server, and end up in messages and as labels of metrics.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
const HINTS: ReadonlyMap<string, string> = new Map([
  [
    "AccessDenied",
    "the credentials need GetObject, PutObject, DeleteObject, AbortMultipartUpload and ListBucket",
  ],
  ["AllAccessDisabled", "the bucket was disabled by its provider"],
  ["AuthorizationHeaderMalformed", "the bucket is in another region: set it"],
  ["BadDigest", "it was changed on the way: try again"],
  ["ConditionalRequestConflict", "another writer was at it: try again"],
  [
    "CredentialsProviderError",
    "no credentials were found: see the SDK's chain of credential providers",
  ],
  ["EntityTooLarge", "the bucket's provider does not take blobs of that size"],
  ["ExpiredToken", "the credentials have expired"],
  ["InternalError", "the bucket's own failure"],
  ["InvalidAccessKeyId", "the bucket's provider does not know the access key"],
  ["InvalidBucketName", "correct the bucket's name"],
  ["InvalidRange", "it has fewer bytes than were asked for"],
  ["NoSuchBucket", "create the bucket, or correct its name"],
  ["NoSuchUpload", "somebody ended the upload"],
  ["NotImplemented", "the bucket's provider cannot do that"],
  ["PermanentRedirect", "the bucket is in another region: set it"],
  ["PreconditionFailed", "it was replaced in between: try again"],
  ["QuotaExceeded", "the bucket is full"],
  ["RequestTimeTooSkewed", "correct this machine's clock"],
  ["RequestTimeout", "the connection stood still"],
  ["ServiceUnavailable", "the bucket is overloaded"],
  ["SignatureDoesNotMatch", "the secret key is wrong"],
  ["SlowDown", "the bucket is overloaded"],
  ["TimeoutError", "the bucket did not answer in time"],
  ["XMinioStorageFull", "the bucket is full"],
  // A HEAD is refused without a name.
  ["status-301", "the bucket is in another region: set it"],
  ["status-400", "look at the bucket's region, this machine's clock and the credentials"],
  [
    "status-403",
    "the credentials need GetObject, and ListBucket, without which what is absent is a 403 too",
  ],
]);
const FULL = new Set(["EntityTooLarge", "QuotaExceeded", "XMinioStorageFull"]);

/** Nothing is there under that key. The bucket itself missing is an error. */
export function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && !isNamed(error, "NoSuchBucket", "NoSuchUpload");
}

/** It is there already (412), or somebody is at it at this moment (409). */
export function isTaken(error: unknown): boolean {
  return statusOf(error) === 412 || statusOf(error) === 409;
}

/** Conditional writes are unknown to some: 501, from a few as 400 with the same name. */
export function isNotImplemented(error: unknown): boolean {
  return statusOf(error) === 501 || isNamed(error, "NotImplemented", "XNotImplemented");
}

/** The error's name when it is a known one, the errno, or what the status says. */
export function s3ReasonOf(error: unknown): string {
  if (error instanceof StorageError) {
    return error.cause === undefined ? error.code : s3ReasonOf(error.cause);
  }
  if (error instanceof Error && HINTS.has(error.name)) {
    return error.name;
  }
  const status = statusOf(error);
  return status === undefined ? reasonOf(error) : `status-${status}`;
}

/**
 * What went wrong, to what, and what to do. Nothing of what the server wrote is repeated: it may
 * hold what we sent, and that is signed.
 */
export function toS3Error(doing: string, error: unknown): StorageError {
  if (error instanceof StorageError) {
    return error;
  }
  const reason = s3ReasonOf(error);
  const hint = HINTS.get(reason);
  const said = hint ?? (isErrno(error) ? error.message : "S3 does not document such an answer");
  const cause = Object.assign(new Error(`${reason}: ${said}`), { name: reason });
  const code = FULL.has(reason) ? "store-full" : "store-unavailable";
  return new StorageError(code, `could not ${doing}: ${reason} (${said})`, { cause });
}

/** From a socket, not from the server. */
function isErrno(error: unknown): error is Error {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}

function isNamed(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}
