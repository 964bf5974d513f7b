import { isObject } from "../json-object.ts";
import { ACCESS_LIMITS } from "../limits.ts";
import { findKeyProblem } from "../oci/json-keys.ts";
import type { TokenSettings } from "../settings.ts";
import { LogInProblem } from "./clients-error.ts";
import type { Identity } from "./identity.ts";
import { problemOfName } from "./names.ts";

export type Claims = Readonly<Record<string, unknown>>;

/** Three parts of base64url, the first of which begins with `{"` (RFC 7519 §3). */
const TOKEN_PATTERN = /^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;
const GROUPS_MAX = 512;
/** How Kubernetes names the account of a pod. */
const SERVICE_ACCOUNT_PATTERN = /^system:serviceaccount:([a-z0-9-]{1,63}):[a-z0-9.-]{1,253}$/;

/** Whether a text can only be meant as a JWT. */
export function isTokenLike(text: string): boolean {
  return TOKEN_PATTERN.test(text);
}

/**
 * What a token says of its issuer before anything of it is proved: which keys to try, no more.
 *
 * @throws LogInProblem when it cannot be read in one way only.
 */
export function readUnverifiedIssuer(token: string): string {
  if (token.length > ACCESS_LIMITS.tokenCharactersMax) {
    const { tokenCharactersMax } = ACCESS_LIMITS;
    throw new LogInProblem(`the token is longer than ${tokenCharactersMax} characters`);
  }
  if (!isTokenLike(token)) {
    throw new LogInProblem("the token is not a JWT");
  }
  const [header = "", payload = ""] = token.split(".", 2);
  readPart(header);
  const issuer = memberOf(readPart(payload), "iss");
  if (typeof issuer !== "string") {
    throw new LogInProblem("the token has no issuer (iss)");
  }
  return issuer;
}

/** Whether a token that readUnverifiedIssuer could read says that it is for an audience. */
export function isUnverifiedFor(token: string, audience: string): boolean {
  const [, payload = ""] = token.split(".", 2);
  return [memberOf(readPart(payload), "aud")].flat().includes(audience);
}

/** jose takes the last of two members of one name, others the first: neither is taken here. */
function readPart(part: string): Claims {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(part, "base64url"));
    value = JSON.parse(text);
  } catch (cause) {
    throw new LogInProblem("the token is not a JWT: a part of it is not JSON", { cause });
  }
  if (findKeyProblem(text) !== undefined) {
    throw new LogInProblem("the token says something twice");
  }
  if (!isObject(value)) {
    throw new LogInProblem("the token is not a JWT: a part of it is no object");
  }
  return value;
}

/**
 * Whom a token that was verified is about.
 *
 * @throws LogInProblem when it names nobody, or groups that no list of ours could hold.
 */
export function identityOf(claims: Claims, settings: TokenSettings): Identity {
  const { nameClaim, groupsClaim } = settings;
  const name = memberOf(claims, nameClaim);
  if (typeof name !== "string") {
    throw new LogInProblem(`the token has no ${nameClaim}, by which clients are known here`);
  }
  requireName(name, nameClaim);
  const groups = readGroups(memberOf(claims, groupsClaim), groupsClaim);
  return {
    name,
    names: [name],
    groups: [...groups, ...serviceAccountGroups(memberOf(claims, "sub"))],
    method: "token",
  };
}

function readGroups(claim: unknown, groupsClaim: string): readonly string[] {
  const list: readonly unknown[] = Array.isArray(claim) ? claim : [claim ?? []].flat();
  if (list.length > GROUPS_MAX) {
    throw new LogInProblem(`the token has more than ${GROUPS_MAX} ${groupsClaim}`);
  }
  return list.map((group) => {
    if (typeof group !== "string") {
      throw new LogInProblem(`the ${groupsClaim} of the token is no text and no list of texts`);
    }
    requireName(group, groupsClaim);
    return group;
  });
}

function requireName(name: string, claim: string): void {
  const problem = problemOfName(name);
  if (problem !== undefined) {
    throw new LogInProblem(`the ${claim} of the token ${problem}`);
  }
}

/** What Kubernetes itself takes a service account for. */
function serviceAccountGroups(subject: unknown): readonly string[] {
  const [, namespace] =
    SERVICE_ACCOUNT_PATTERN.exec(typeof subject === "string" ? subject : "") ?? [];
  return namespace === undefined
    ? []
    : ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
}

function memberOf(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}
