import { createHash } from "node:crypto";
import { RegistryError } from "../errors.ts";
import type { BasicCredential, CredentialSettings, UpstreamSettings } from "../settings.ts";
import { DockerConfig } from "./docker-config.ts";
import { WatchedFile } from "./watched-file.ts";

/** How we log in to a registry. Never part of a message, a log or a label. */
export type Credential =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** A refresh token, which only a token service takes. */
  | { readonly kind: "identity"; readonly username: string; readonly token: string }
  /** A token that the registry takes as it is. */
  | { readonly kind: "registry"; readonly token: string };

/** Finds one upstream's credential anew for each use, so that a changed file counts at once. */
export class Credentials {
  readonly #name: string;
  readonly #auth: BasicCredential | undefined;
  readonly #passwordFile: WatchedFile<string> | undefined;
  readonly #dockerConfig: DockerConfig | undefined;

  constructor(upstream: Pick<UpstreamSettings, "name" | "auth">, settings: CredentialSettings) {
    this.#name = upstream.name;
    this.#auth = upstream.auth;
    const { passwordFile } = upstream.auth ?? {};
    this.#passwordFile =
      passwordFile === undefined ? undefined : new WatchedFile(passwordFile, withoutNewline);
    const { dockerConfigFile } = settings;
    this.#dockerConfig =
      dockerConfigFile === undefined ? undefined : new DockerConfig(dockerConfigFile);
  }

  /**
   * Undefined means anonymous.
   *
   * @throws RegistryError `upstream-unavailable` when what is configured cannot be read: to go on
   *   without it would only turn into a refusal that says nothing.
   */
  async find(repository: string): Promise<Credential | undefined> {
    try {
      return await this.#find(repository);
    } catch (error) {
      throw unreadable(this.#name, error);
    }
  }

  async #find(repository: string): Promise<Credential | undefined> {
    if (this.#auth !== undefined) {
      const { username } = this.#auth;
      const password = (await this.#passwordFile?.read()) ?? this.#auth.password ?? "";
      return { kind: "basic", username, password };
    }
    return await this.#dockerConfig?.find(this.#name, repository);
  }
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

function unreadable(name: string, cause: unknown): RegistryError {
  const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
  return new RegistryError(
    "upstream-unavailable",
    `the credential that is configured for ${name} cannot be read${code}; ` +
      "look at the file that the configuration names",
    { cause },
  );
}

function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, "");
}
