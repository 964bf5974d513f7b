import { createHash } from "node:crypto";

/** How we log in to a registry. Never part of a message, a log or a label. */
export type Credential =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** A refresh token, which only a token service takes. */
  | { readonly kind: "identity"; readonly username: string; readonly token: string }
  /** A token that the registry takes as it is. */
  | { readonly kind: "registry"; readonly token: string };

/** What a log-in is looked up for. */
export interface ImageName {
  /** The upstream's canonical name: `docker.io`, `team.example:5000`. */
  readonly registry: string;
  /** Without the registry: `library/alpine`. */
  readonly repository: string;
}

export interface FoundCredential {
  readonly credential: Credential;
  /**
   * Where it stands, for people, without anything secret:
   * `/etc/sluice/config.json, auths key "team.example/a"`.
   */
  readonly from: string;
}

/** A place where log-ins are kept. */
export interface CredentialSource {
  /** For people: `dockerConfigFile /etc/sluice/config.json`. */
  readonly description: string;
  /**
   * All that match, the best first; none is no error.
   *
   * @throws CredentialError when it cannot be looked up for now.
   */
  find(image: ImageName): Promise<readonly FoundCredential[]>;
  /** A registry refused it: what was fetched and kept is fetched anew next time, if it is not new. */
  refused?(found: FoundCredential): void;
}

/** A source that is broken: says which, what happened and what to do, and holds nothing secret. */
export class CredentialError extends Error {
  override readonly name = "CredentialError";
}

/** Tells credentials apart in memory without being one. */
export function fingerprintOf(credential: Credential | undefined): string {
  if (credential === undefined) {
    return "anonymous";
  }
  return createHash("sha256").update(JSON.stringify(credential)).digest("base64url");
}

/** RFC 7617, in UTF-8. */
export function basicHeaderOf(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}
