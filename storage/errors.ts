export type StorageErrorCode =
  | "digest-invalid"
  | "content-mismatch"
  | "store-unavailable"
  | "store-full";

/** What a store could not do, to what, and why. Absence is never an error: it is `undefined`. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
