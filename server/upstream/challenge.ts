/** One way of logging in that a server offers: `Bearer realm="…",service="…",scope="…"`. */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case; of a name that is given twice, the first counts. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** A server that sends more is not asking for a log-in. */
const HEADER_LENGTH_MAX = 8192;
const CHALLENGES_MAX = 16;
const PARAMETERS_MAX = 16;

const TOKEN_PATTERN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const TOKEN68_PATTERN = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const ASSIGN_PATTERN = /[ \t]*=[ \t]*/y;
const QUOTED_PATTERN = /"((?:[^"\\]|\\.)*)"/sy;
const SPACE_PATTERN = /[ \t]+/y;
const SEPARATOR_PATTERN = /[ \t]*(?:,[ \t]*)*/y;

/**
 * Reads the WWW-Authenticate fields of an answer (RFC 9110 §11.6.1), where challenges and their
 * parameters are both separated by commas. Reading ends at the first thing that is neither; what
 * was read before it is returned. Never throws.
 */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const challenges: Challenge[] = [];
  for (const field of typeof header === "string" ? [header] : (header ?? [])) {
    if (field.length <= HEADER_LENGTH_MAX) {
      challenges.push(...new ChallengeReader(field).read());
    }
  }
  return challenges.slice(0, CHALLENGES_MAX);
}

/** The challenge to answer: Bearer is preferred to Basic, since its secret is short-lived. */
export function preferredChallenge(challenges: readonly Challenge[]): Challenge | undefined {
  const bearer = challenges.find(
    ({ scheme, parameters }) => scheme === "bearer" && parameters.has("realm"),
  );
  return bearer ?? challenges.find(({ scheme }) => scheme === "basic");
}

class ChallengeReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): Challenge[] {
    const challenges: Challenge[] = [];
    this.#take(SEPARATOR_PATTERN);
    while (this.#at < this.#text.length && challenges.length < CHALLENGES_MAX) {
      const scheme = this.#take(TOKEN_PATTERN);
      if (scheme === undefined) {
        break;
      }
      const parameters = this.#parameters();
      challenges.push({ scheme: scheme[0].toLowerCase(), parameters });
    }
    return challenges;
  }

  /** Until the end, or until a token without `=`, which is the next challenge's scheme. */
  #parameters(): Map<string, string> {
    const parameters = new Map<string, string>();
    if (this.#take(SPACE_PATTERN) !== undefined && this.#take(TOKEN68_PATTERN) !== undefined) {
      this.#take(SEPARATOR_PATTERN);
      return parameters;
    }
    for (let count = 0; count < PARAMETERS_MAX; count += 1) {
      this.#take(SEPARATOR_PATTERN);
      const start = this.#at;
      const name = this.#take(TOKEN_PATTERN)?.[0].toLowerCase();
      if (name === undefined || this.#take(ASSIGN_PATTERN) === undefined) {
        this.#at = start;
        break;
      }
      const value = this.#value();
      if (value === undefined) {
        this.#at = this.#text.length;
        break;
      }
      if (!parameters.has(name)) {
        parameters.set(name, value);
      }
    }
    this.#take(SEPARATOR_PATTERN);
    return parameters;
  }

  #value(): string | undefined {
    const quoted = this.#take(QUOTED_PATTERN);
    if (quoted !== undefined) {
      return quoted[1]?.replaceAll(/\\(.)/gs, "$1") ?? "";
    }
    return this.#take(TOKEN_PATTERN)?.[0];
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) {
      return undefined;
    }
    this.#at = pattern.lastIndex;
    return match;
  }
}
