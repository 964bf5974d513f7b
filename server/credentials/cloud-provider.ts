import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { UpstreamSettings } from "../settings.ts";
import type { Credential } from "./credential.ts";
import { CredentialError } from "./credential.ts";

/** The upstream that a log-in is for. */
export type CloudUpstream = Pick<UpstreamSettings, "name" | "urls" | "caFile">;

/** A log-in that a cloud handed out. */
export interface CloudGrant {
  readonly credential: Credential;
  /** On the wall clock, in milliseconds; undefined when it was not said. */
  readonly expiresAt: number | undefined;
}

/** One cloud's way to a log-in. Remembers nothing: what changed meanwhile counts at the next one. */
export interface CloudProvider {
  /** `Amazon ECR`. */
  readonly title: string;
  /** What to do when it refuses: `give this process ...`. */
  readonly advice: string;
  /**
   * @throws CredentialError when it knows what is wrong; else whatever the library throws, which
   *   may hold secrets.
   */
  fetch(signal: AbortSignal): Promise<CloudGrant>;
}

/** What may stand in a header without being able to start another one. */
const TOKEN_PATTERN = /^[\x21-\x7e]+$/;

/**
 * Loads a library that an installation may have left out.
 *
 * @throws CredentialError when it is not there.
 */
export async function loadLibrary<T>(name: string, load: () => Promise<T>): Promise<T> {
  const loaded = await load().catch((error: unknown) => {
    if (isNotFound(error)) {
      return undefined;
    }
    throw error;
  });
  if (loaded === undefined) {
    throw new CredentialError(
      `it needs the package ${name}, which is not installed: ` +
        "run npm ci in Sluice's folder, and start it again",
    );
  }
  return loaded;
}

/** Whether what was handed out as a token can be one: printable, and not endless. */
export function isToken(value: unknown): value is string {
  return (
    typeof value === "string" &&
    value.length <= CREDENTIAL_LIMITS.cloudLogInBytesMax &&
    TOKEN_PATTERN.test(value)
  );
}

function isNotFound(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  return code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
}
