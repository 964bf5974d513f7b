import { CREDENTIAL_LIMITS } from "../limits.ts";
import { within } from "../within.ts";
import { describeProblem } from "./cloud-problem.ts";
import type { CloudGrant, CloudProvider } from "./cloud-provider.ts";
import type { Credential } from "./credential.ts";
import { CredentialError, fingerprintOf } from "./credential.ts";

/** After a renewal that failed while the log-in in use is still good. */
const RENEW_RETRY_MS = 60_000;
/** Part of a log-in's life after which it is renewed, ahead of need. */
const RENEW_AT = 0.8;
/** Not used any more so long before its end: a pull that begins with it may take some requests. */
const MARGIN_MS = 60_000;
/** When it does not say; none of them hands out shorter ones. */
const LIFETIME_DEFAULT_MS = 300_000;
/** One that is refused at this age is not fetched anew: another one would be refused as well. */
const NEW_MS = 60_000;

export interface KeptLogInOptions {
  /** For messages: `auth of upstream team.example, with provider ecr`. */
  readonly description: string;
  readonly provider: CloudProvider;
  /** The wall clock in milliseconds. */
  readonly now: () => number;
}

interface Kept {
  readonly credential: Credential;
  readonly fetchedAt: number;
  readonly renewAt: number;
  /** Not used from then on. */
  readonly endsAt: number;
  /** A registry said no to it, for one image at least: another one is to be fetched first. */
  readonly isRefused: boolean;
}

interface Failure {
  readonly error: CredentialError;
  readonly at: number;
}

/**
 * One log-in of a cloud, in memory. However many wait for it, it is fetched once; it is renewed in
 * the background while it is still good, and a failure is remembered for a while.
 */
export class KeptLogIn {
  readonly #options: KeptLogInOptions;
  #kept: Kept | undefined;
  #failure: Failure | undefined;
  #pending: Promise<Credential> | undefined;

  constructor(options: KeptLogInOptions) {
    this.#options = options;
  }

  /** @throws CredentialError when there is none, and none is to be had. */
  async get(): Promise<Credential> {
    const kept = this.#kept;
    const now = this.#options.now();
    if (kept !== undefined && now < kept.endsAt) {
      const mayRenew = !this.#hasFailedWithin(RENEW_RETRY_MS);
      if (kept.isRefused && mayRenew) {
        return await this.#fetchOnce().catch(() => kept.credential);
      }
      if (now >= kept.renewAt && mayRenew) {
        this.#fetchOnce().catch(() => undefined); // the kept one is still good
      }
      return kept.credential;
    }
    if (this.#failure !== undefined && this.#hasFailedWithin(CREDENTIAL_LIMITS.cloudRetryMs)) {
      throw this.#failure.error;
    }
    return await this.#fetchOnce();
  }

  /**
   * One that a registry refused is replaced, unless it is so new that another would be no better. It
   * is not forgotten: whoever asks for an image that is not his, or not there, has it refused.
   */
  refused(credential: Credential): void {
    const kept = this.#kept;
    if (
      kept !== undefined &&
      this.#options.now() - kept.fetchedAt >= NEW_MS &&
      fingerprintOf(kept.credential) === fingerprintOf(credential)
    ) {
      this.#kept = { ...kept, isRefused: true };
    }
  }

  #hasFailedWithin(ms: number): boolean {
    return this.#failure !== undefined && this.#options.now() - this.#failure.at < ms;
  }

  #fetchOnce(): Promise<Credential> {
    this.#pending ??= this.#fetch().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #fetch(): Promise<Credential> {
    const { provider, now } = this.#options;
    const aborter = new AbortController();
    const asking = provider.fetch(aborter.signal);
    const grant = await within(asking, CREDENTIAL_LIMITS.cloudTimeoutMs).catch(
      (error: unknown): never => this.#giveUp(error),
    );
    if (grant === undefined) {
      aborter.abort();
      this.#giveUp(new CredentialError(this.#slowText()));
    }
    this.#kept = keep(grant, now());
    this.#failure = undefined;
    return grant.credential;
  }

  /** The cause is left out on purpose: a library's errors hold requests and tokens. */
  #giveUp(cause: unknown): never {
    const { description, provider, now } = this.#options;
    const why =
      cause instanceof CredentialError
        ? cause.message
        : `${provider.title} gave no log-in: ${describeProblem(cause)}; ${provider.advice}`;
    const error = new CredentialError(`${description}: ${why}`);
    this.#failure = { error, at: now() };
    throw error;
  }

  #slowText(): string {
    const { title, advice } = this.#options.provider;
    const seconds = CREDENTIAL_LIMITS.cloudTimeoutMs / 1000;
    return `${title} gave no log-in within ${seconds} s: look whether it can be reached; ${advice}`;
  }
}

/**
 * One that ends soon is used for half of its life at least; one that has ended already, as our
 * clock has it, for as long as a failure would be remembered: the registry judges it.
 */
function keep({ credential, expiresAt }: CloudGrant, fetchedAt: number): Kept {
  const { cloudLifetimeMaxMs, cloudRetryMs } = CREDENTIAL_LIMITS;
  const saidMs =
    expiresAt === undefined || !Number.isFinite(expiresAt)
      ? LIFETIME_DEFAULT_MS
      : expiresAt - fetchedAt;
  const lifetimeMs = Math.min(Math.max(saidMs, cloudRetryMs), cloudLifetimeMaxMs);
  return {
    credential,
    fetchedAt,
    renewAt: fetchedAt + lifetimeMs * RENEW_AT,
    endsAt: fetchedAt + Math.max(lifetimeMs - MARGIN_MS, lifetimeMs / 2),
    isRefused: false,
  };
}
