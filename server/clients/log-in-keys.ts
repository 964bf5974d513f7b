import type { KeyObject } from "node:crypto";
import { createHmac, createSecretKey, randomBytes } from "node:crypto";

const KEY_BYTES = 32;

/**
 * Names log-ins in memory without holding them: under a key that ends with the process, so that
 * nothing can be made of a name that got out.
 */
export class LogInKeys {
  /** As an object: bytes would be made one for each name, at 7 µs of 9. */
  readonly #key: KeyObject = createSecretKey(randomBytes(KEY_BYTES));

  /** No two lists of parts have the same name, as long as none of them has a NUL. */
  nameOf(...parts: readonly string[]): string {
    return createHmac("sha256", this.#key).update(parts.join("\0")).digest("base64url");
  }
}
