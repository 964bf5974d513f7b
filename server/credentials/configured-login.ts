import type { BasicCredential } from "../settings.ts";
import { WatchedFile } from "../watched-file.ts";
import type { CredentialSource, FoundCredential } from "./credential.ts";

/** An upstream's own `auth`: a user, and a password from a file or from the environment. */
export class ConfiguredLogin implements CredentialSource {
  readonly description: string;
  readonly #auth: BasicCredential;
  readonly #passwordFile: WatchedFile<string> | undefined;

  /** @param upstream - its name, for messages. */
  constructor(upstream: string, auth: BasicCredential) {
    const { passwordFile } = auth;
    this.#auth = auth;
    this.#passwordFile =
      passwordFile === undefined ? undefined : new WatchedFile(passwordFile, withoutNewline);
    this.description = `auth of upstream ${upstream}${
      passwordFile === undefined ? "" : `, with passwordFile ${passwordFile}`
    }`;
  }

  async find(): Promise<readonly FoundCredential[]> {
    const { username } = this.#auth;
    const password = (await this.#passwordFile?.read()) ?? this.#auth.password ?? "";
    return [{ credential: { kind: "basic", username, password }, from: this.description }];
  }
}

function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, "");
}
