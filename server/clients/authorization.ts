import type { Credential } from "../credentials/credential.ts";

/** What an Authorization header holds (RFC 7617, RFC 6750). */
export type Authorization =
  | { readonly scheme: "basic"; readonly username: string; readonly password: string }
  | { readonly scheme: "bearer"; readonly token: string };

const TOKEN_PATTERN = /^[A-Za-z0-9\-._~+/]+=*$/;

/**
 * Undefined for what is neither; and for an empty user with an empty password, which is how podman
 * says that it has none.
 */
export function parseAuthorization(header: string | undefined): Authorization | undefined {
  const [, scheme = "", value = ""] = /^([A-Za-z]+) +(\S+)$/.exec(header ?? "") ?? [];
  switch (scheme.toLowerCase()) {
    case "basic":
      return parseBasic(value);
    case "bearer":
      return TOKEN_PATTERN.test(value) ? { scheme: "bearer", token: value } : undefined;
    default:
      return;
  }
}

function parseBasic(value: string): Authorization | undefined {
  const text = decode(value);
  const colon = text?.indexOf(":") ?? -1;
  if (text === undefined || colon < 0 || text === ":") {
    return;
  }
  return { scheme: "basic", username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Strictly: of two spellings of one log-in, one would be a way past whoever compares them. */
function decode(base64: string): string | undefined {
  const bytes = Buffer.from(base64, "base64");
  if (bytes.toString("base64") !== base64) {
    return;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return;
  }
}

/** Whether a header says nothing: it is blank, or podman's way to say that it has no log-in. */
export function isEmptyLogIn(header: string | undefined): boolean {
  return (
    header === undefined || header.trim() === "" || /^[Bb][Aa][Ss][Ii][Cc] +Og==$/.test(header)
  );
}

/** As a log-in to a registry: a Bearer is taken there as it is. */
export function asCredential(authorization: Authorization | undefined): Credential | undefined {
  if (authorization === undefined) {
    return;
  }
  if (authorization.scheme === "bearer") {
    return { kind: "registry", token: authorization.token };
  }
  const { username, password } = authorization;
  return { kind: "basic", username, password };
}
