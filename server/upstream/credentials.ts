import { LRUCache } from "lru-cache";
import type { Credential, CredentialSource, FoundCredential } from "../credentials/credential.ts";
import { CredentialError, fingerprintOf } from "../credentials/credential.ts";
import { RegistryError } from "../errors.ts";
import { ACCESS_LIMITS, CREDENTIAL_LIMITS } from "../limits.ts";

/** Who we are at one registry. */
export interface LogIns {
  /**
   * Undefined means anonymous.
   *
   * @throws RegistryError `upstream-unavailable` when what is configured cannot be looked up: to go
   *   on without it would only turn into a refusal that says nothing.
   */
  find(repository: string): Promise<FoundCredential | undefined>;
  /** It was refused there. True when another one is worth a try. */
  refuse(repository: string, found: FoundCredential): Promise<boolean>;
  /** How long a token that one of them got is good enough; undefined: as long as it lasts. */
  readonly tokenAgeMaxMs?: number | undefined;
}

/**
 * One upstream's log-ins, looked up anew for each use, so that a changed file counts at once. The
 * sources are asked in order, and what each of them has is tried in order, as the kubelet does.
 */
export class Credentials implements LogIns {
  readonly #registry: string;
  readonly #sources: readonly CredentialSource[];
  /** Refused a moment ago, by repository: asked for only when there is no other. */
  readonly #refused = new LRUCache<string, true>({
    max: CREDENTIAL_LIMITS.refusedMax,
    ttl: CREDENTIAL_LIMITS.refusedMs,
  });

  /** @param registry - the upstream's canonical name. */
  constructor(registry: string, sources: readonly CredentialSource[]) {
    this.#registry = registry;
    this.#sources = sources;
  }

  async find(repository: string): Promise<FoundCredential | undefined> {
    let first: FoundCredential | undefined;
    let count = 0;
    for (const source of this.#sources) {
      for (const found of await this.#ask(source, repository)) {
        count += 1;
        if (count > CREDENTIAL_LIMITS.candidatesMax) {
          return first;
        }
        if (!this.#refused.has(keyOf(repository, found.credential))) {
          return found;
        }
        first ??= found;
      }
    }
    return first;
  }

  async refuse(repository: string, found: FoundCredential): Promise<boolean> {
    this.#refused.set(keyOf(repository, found.credential), true);
    for (const source of this.#sources) {
      source.refused?.(found);
    }
    const next = await this.find(repository);
    return next !== undefined && !this.#refused.has(keyOf(repository, next.credential));
  }

  async #ask(source: CredentialSource, repository: string): Promise<readonly FoundCredential[]> {
    try {
      return await source.find({ registry: this.#registry, repository });
    } catch (error) {
      throw unavailable(this.#registry, source, error);
    }
  }
}

/** A client's log-in, where we have none of our own. */
export class ClientLogIns implements LogIns {
  /**
   * Of what proves a right: a password that was changed there must not go on proving it with a token
   * that it got before, which may last for an hour.
   */
  readonly tokenAgeMaxMs: number | undefined;
  readonly #own: LogIns | undefined;
  readonly #theirs: FoundCredential | undefined;

  constructor(own: LogIns | undefined, theirs: Credential | undefined) {
    this.#own = own;
    this.tokenAgeMaxMs = own === undefined ? ACCESS_LIMITS.entitledMs : undefined;
    this.#theirs = theirs && { credential: theirs, from: "the client's request" };
  }

  async find(repository: string): Promise<FoundCredential | undefined> {
    return (await this.#own?.find(repository)) ?? this.#theirs;
  }

  async refuse(repository: string, found: FoundCredential): Promise<boolean> {
    return found !== this.#theirs && (await this.#own?.refuse(repository, found)) === true;
  }
}

function keyOf(repository: string, credential: Credential): string {
  return `${repository} ${fingerprintOf(credential)}`;
}

/** Who pulls is told which source is broken; what it said itself is for our log. */
function unavailable(registry: string, source: CredentialSource, cause: unknown): RegistryError {
  const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
  const failed = cause instanceof CredentialError ? "failed" : `cannot be read${code}`;
  return new RegistryError(
    "upstream-unavailable",
    `the credential that is configured for ${registry} cannot be looked up: ` +
      `${source.description} ${failed}; the log of the proxy says more`,
    { cause },
  );
}
