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
  | "client-unknown"
  | "client-denied"
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
  /** Of `client-unknown`: how to log in. Sent as WWW-Authenticate. */
  readonly challenges?: readonly string[];
}

/** A request that cannot be answered as asked, and why. Carries no HTTP: see http/wire-errors.ts. */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
  readonly code: RegistryErrorCode;
  readonly retryAfterSeconds: number | undefined;
  readonly challenges: readonly string[];

  constructor(code: RegistryErrorCode, message: string, options?: RegistryErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryAfterSeconds = options?.retryAfterSeconds;
    this.challenges = options?.challenges ?? [];
  }
}
