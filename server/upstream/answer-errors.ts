import type { Credential } from "../credentials/credential.ts";
import { RegistryError } from "../errors.ts";
import { printable } from "./answer-headers.ts";

interface Said {
  readonly code: string;
  readonly message: string;
}

export interface Quoting {
  readonly lengthMax: number;
  /** What the registry was sent, and may have put into its answer. */
  readonly secrets: readonly string[];
}

/** Shorter ones are words that may stand in a message by chance. */
const SECRET_CHARACTERS_MIN = 4;
const AUTHORIZATION = /\b(bearer|basic)\s+(?=[^\s\d"',;)]{0,512}\d)[^\s"',;)]{8,}/gi;
/** A JSON Web Token, or the beginning of one. */
const JWT = /\beyJ[\w.-]{5,}/g;

/**
 * `401 UNAUTHORIZED: authentication required`, as far as the body says so. Safe to be quoted: some
 * registries repeat what they were sent, and those who pull are not those whose log-in it is.
 */
export function describeError(
  status: number,
  body: string,
  { lengthMax, secrets }: Quoting,
): string {
  const said = parseError(body);
  if (said === undefined) {
    return String(status);
  }
  const text = [said.code, said.message].filter((part) => part !== "").join(": ");
  return printable(`${status} ${withoutSecrets(text, secrets)}`, lengthMax);
}

function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret.length >= SECRET_CHARACTERS_MIN)
    .reduce((redacted, secret) => redacted.replaceAll(secret, "[...]"), text)
    .replaceAll(AUTHORIZATION, "$1 [...]")
    .replaceAll(JWT, "[...]");
}

/** What goes out to say who we are: the log-in, and the value of Authorization. */
export function secretsOf(
  credential: Credential | undefined,
  authorization: string | undefined,
): readonly string[] {
  const sent = authorization?.replace(/^\S+ /, "");
  const own = credential?.kind === "basic" ? credential.password : credential?.token;
  return [sent, own].filter((secret) => secret !== undefined);
}

/** Of a 404: the repository is unknown, not only the manifest or blob. */
export function isNameUnknown(body: string): boolean {
  return parseError(body)?.code === "NAME_UNKNOWN";
}

/** Of a 400: it is our log-in that it does not like (ECR). */
export function isDenial(body: string): boolean {
  const code = parseError(body)?.code;
  return code === "DENIED" || code === "UNAUTHORIZED";
}

export interface Refusal {
  readonly name: string;
  readonly subject: string;
  readonly said: string;
  readonly credential: Credential | undefined;
  /** A token service that was asked as nobody, although there is a log-in. */
  readonly withheldFrom: string | undefined;
}

export function refusalOf(refusal: Refusal): RegistryError {
  const { name, subject, said } = refusal;
  return new RegistryError(
    "upstream-refused",
    `${name} refused the pull of ${subject} (${said}): the image does not exist, or ` +
      readingOf(refusal),
  );
}

function readingOf({ name, credential, withheldFrom }: Refusal): string {
  if (credential === undefined) {
    return (
      `it needs credentials and none are configured for ${name}: ` +
      "'sluice explain --credentials' says where they were looked for"
    );
  }
  if (withheldFrom !== undefined) {
    return (
      `it needs the log-in, which its token service ${withheldFrom} was not sent: ` +
      `if that is right, name it in tokenHosts of ${name}`
    );
  }
  return (
    `${logInOf(credential)} that it was sent may not read it, or ended: ` +
    "check them, and what they may read there"
  );
}

/** Which kind of log-in, for messages, without anything of it. */
export function logInOf({ kind }: Credential): string {
  switch (kind) {
    case "basic":
      return "the user name and password";
    case "identity":
      return "the user name and identity token";
    case "registry":
      return "the registry token";
  }
}

/** The first error of the body that distribution-spec v1.1.1 §error-codes describes. */
function parseError(body: string): Said | undefined {
  try {
    const root: unknown = JSON.parse(body);
    const first = at(at(root, "errors"), 0);
    const code = at(first, "code");
    const message = at(first, "message");
    if (typeof code !== "string") {
      return undefined;
    }
    return { code, message: typeof message === "string" ? message : "" };
  } catch {
    return undefined;
  }
}

function at(value: unknown, key: string | number): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) {
    return undefined;
  }
  return (value as Readonly<Record<string | number, unknown>>)[key];
}
