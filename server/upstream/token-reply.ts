import type { UpstreamLimits } from "./upstream-limits.ts";

type LifetimeLimits = Pick<
  UpstreamLimits,
  "tokenLifetimeDefaultSeconds" | "tokenLifetimeMinSeconds" | "tokenLifetimeMaxSeconds"
>;

export interface TokenReply {
  readonly token: string;
  readonly lifetimeSeconds: number;
}

/** What may stand in a header without being able to start another one. */
const TOKEN_PATTERN = /^[\x21-\x7e]+$/;

/**
 * Reads a token service's answer; `undefined` when there is no usable token in it.
 *
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export function parseTokenReply(body: Buffer, limits: LifetimeLimits): TokenReply | undefined {
  const reply = parseObject(body.toString("utf8"));
  const token = [reply?.["token"], reply?.["access_token"]].find(isUsableToken);
  if (token === undefined) {
    return undefined;
  }
  return { token, lifetimeSeconds: lifetimeOf(reply?.["expires_in"], limits) };
}

function lifetimeOf(said: unknown, limits: LifetimeLimits): number {
  if (typeof said !== "number" || !Number.isFinite(said)) {
    return limits.tokenLifetimeDefaultSeconds;
  }
  const { tokenLifetimeMinSeconds, tokenLifetimeMaxSeconds } = limits;
  return Math.min(Math.max(said, tokenLifetimeMinSeconds), tokenLifetimeMaxSeconds);
}

function isUsableToken(value: unknown): value is string {
  return typeof value === "string" && TOKEN_PATTERN.test(value);
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
