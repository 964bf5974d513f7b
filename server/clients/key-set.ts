import { hash } from "node:crypto";
import type { JSONWebKeySet, JWK, LocalJWKSet } from "jose";
import { createLocalJWKSet } from "jose";
import { isObject } from "../json-object.ts";
import { ACCESS_LIMITS } from "../limits.ts";
import { ClientsError } from "./clients-error.ts";

/** Public keys of an issuer (RFC 7517). */
export interface KeySet {
  /** The same for the same keys. */
  readonly fingerprint: string;
  readonly find: LocalJWKSet;
}

/** Where an issuer's keys come from, as they change. */
export interface KeySource extends AsyncDisposable {
  /** @throws RegistryError `overloaded` when there have never been any. */
  current(): Promise<KeySet>;
  /** For a key that is not in `known`: a later set, or undefined when there is none for now. */
  newer(known: KeySet): Promise<KeySet | undefined>;
}

/** What a public key is made of; nothing else of it is looked at. */
const TEXT_MEMBERS = ["kty", "kid", "use", "alg", "crv", "x", "y", "n", "e"] as const;
const PUBLIC_KINDS: ReadonlySet<string> = new Set(["RSA", "EC", "OKP"]);
/** RSA of 8192 bits in base64url; larger ones are slow, and nobody's. */
const MODULUS_CHARACTERS_MAX = 1366;
const EXPONENT_CHARACTERS_MAX = 6;

/**
 * Keys of other kinds are passed over (RFC 7517 §5).
 *
 * @throws ClientsError, as a sentence about "it", without its content.
 */
export function parseKeySet(text: string): KeySet {
  const value = parseJson(text);
  const list = isObject(value) && Object.hasOwn(value, "keys") ? value["keys"] : undefined;
  if (!Array.isArray(list)) {
    throw new ClientsError("it is no JWK set: an object whose keys are a list");
  }
  if (list.length > ACCESS_LIMITS.keysMax) {
    throw new ClientsError(`it has more than ${ACCESS_LIMITS.keysMax} keys, which is the limit`);
  }
  const keys = list.flatMap((member: unknown) => readKey(member));
  if (keys.length === 0) {
    throw new ClientsError("it has no public key of type RSA, EC or OKP");
  }
  const set: JSONWebKeySet = { keys };
  return {
    fingerprint: hash("sha256", JSON.stringify(set), "base64url"),
    find: createLocalJWKSet(set),
  };
}

/** Undefined for what is not JSON: the parser's own message quotes the text. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return;
  }
}

function readKey(member: unknown): readonly JWK[] {
  if (!isObject(member)) {
    throw new ClientsError("one of its keys is no object");
  }
  const { kty } = member;
  if (kty === "oct" || Object.hasOwn(member, "d")) {
    throw new ClientsError("it has a secret or private key; give it the public ones only");
  }
  if (typeof kty !== "string" || !PUBLIC_KINDS.has(kty)) {
    return [];
  }
  const key: JWK = { kty };
  for (const name of TEXT_MEMBERS) {
    const part = readMember(member, name);
    if (part !== undefined) {
      key[name] = part;
    }
  }
  requireFast(key);
  return [key];
}

function readMember(member: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const part = Object.hasOwn(member, name) ? member[name] : undefined;
  if (part !== undefined && typeof part !== "string") {
    throw new ClientsError(`the ${name} of one of its keys is no text`);
  }
  return part;
}

function requireFast({ n = "", e = "" }: JWK): void {
  if (n.length > MODULUS_CHARACTERS_MAX || e.length > EXPONENT_CHARACTERS_MAX) {
    throw new ClientsError("one of its RSA keys has more than 8192 bits, or an odd exponent");
  }
}
