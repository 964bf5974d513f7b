/** What a store tells whoever counts. It never throws; the store does not wait for it. */
export interface StoreEvents {
  evicted(): void;
  /** A blob whose bytes or size are not those of its name was found, and removed. */
  corruption(): void;
  /** An operation failed and the store went on without it. `reason` is the errno or the code. */
  failed(operation: StoreOperation, reason: string, cause: unknown): void;
}

export type StoreOperation =
  | "open"
  | "read"
  | "write"
  | "commit"
  | "delete"
  | "scan"
  | "metadata"
  | "evict";

export function reasonOf(cause: unknown): string {
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" && /^[A-Z0-9_]{2,40}$/.test(code) ? code : "unknown";
}
