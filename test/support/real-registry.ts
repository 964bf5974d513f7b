import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { Daemon } from "./processes.ts";
import type { PushTarget } from "./push-client.ts";
import { TokenServer } from "./token-server.ts";

/** The one user of every registry of the tests. */
export const USER = "robot";
export const PASSWORD = "secret";
/** PASSWORD in bcrypt, cost 5: the tests must not wait for a strong one. */
const HTPASSWD_LINE = `${USER}:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n`;

const LISTENING = /listening on (127\.0\.0\.1:\d+)/;

/** A registry of somebody else's making, on a free port, with a temporary folder for its data. */
export class RealRegistry implements PushTarget, AsyncDisposable {
  readonly url: string;
  /** Where its tokens come from, when it wants tokens. */
  readonly tokens: TokenServer | undefined;
  readonly #daemon: Daemon;
  readonly #folder: string;

  private constructor(
    at: { readonly url: string; readonly folder: string },
    daemon: Daemon,
    tokens?: TokenServer,
  ) {
    this.url = at.url;
    this.tokens = tokens;
    this.#daemon = daemon;
    this.#folder = at.folder;
  }

  /** Debian's docker-registry (distribution 2.8) with a password file. */
  static async startWithPasswords(): Promise<RealRegistry> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-registry-2-"));
    const path = join(folder, "htpasswd");
    await writeFile(path, HTPASSWD_LINE);
    const auth = { htpasswd: { realm: "sluice tests", path } };
    return await RealRegistry.#start("docker-registry", folder, auth);
  }

  /** distribution 3 behind a token server of its own. */
  static async startWithTokens(): Promise<RealRegistry> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-registry-3-"));
    const users = { [USER]: PASSWORD, pusher: PASSWORD };
    const tokens = await TokenServer.start({ users, writers: ["pusher"] });
    const jwks = join(folder, "jwks.json");
    await writeFile(jwks, tokens.jwks);
    const { issuer, service } = TokenServer;
    const auth = { token: { realm: tokens.realm, service, issuer, jwks } };
    return await RealRegistry.#start("distribution-3", folder, auth, tokens);
  }

  static async #start(
    command: string,
    folder: string,
    auth: Readonly<Record<string, unknown>>,
    tokens?: TokenServer,
  ): Promise<RealRegistry> {
    const file = join(folder, "config.yml");
    const config = {
      version: 0.1,
      log: { level: "info", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, "data") } },
      http: { addr: "127.0.0.1:0", relativeurls: true },
      auth,
    };
    await writeFile(file, stringify(config));
    // The trace exporter of distribution 3 would otherwise look for a collector.
    const env = { OTEL_TRACES_EXPORTER: "none" };
    const daemon = new Daemon(command, ["serve", file], { cwd: folder, env });
    try {
      const [, address] = await daemon.line(LISTENING);
      return new RealRegistry({ url: `http://${address}`, folder }, daemon, tokens);
    } catch (error) {
      await tokens?.[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async authorize(repository: string): Promise<string> {
    if (!this.tokens) {
      return basic(USER, PASSWORD);
    }
    const scope = encodeURIComponent(`repository:${repository}:pull,push`);
    const query = `service=${TokenServer.service}&scope=${scope}`;
    const headers = { authorization: basic("pusher", PASSWORD) };
    const response = await fetch(`${this.tokens.realm}?${query}`, { headers });
    return `Bearer ${((await response.json()) as { readonly token: string }).token}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop("SIGKILL"); // nothing in its folder is worth a clean end
    await this.tokens?.[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}
