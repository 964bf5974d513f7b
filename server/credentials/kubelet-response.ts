import { CREDENTIAL_LIMITS } from "../limits.ts";
import { PROVIDER_API } from "./kubelet-config.ts";
import { parseGoDuration } from "./kubelet-duration.ts";

const KIND = "CredentialProviderResponse";
const SCOPES: ReadonlySet<unknown> = new Set<Scope>(["Image", "Registry", "Global"]);
/** What may be quoted of an answer: nothing that could be a log-in. */
const QUOTABLE_PATTERN = /^[A-Za-z0-9./]{1,64}$/;
const KEY_PATTERN = /^[!-~]{1,512}$/;
const CONTROL_PATTERN = /\p{Cc}/u;

/** What an answer is good for: that image, all images of its registry, or all images. */
export type Scope = "Image" | "Registry" | "Global";

export interface PluginLogIn {
  /** `[scheme://]host[:port][/path]`, with globs in the host's labels. */
  readonly key: string;
  readonly username: string;
  readonly password: string;
}

export interface PluginResponse {
  readonly scope: Scope;
  /** How long it may be kept. Undefined: as long as the provider's configuration says. */
  readonly cacheMs: number | undefined;
  readonly logIns: readonly PluginLogIn[];
}

/** Says what is wrong with an answer, and nothing of what stands in it. */
export class ResponseError extends Error {
  override readonly name = "ResponseError";
}

/**
 * What a plugin wrote, as the kubelet reads it. Fields that we do not know are passed over.
 *
 * @throws ResponseError
 * @see https://kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1/
 */
export function parseResponse(text: string): PluginResponse {
  const fields = parseObject(text);
  const apiVersion = fields.get("apiVersion");
  if (apiVersion !== PROVIDER_API) {
    throw mismatch("apiVersion", apiVersion, PROVIDER_API);
  }
  const kind = fields.get("kind");
  if (kind !== KIND) {
    throw mismatch("kind", kind, KIND);
  }
  const scope = fields.get("cacheKeyType");
  if (!isScope(scope)) {
    throw mismatch("cacheKeyType", scope, "Image, Registry or Global");
  }
  const cacheMs = durationOf(fields.get("cacheDuration"));
  return { scope, cacheMs, logIns: logInsOf(fields.get("auth")) };
}

function parseObject(text: string): ReadonlyMap<string, unknown> {
  if (text.trim() === "") {
    throw new ResponseError("it printed nothing, expected a JSON object");
  }
  return entriesOf(parsed(text)) ?? refuse("it printed what is not a JSON object");
}

/** The parser's error quotes the text: it must not even be a cause. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isScope(value: unknown): value is Scope {
  return SCOPES.has(value);
}

function durationOf(value: unknown): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  const duration = value === 0 ? 0 : typeof value === "string" ? parseGoDuration(value) : undefined;
  return duration ?? refuse('cacheDuration is no duration such as "5m0s"');
}

function logInsOf(value: unknown): readonly PluginLogIn[] {
  if (value === undefined || value === null) {
    return [];
  }
  const entries = entriesOf(value) ?? refuse("auth is not an object");
  if (entries.size > CREDENTIAL_LIMITS.kubeletItemsMax) {
    refuse(`auth has more than ${CREDENTIAL_LIMITS.kubeletItemsMax} keys`);
  }
  return [...entries].flatMap(([key, logIn]) => logInOf(key, logIn));
}

/** One without user and password says that none is needed. */
function logInOf(key: string, value: unknown): readonly PluginLogIn[] {
  if (!KEY_PATTERN.test(key)) {
    refuse("a key of auth is not host[:port][/path]");
  }
  const fields = entriesOf(value) ?? refuse("an entry of auth is not an object");
  const username = secretOf("username", fields.get("username"));
  const password = secretOf("password", fields.get("password"));
  if (username.includes(":")) {
    refuse("a username in auth has a colon, which ends it (RFC 7617)");
  }
  return username === "" && password === "" ? [] : [{ key, username, password }];
}

function secretOf(name: string, value: unknown): string {
  const text = value ?? "";
  if (
    typeof text !== "string" ||
    text.length > CREDENTIAL_LIMITS.kubeletSecretCharactersMax ||
    CONTROL_PATTERN.test(text)
  ) {
    const limit = CREDENTIAL_LIMITS.kubeletSecretCharactersMax;
    return refuse(`a ${name} in auth is not text of at most ${limit} printable characters`);
  }
  return text;
}

function entriesOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? new Map<string, unknown>(Object.entries(value))
    : undefined;
}

function mismatch(name: string, value: unknown, expected: string): ResponseError {
  const isQuotable = typeof value === "string" && QUOTABLE_PATTERN.test(value);
  const found = isQuotable ? value : value === undefined ? "not there" : "something else";
  return new ResponseError(`its ${name} is ${found}, expected ${expected}`);
}

function refuse(message: string): never {
  throw new ResponseError(message);
}
