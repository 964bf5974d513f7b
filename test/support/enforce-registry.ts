import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Artifact } from "./image-builder.ts";
import { Daemon } from "./processes.ts";
import type { PushTarget } from "./push-client.ts";
import { push } from "./push-client.ts";

/** A registry onto which real tools sign, open to everyone. */
export interface SignableRegistry extends PushTarget, AsyncDisposable {
  /** `127.0.0.1:40123`. */
  readonly host: string;
  /** What the tools call it: `127.0.0.1:40123/app@sha256:…`. */
  push(repository: string, tag: string, artifact: Artifact): Promise<string>;
}

/** What runs it: for `toolOptions`. */
export const TAGS_REGISTRY = "docker-registry";

/** Debian's docker-registry (distribution 2.8): without the referrers API, so that tools use tags. */
export class TagsRegistry implements SignableRegistry {
  readonly host: string;
  readonly #daemon: Daemon;
  readonly #folder: string;

  private constructor(host: string, daemon: Daemon, folder: string) {
    this.host = host;
    this.#daemon = daemon;
    this.#folder = folder;
  }

  static async start(): Promise<TagsRegistry> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-registry-tags-"));
    const file = join(folder, "config.yml");
    const config = {
      version: 0.1,
      log: { level: "info", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, "data") } },
      http: { addr: "127.0.0.1:0", relativeurls: true },
    };
    await writeFile(file, stringify(config));
    const daemon = new Daemon(TAGS_REGISTRY, ["serve", file], { cwd: folder });
    const [, host = ""] = await daemon.line(/listening on (127\.0\.0\.1:\d+)/);
    return new TagsRegistry(host, daemon, folder);
  }

  get url(): string {
    return `http://${this.host}`;
  }

  authorize(): Promise<string> {
    return Promise.resolve("");
  }

  async push(repository: string, tag: string, artifact: Artifact): Promise<string> {
    await push(this, repository, tag, artifact);
    return `${this.host}/${repository}@${artifact.top.digest}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop("SIGKILL"); // nothing in its folder is worth a clean end
    await rm(this.#folder, { recursive: true, force: true });
  }
}
