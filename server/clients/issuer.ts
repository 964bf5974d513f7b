import type { JWTPayload, JWTVerifyOptions } from "jose";
import { errors, jwtVerify } from "jose";
import type { TokenSettings } from "../settings.ts";
import type { CheckGate } from "./check-gate.ts";
import { LogInProblem } from "./clients-error.ts";
import type { Identity } from "./identity.ts";
import type { KeySet, KeySource } from "./key-set.ts";
import { identityOf } from "./token-claims.ts";

/** Signatures by private keys only: whoever can verify must not be able to sign. */
const ALGORITHMS = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];

/** Clocks that go apart. */
const CLOCK_SKEW_SECONDS = 30;
/** A token without a key id is tried with so many. */
const KEYS_TRIED_MAX = 8;

export interface IssuerOptions {
  readonly settings: TokenSettings;
  readonly keys: KeySource;
  readonly gate: CheckGate;
  /** The wall clock in milliseconds. */
  readonly now: () => number;
}

export interface VerifiedToken {
  readonly identity: Identity;
  readonly expiresAtMs: number;
  /** Of the key set that it was verified with. */
  readonly fingerprint: string;
}

/** None of the keys has signed it: another configured issuer of that name may have. */
export class SignatureProblem extends LogInProblem {}

/** One entry of clients.tokens: whose tokens are taken, and for which audience. */
export class Issuer {
  readonly #options: IssuerOptions;

  constructor(options: IssuerOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.settings.issuer;
  }

  get audience(): string {
    return this.#options.settings.audience;
  }

  /** Of the keys that count now. */
  async fingerprint(): Promise<string> {
    return (await this.#options.keys.current()).fingerprint;
  }

  /** @throws LogInProblem when it is not to be taken; RegistryError `overloaded`. */
  async verify(token: string): Promise<VerifiedToken> {
    const { keys } = this.#options;
    const known = await keys.current();
    try {
      return await this.#verifyWith(known, token);
    } catch (error) {
      const isUnknownKey = error instanceof errors.JWKSNoMatchingKey;
      const newer = isUnknownKey ? await keys.newer(known) : undefined;
      if (newer === undefined) {
        throw this.#explained(error);
      }
      return await this.#verifyWith(newer, token).catch((later: unknown) => {
        throw this.#explained(later);
      });
    }
  }

  async #verifyWith(keys: KeySet, token: string): Promise<VerifiedToken> {
    const { gate, settings } = this.#options;
    const claims = await gate.run(() => verifyWithAny(keys, token, this.#rules()));
    const expiresAtMs = this.#requireTimes(claims);
    const identity = identityOf(claims, settings);
    return { identity, expiresAtMs, fingerprint: keys.fingerprint };
  }

  #rules(): JWTVerifyOptions {
    const { settings, now } = this.#options;
    return {
      issuer: settings.issuer,
      audience: settings.audience,
      algorithms: ALGORITHMS,
      requiredClaims: ["exp"],
      clockTolerance: CLOCK_SKEW_SECONDS,
      currentDate: new Date(now()),
    };
  }

  /** jose looks at iat only together with a longest age, and takes an exp that never comes. */
  #requireTimes({ exp = 0, iat = 0 }: JWTPayload): number {
    const latestMs = this.#options.now() + CLOCK_SKEW_SECONDS * 1000;
    if (!Number.isFinite(exp)) {
      throw new LogInProblem("the token has no end (exp)");
    }
    if (iat * 1000 > latestMs) {
      throw new LogInProblem(`the token was issued in the future, ${momentOf(iat)}`);
    }
    return exp * 1000;
  }

  #explained(error: unknown): unknown {
    if (error instanceof errors.JWTExpired) {
      return new LogInProblem(`the token expired ${momentOf(error.payload.exp)}; get a new one`);
    }
    if (error instanceof errors.JWTClaimValidationFailed) {
      return new LogInProblem(this.#claimProblem(error));
    }
    if (error instanceof errors.JOSEAlgNotAllowed) {
      return new LogInProblem("the token is signed in a way that is not taken (RS, PS, ES, EdDSA)");
    }
    if (error instanceof errors.JWKSNoMatchingKey) {
      return new SignatureProblem(
        "the token is signed with a key that its issuer does not publish",
      );
    }
    if (error instanceof errors.JWSSignatureVerificationFailed) {
      return new SignatureProblem("the signature of the token is wrong");
    }
    return error instanceof errors.JOSEError
      ? new LogInProblem("the token is not a JWT that can be verified", { cause: error })
      : error;
  }

  #claimProblem({ claim, reason, payload }: errors.JWTClaimValidationFailed): string {
    if (reason === "missing") {
      return `the token has no ${claim}`;
    }
    if (reason === "invalid") {
      return `the ${claim} of the token is not what it should be`;
    }
    switch (claim) {
      case "aud":
        return `the token is for another audience than ${this.#options.settings.audience}`;
      case "nbf":
        return `the token is not valid yet, only ${momentOf(payload.nbf)}`;
      default:
        return `the ${claim} of the token is wrong`;
    }
  }
}

/** With the key that the token names; with each that could be meant when it names none. */
async function verifyWithAny(
  { find }: KeySet,
  token: string,
  rules: JWTVerifyOptions,
): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, find, rules)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) {
      throw error;
    }
    let tried = 0;
    for await (const key of error) {
      const payload = await jwtVerify(token, key, rules).then(
        (verified) => verified.payload,
        ignoreSignature,
      );
      tried += 1;
      if (payload !== undefined || tried >= KEYS_TRIED_MAX) {
        return payload ?? noneFits(error);
      }
    }
    return noneFits(error);
  }
}

function ignoreSignature(error: unknown): undefined {
  if (!(error instanceof errors.JWSSignatureVerificationFailed)) {
    throw error;
  }
}

function noneFits(cause: Error): never {
  throw new errors.JWSSignatureVerificationFailed(undefined, { cause });
}

/** Seconds since the epoch as a sentence's end; a token may hold any number. */
function momentOf(seconds: unknown): string {
  const date = new Date(typeof seconds === "number" ? seconds * 1000 : Number.NaN);
  return Number.isNaN(date.getTime()) ? "at no time" : `at ${date.toISOString()}`;
}
