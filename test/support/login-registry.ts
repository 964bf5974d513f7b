import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { smallImage } from "./image-builder.ts";
import type { LogIn } from "./login-clients.ts";
import { htpasswdOf } from "./login-rig.ts";
import type { TokenUser } from "./login-token-service.ts";
import { LogInTokenService } from "./login-token-service.ts";
import { Daemon } from "./processes.ts";
import type { PushTarget } from "./push-client.ts";
import { push } from "./push-client.ts";

const LISTENING = /listening on (127\.0\.0\.1:\d+)/;
const PUSHER: LogIn = { user: "pusher", password: "p-secret" };

/** A private registry whose users change while it runs: a Debian docker-registry, or a distribution 3. */
export class PrivateRegistry implements PushTarget, AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly #folder: string;
  readonly #daemon: Daemon;
  readonly #tokens: LogInTokenService | undefined;

  private constructor(
    at: { readonly host: string; readonly folder: string },
    daemon: Daemon,
    tokens?: LogInTokenService,
  ) {
    this.host = at.host;
    this.#folder = at.folder;
    this.#daemon = daemon;
    this.#tokens = tokens;
  }

  /** distribution 2.8 with a password file: all users read everything. */
  static async startWithPasswords(...users: readonly LogIn[]): Promise<PrivateRegistry> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-registry-"));
    const path = join(folder, "htpasswd");
    await writeFile(path, await htpasswdOf(PUSHER, ...users));
    const auth = { htpasswd: { realm: "log-in tests", path } };
    return await PrivateRegistry.#start("docker-registry", folder, auth);
  }

  /** distribution 3 behind a token service. */
  static async startWithTokens(
    users: Readonly<Record<string, TokenUser>>,
  ): Promise<PrivateRegistry> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-registry-"));
    const pusher = { password: PUSHER.password, pulls: ["*"], pushes: true };
    const tokens = await LogInTokenService.start({ [PUSHER.user]: pusher, ...users });
    const jwks = join(folder, "jwks.json");
    await writeFile(jwks, tokens.jwks);
    const { issuer, service } = LogInTokenService;
    const auth = { token: { realm: tokens.realm, service, issuer, jwks } };
    return await PrivateRegistry.#start("distribution-3", folder, auth, tokens);
  }

  static async #start(
    command: string,
    folder: string,
    auth: Readonly<Record<string, unknown>>,
    tokens?: LogInTokenService,
  ): Promise<PrivateRegistry> {
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
    const [, host = ""] = await daemon.line(LISTENING);
    return new PrivateRegistry({ host, folder }, daemon, tokens);
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** A small image of its own in each repository, as `v1`. */
  async fill(repositories: readonly string[]): Promise<void> {
    for (const repository of repositories) {
      await push(this, repository, "v1", await smallImage(repository.replaceAll("/", "-")));
    }
  }

  /** From now on these are the users who may read everything. */
  async setUsers(...users: readonly LogIn[]): Promise<void> {
    for (const { user, password } of users) {
      this.#tokens?.users.set(user, { password, pulls: ["*"] });
    }
    if (this.#tokens === undefined) {
      await writeFile(join(this.#folder, "htpasswd"), await htpasswdOf(PUSHER, ...users));
    }
  }

  async authorize(repository: string): Promise<string> {
    const basic = `Basic ${Buffer.from(`${PUSHER.user}:${PUSHER.password}`).toString("base64")}`;
    if (this.#tokens === undefined) {
      return basic;
    }
    const url = new URL(this.#tokens.realm);
    url.searchParams.set("service", LogInTokenService.service);
    url.searchParams.set("scope", `repository:${repository}:pull,push`);
    const response = await fetch(url, { headers: { authorization: basic } });
    return `Bearer ${((await response.json()) as { readonly token: string }).token}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop("SIGKILL"); // nothing in its folder is worth a clean end
    await this.#tokens?.[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
