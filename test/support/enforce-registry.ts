import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { Daemon } from "./processes.ts";
import { SignableRegistry } from "./signable-registry.ts";

/** What runs it: for `toolOptions`. */
export const TAGS_REGISTRY = "docker-registry";

/** Debian's docker-registry (distribution 2.8): without the referrers API, so that tools use tags. */
export class TagsRegistry extends SignableRegistry {
  readonly #folder: string;

  private constructor(host: string, daemon: Daemon, folder: string) {
    super(host, daemon);
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

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
