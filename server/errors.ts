export type RegistryErrorCode =
  | "request-invalid"
  | "url-too-long"
  | "headers-too-large"
  | "name-invalid"
  | "pagination-invalid"
  | "range-invalid"
  | "method-unsupported"
  | "path-unknown"
  | "name-unknown"
  | "manifest-unknown"
  | "blob-unknown"
  | "registry-unknown"
  | "policy-denied"
  | "policy-indeterminate"
  | "upstream-refused"
  | "upstream-limited"
  | "upstream-unavailable"
  | "upstream-invalid"
  | "overloaded";

export interface RegistryErrorOptions extends ErrorOptions {
  /** When it makes sense to ask again. Sent as Retry-After, in seconds. */
  readonly retryAfterSeconds?: number;
}

/** A request that cannot be answered as asked, and why. Carries no HTTP: see http/wire-errors.ts. */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
  readonly code: RegistryErrorCode;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: RegistryErrorCode, message: string, options?: RegistryErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryAfterSeconds = options?.retryAfterSeconds;
  }
}
