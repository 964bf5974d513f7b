import { StorageError } from "./errors.ts";

const NO_SPACE = new Set(["ENOSPC", "EDQUOT"]);

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? "");
}

/** A file system's error as the store's own: the errno and the path stay in the message. */
export function toStorageError(doing: string, cause: unknown): StorageError {
  if (cause instanceof StorageError) {
    return cause;
  }
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  const kind = NO_SPACE.has(code ?? "") ? "store-full" : "store-unavailable";
  const why = cause instanceof Error ? cause.message : String(cause);
  return new StorageError(kind, `could not ${doing}: ${why}`, { cause });
}
