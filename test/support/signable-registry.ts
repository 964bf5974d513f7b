import type { Artifact } from "./image-builder.ts";
import type { Daemon } from "./processes.ts";
import type { PushTarget } from "./push-client.ts";
import { push } from "./push-client.ts";

/** A registry onto which real tools sign, in a process of its own, open to everyone. */
export abstract class SignableRegistry implements PushTarget, AsyncDisposable {
  /** `127.0.0.1:40123`. */
  readonly host: string;
  readonly #daemon: Daemon;

  protected constructor(host: string, daemon: Daemon) {
    this.host = host;
    this.#daemon = daemon;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  authorize(): Promise<string> {
    return Promise.resolve("");
  }

  /** What the tools call it: `127.0.0.1:40123/app@sha256:…`. */
  async push(repository: string, tag: string, artifact: Artifact): Promise<string> {
    await push(this, repository, tag, artifact);
    return `${this.host}/${repository}@${artifact.top.digest}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop("SIGKILL"); // it holds nothing that is worth a clean end
  }
}
