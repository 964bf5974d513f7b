import type { Artifact } from "./image-builder.ts";
import { Daemon } from "./processes.ts";
import type { PushTarget } from "./push-client.ts";
import { push } from "./push-client.ts";

/** What runs it: for `toolOptions`. */
export const REFERRERS_REGISTRY = "referrers-registry";

/** A registry with the referrers API, in the memory of a process of its own, open to everyone. */
export class ReferrersRegistry implements PushTarget, AsyncDisposable {
  /** `127.0.0.1:40123`. */
  readonly host: string;
  readonly #daemon: Daemon;

  private constructor(host: string, daemon: Daemon) {
    this.host = host;
    this.#daemon = daemon;
  }

  static async start(): Promise<ReferrersRegistry> {
    const daemon = new Daemon(REFERRERS_REGISTRY, []);
    const [, host = ""] = await daemon.line(/^listening on (127\.0\.0\.1:\d+)$/);
    return new ReferrersRegistry(host, daemon);
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
    await this.#daemon.stop("SIGKILL"); // it holds nothing on disk
  }
}
