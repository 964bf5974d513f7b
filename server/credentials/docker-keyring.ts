import type { JsonObject } from "../json-object.ts";
import { isObject } from "../json-object.ts";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { Credential } from "./credential.ts";
import { CredentialError } from "./credential.ts";
import { NO_USERNAME } from "./docker-helper.ts";
import { describeJsonFault, parseJson } from "./json-fault.ts";
import type { ImageKey } from "./key-matching.ts";
import { bestKeysFirst, parseImageKey } from "./key-matching.ts";

export interface KeyringEntry extends ImageKey {
  /** As the file has it. */
  readonly key: string;
  /** Undefined when the file says only that there is one, and a store has it. */
  readonly credential: Credential | undefined;
}

/** What a docker configuration says of log-ins. */
export interface Keyring {
  /** The best first. */
  readonly entries: readonly KeyringEntry[];
  /** From `host[:port]`, Docker Hub as `docker.io`, to a helper; an empty one means none at all. */
  readonly helpers: ReadonlyMap<string, string>;
  /** The helper for everything else; empty for none. */
  readonly store: string;
}

const EXPECTED =
  "expected what docker login writes to config.json, or a Kubernetes secret's .dockerconfigjson " +
  "or .dockercfg, decoded from base64";

/**
 * Reads `config.json`, which is `.dockerconfigjson`, or the older `.dockercfg`, a map without
 * `auths`. Entries that make no sense are left out, as the kubelet does.
 *
 * @throws CredentialError without anything of the content.
 */
export function parseKeyring(path: string, text: string): Keyring {
  const root = parse(path, text);
  const isOlder = !["auths", "credHelpers", "credsStore"].some((name) => Object.hasOwn(root, name));
  const auths = isOlder ? root : objectAt(path, root, "auths");
  const helpers = objectAt(path, root, "credHelpers");
  requireFew(path, "auths", Object.keys(auths));
  requireFew(path, "credHelpers", Object.keys(helpers));
  const store = root["credsStore"] ?? "";
  if (typeof store !== "string") {
    throw new CredentialError(`credsStore of ${path} is no text; expected the name of a helper`);
  }
  return { entries: entriesOf(auths), helpers: helpersOf(path, helpers), store };
}

function parse(path: string, text: string): JsonObject {
  const root = parseJson(text);
  if (root === undefined) {
    throw new CredentialError(`${path} is not JSON: ${describeJsonFault(text)}; ${EXPECTED}`);
  }
  if (!isObject(root)) {
    throw new CredentialError(`${path} is not a JSON object; ${EXPECTED}`);
  }
  return root;
}

function objectAt(path: string, root: JsonObject, name: string): JsonObject {
  const member = root[name] ?? {};
  if (!isObject(member)) {
    throw new CredentialError(`${name} of ${path} is not a JSON object; ${EXPECTED}`);
  }
  return member;
}

function requireFew(path: string, name: string, { length }: readonly unknown[]): void {
  const max = CREDENTIAL_LIMITS.dockerEntriesMax;
  if (length > max) {
    throw new CredentialError(`${path} has ${length} entries in ${name}; expected at most ${max}`);
  }
}

function entriesOf(auths: JsonObject): readonly KeyringEntry[] {
  const entries: KeyringEntry[] = [];
  for (const [key, value] of Object.entries(auths)) {
    const imageKey = parseImageKey(key);
    if (imageKey !== undefined && isObject(value)) {
      entries.push({ key, ...imageKey, credential: credentialOf(value) });
    }
  }
  return bestKeysFirst(entries);
}

function helpersOf(path: string, helpers: JsonObject): ReadonlyMap<string, string> {
  const named = new Map<string, string>();
  for (const [key, value] of Object.entries(helpers)) {
    if (typeof value !== "string") {
      throw new CredentialError(
        `credHelpers of ${path} has an entry that is no text; expected the name of a helper for ` +
          'each host, as "gcr.io": "gcr"',
      );
    }
    const host = parseImageKey(key)?.name;
    if (host !== undefined) {
      named.set(host, value);
    }
  }
  return named;
}

/** `auth` wins over `username` and `password`, an identity token over all of them. */
function credentialOf(entry: JsonObject): Credential | undefined {
  const decoded = decodeAuth(textOf(entry["auth"]));
  const username = decoded?.username ?? textOf(entry["username"]);
  const identity = textOf(entry["identitytoken"]);
  if (identity !== undefined) {
    return { kind: "identity", username: username ?? NO_USERNAME, token: identity };
  }
  const registry = textOf(entry["registrytoken"]);
  if (registry !== undefined) {
    // It is sent in a header as it is, and must not be able to start another one.
    return /^[\x21-\x7e]+$/.test(registry) ? { kind: "registry", token: registry } : undefined;
  }
  const password = decoded?.password ?? textOf(entry["password"]);
  if (username === undefined || password === undefined) {
    return undefined;
  }
  return { kind: "basic", username, password };
}

/** base64 of `user:password`; the password may hold colons, and some tools pad with NULs. */
function decodeAuth(
  auth: string | undefined,
): { readonly username: string; readonly password: string } | undefined {
  if (auth === undefined) {
    return undefined;
  }
  const text = Buffer.from(auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon === -1) {
    return undefined;
  }
  const password = text.slice(colon + 1).replaceAll("\0", "");
  return { username: text.slice(0, colon), password };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
