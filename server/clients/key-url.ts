import { RegistryError } from "../errors.ts";
import { ACCESS_LIMITS } from "../limits.ts";
import type { TokenSettings } from "../settings.ts";
import { ClientsError } from "./clients-error.ts";
import { fetchKeySet } from "./fetch-key-set.ts";
import type { KeySet, KeySource } from "./key-set.ts";
import { parseKeySet } from "./key-set.ts";
import { whyOf } from "./source-file.ts";

/** After that it is fetched anew in the background, so that a key that was withdrawn ends. */
const FRESH_MS = 600_000;
/** After a failure, while there are no keys at all. */
const RETRY_MS = 5000;

export interface KeyUrlOptions {
  readonly settings: TokenSettings & { readonly jwksUrl: string };
  /** The wall clock in milliseconds. */
  readonly now: () => number;
  readonly onFault: (error: unknown) => void;
}

/**
 * A JWK set at a url: fetched at the start, anew every ten minutes, and when a token names a key
 * that is not in it, though not often. What was fetched last counts as long as the url is down.
 */
export class KeyUrl implements KeySource {
  readonly #options: KeyUrlOptions;
  readonly #closing = new AbortController();
  #last: KeySet | undefined;
  #fetchedAtMs = 0;
  #triedAtMs: number | undefined;
  #fetching: Promise<void> | undefined;
  #fault: string | undefined;

  constructor(options: KeyUrlOptions) {
    this.#options = options;
  }

  async current(): Promise<KeySet> {
    if (this.#last === undefined) {
      await this.#refresh(RETRY_MS);
    } else if (this.#hasPassed(FRESH_MS, this.#fetchedAtMs)) {
      void this.#refresh(ACCESS_LIMITS.keySetCooldownMs); // in the background: the last is good
    }
    if (this.#last === undefined) {
      throw new RegistryError(
        "overloaded",
        "the keys that this token would be checked with cannot be fetched for now; the log says " +
          "why (clients.tokens jwksUrl); try again in a moment",
        { retryAfterSeconds: RETRY_MS / 1000 },
      );
    }
    return this.#last;
  }

  async newer(known: KeySet): Promise<KeySet | undefined> {
    if (this.#last?.fingerprint === known.fingerprint) {
      await this.#refresh(ACCESS_LIMITS.keySetCooldownMs);
    }
    return this.#last?.fingerprint === known.fingerprint ? undefined : this.#last;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the configuration has changed"));
    await this.#fetching;
  }

  /** One at a time, and none when the last one began less than `cooldownMs` ago. Never rejects. */
  #refresh(cooldownMs: number): Promise<void> {
    if (this.#fetching !== undefined) {
      return this.#fetching;
    }
    if (this.#triedAtMs !== undefined && !this.#hasPassed(cooldownMs, this.#triedAtMs)) {
      return Promise.resolve();
    }
    this.#triedAtMs = this.#options.now();
    this.#fetching = this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<void> {
    try {
      const text = await fetchKeySet(this.#options.settings, this.#closing.signal);
      this.#last = parseKeySet(text);
      this.#fetchedAtMs = this.#options.now();
      this.#fault = undefined;
    } catch (error) {
      if (!this.#closing.signal.aborted) {
        this.#tell(error);
      }
    }
  }

  #tell(cause: unknown): void {
    const why = whyOf(cause);
    if (why === this.#fault) {
      return;
    }
    this.#fault = why;
    const { origin, pathname } = new URL(this.#options.settings.jwksUrl);
    const until =
      this.#last === undefined
        ? "until it can be fetched, no token of its issuer is taken"
        : "the keys that were fetched last stay in force";
    const message = `clients.tokens jwksUrl ${origin}${pathname}: ${why}; ${until}`;
    this.#options.onFault(new ClientsError(message, { cause }));
  }

  /** Also after a clock that was set back. */
  #hasPassed(periodMs: number, sinceMs: number): boolean {
    return Math.abs(this.#options.now() - sinceMs) >= periodMs;
  }
}
