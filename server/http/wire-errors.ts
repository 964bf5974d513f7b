import type { StorageErrorCode } from "../../storage/errors.ts";
import { StorageError } from "../../storage/errors.ts";
import type { RegistryErrorCode } from "../errors.ts";
import { RegistryError } from "../errors.ts";
import { CLIENT_LIMITS } from "../limits.ts";
import type { PullOutcome } from "../metrics.ts";

interface WireError {
  readonly status: number;
  readonly ociCode: string;
  readonly outcome: PullOutcome;
}

/**
 * Every error the program can raise, as a client sees it. A new code does not compile until it has
 * a row here. The OCI codes are those of distribution-spec v1.1.1 §error-codes; UNAVAILABLE,
 * UNKNOWN, RANGE_INVALID and PAGINATION_NUMBER_INVALID are not in it, but are what `distribution`
 * sends and clients already understand.
 */
const WIRE_ERRORS: Readonly<Record<RegistryErrorCode | StorageErrorCode, WireError>> = {
  "request-invalid": { status: 400, ociCode: "UNSUPPORTED", outcome: "refused" },
  "url-too-long": { status: 414, ociCode: "UNSUPPORTED", outcome: "refused" },
  "headers-too-large": { status: 431, ociCode: "UNSUPPORTED", outcome: "refused" },
  "name-invalid": { status: 400, ociCode: "NAME_INVALID", outcome: "refused" },
  "digest-invalid": { status: 400, ociCode: "DIGEST_INVALID", outcome: "refused" },
  "pagination-invalid": { status: 400, ociCode: "PAGINATION_NUMBER_INVALID", outcome: "refused" },
  "range-invalid": { status: 416, ociCode: "RANGE_INVALID", outcome: "refused" },
  "method-unsupported": { status: 405, ociCode: "UNSUPPORTED", outcome: "refused" },
  "path-unknown": { status: 404, ociCode: "NAME_UNKNOWN", outcome: "not_found" },
  "name-unknown": { status: 404, ociCode: "NAME_UNKNOWN", outcome: "not_found" },
  "manifest-unknown": { status: 404, ociCode: "MANIFEST_UNKNOWN", outcome: "not_found" },
  "blob-unknown": { status: 404, ociCode: "BLOB_UNKNOWN", outcome: "not_found" },
  "registry-unknown": { status: 403, ociCode: "DENIED", outcome: "denied" },
  "client-unknown": { status: 401, ociCode: "UNAUTHORIZED", outcome: "refused" },
  "client-denied": { status: 403, ociCode: "DENIED", outcome: "denied" },
  "policy-denied": { status: 403, ociCode: "DENIED", outcome: "denied" },
  "policy-indeterminate": { status: 503, ociCode: "UNAVAILABLE", outcome: "error" },
  "upstream-refused": { status: 403, ociCode: "DENIED", outcome: "refused" },
  "upstream-limited": { status: 429, ociCode: "TOOMANYREQUESTS", outcome: "error" },
  "upstream-unavailable": { status: 503, ociCode: "UNAVAILABLE", outcome: "error" },
  "upstream-invalid": { status: 502, ociCode: "UNAVAILABLE", outcome: "error" },
  overloaded: { status: 503, ociCode: "UNAVAILABLE", outcome: "error" },
  "content-mismatch": { status: 502, ociCode: "UNAVAILABLE", outcome: "error" },
  "store-unavailable": { status: 503, ociCode: "UNAVAILABLE", outcome: "error" },
  "store-full": { status: 503, ociCode: "UNAVAILABLE", outcome: "error" },
};

const UNEXPECTED: WireError = { status: 500, ociCode: "UNKNOWN", outcome: "error" };
/** A 429 or 503 without it makes clients guess (distribution-spec main, §429). */
const RETRY_AFTER_DEFAULT_SECONDS = 2;

export interface WireResponse {
  readonly status: number;
  /** The reason phrase: the only part that older containerd shows when HEAD is refused. */
  readonly statusMessage: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body: string;
  /** What went wrong, from a fixed set: the label of `sluice_pull_errors_total`. */
  readonly reason: string;
  readonly outcome: PullOutcome;
}

/** The only place where an error becomes a status code and an OCI error body. */
export function toWire(error: unknown): WireResponse {
  const known = error instanceof RegistryError || error instanceof StorageError;
  const wire = known ? WIRE_ERRORS[error.code] : UNEXPECTED;
  // What a store says names our files, and an unexpected error could say anything.
  const message =
    error instanceof RegistryError || (known && error.code === "digest-invalid")
      ? error.message
      : "the request could not be completed; the log of the proxy says why";
  const body = JSON.stringify({ errors: [{ code: wire.ociCode, message }] });
  const headers: Record<string, string | readonly string[]> = {
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
    "x-content-type-options": "nosniff",
  };
  if (wire.status === 429 || wire.status === 503) {
    const seconds = error instanceof RegistryError ? error.retryAfterSeconds : undefined;
    headers["retry-after"] = String(Math.max(1, Math.ceil(seconds ?? RETRY_AFTER_DEFAULT_SECONDS)));
  }
  if (wire.status === 401 && error instanceof RegistryError) {
    headers["www-authenticate"] = error.challenges;
  }
  if (wire.status === 405) {
    // RFC 9110 §15.5.6
    headers["allow"] = "GET, HEAD";
  }
  return {
    status: wire.status,
    statusMessage: phraseOf(wire.status, message),
    headers,
    body,
    reason: known ? error.code : "unexpected",
    outcome: wire.outcome,
  };
}

/** Where the status alone would leave whoever pulls without a reason. */
function phraseOf(status: number, message: string): string | undefined {
  switch (status) {
    case 401:
      return phrase("Unauthorized", message);
    case 403:
      return phrase("Forbidden", message);
    case 503:
      return phrase("Service Unavailable", message);
    default:
      return;
  }
}

/** Printable ASCII only: node refuses others, and a line break would forge a header. */
export function phrase(standard: string, message: string): string {
  const printable = message.replace(/[^\x20-\x7e]+/g, " ");
  return `${standard} - ${printable}`.slice(0, CLIENT_LIMITS.reasonPhraseMax);
}
