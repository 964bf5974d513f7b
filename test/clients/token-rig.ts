import { join } from "node:path";
import type { CryptoKey, JWK, JWTPayload } from "jose";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { Test } from "tap";
import { Tokens } from "../../server/clients/tokens.ts";
import type { TokenSettings } from "../../server/settings.ts";
import { TEST_CA } from "../support/tls-fixture.ts";

export const ISSUER = "https://issuer.example";
const START_MS: number = Date.UTC(2026, 0, 1);
export const START: number = START_MS / 1000;

export interface Signer {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
  readonly alg: string;
  readonly jwk: JWK;
}

export async function signerOf(alg: string, kid?: string): Promise<Signer> {
  const pair = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(pair.publicKey);
  return { ...pair, alg, jwk: { ...jwk, ...(kid === undefined ? {} : { kid }) } };
}

export const MAIN: Signer = await signerOf("ES256", "main");
export const STRANGER: Signer = await signerOf("ES256", "main");

/** Taken at the start. */
export const GOOD: JWTPayload = {
  iss: ISSUER,
  aud: "sluice",
  sub: "alice",
  iat: START,
  exp: START + 600,
};

export function sign(claims: JWTPayload, { alg, privateKey, jwk }: Signer = MAIN): Promise<string> {
  const { kid } = jwk;
  const header = { alg, ...(kid === undefined ? {} : { kid }) };
  return new SignJWT(claims).setProtectedHeader(header).sign(privateKey);
}

export function base64url(text: string): string {
  return Buffer.from(text).toString("base64url");
}

/** Signs bytes that no serializer would write. */
export async function signText(
  payload: string,
  header = '{"alg":"ES256","kid":"main"}',
): Promise<string> {
  const body = `${base64url(header)}.${base64url(payload)}`;
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const signature = await crypto.subtle.sign(algorithm, MAIN.privateKey, Buffer.from(body));
  return `${body}.${Buffer.from(signature).toString("base64url")}`;
}

export interface TokenRig {
  readonly tokens: Tokens;
  readonly path: string;
  readonly faults: unknown[];
  pass(ms: number): void;
  /** Why it is refused; undefined when it is taken. */
  refusalOf(token: string): Promise<string | undefined>;
}

/** Of issuers whose audience is `theirs` the keys are others; files are named within its folder. */
export async function openTokens(
  t: Test,
  settings: Partial<TokenSettings>[] = [{}],
  keys: readonly JWK[] = [MAIN.jwk],
  otherKeys: readonly JWK[] = [],
): Promise<TokenRig> {
  const folder = t.testdir({
    "jwks.json": JSON.stringify({ keys }),
    "other.json": JSON.stringify({ keys: otherKeys }),
    "ca.crt": TEST_CA,
    bearer: "first\n",
    odd: "a\r\nb: c",
  });
  const path = join(folder, "jwks.json");
  const faults: unknown[] = [];
  let nowMs = START_MS;
  const tokens = await Tokens.create({
    settings: settings.map((one) => ({
      ...tokenSettings(join(folder, one.audience === "theirs" ? "other.json" : "jwks.json"), one),
      ...(one.caFile === undefined ? {} : { caFile: join(folder, one.caFile) }),
      ...(one.tokenFile === undefined ? {} : { tokenFile: join(folder, one.tokenFile) }),
    })),
    now: () => nowMs,
    onFault: (error) => faults.push(error),
  });
  t.teardown(() => tokens[Symbol.asyncDispose]());
  return {
    tokens,
    path,
    faults,
    pass: (ms) => {
      nowMs += ms;
    },
    refusalOf: (token) =>
      tokens.identify(token).then(
        () => undefined,
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      ),
  };
}

export function tokenSettings(path: string, one: Partial<TokenSettings> = {}): TokenSettings {
  return {
    issuer: ISSUER,
    audience: "sluice",
    nameClaim: "sub",
    groupsClaim: "groups",
    ...(one.jwksUrl === undefined ? { jwksFile: path } : {}),
    ...one,
  };
}
