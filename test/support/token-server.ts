import type { KeyObject } from "node:crypto";
import { createPublicKey, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

const KEY_ID = "sluice-tests";
const REQUEST_BYTES_MAX = 65_536;

export interface TokenServerOptions {
  /** Names and passwords. Nobody else gets a token. */
  readonly users: Readonly<Record<string, string>>;
  /** Those among them who may also push. */
  readonly writers?: readonly string[];
  /** How long a token lasts. Default 300. */
  readonly expiresInSeconds?: number;
}

/** One request for a token, as it was answered. */
export interface TokenRequest {
  readonly method: string;
  readonly user: string | undefined;
  readonly scopes: readonly string[];
  readonly status: number;
}

interface Grant {
  readonly user: string | undefined;
  readonly scopes: readonly string[];
  readonly service: string;
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/**
 * The token service of the distribution project's specification: `GET /token` with Basic, and the
 * OAuth2 form by POST with a password or a refresh token. It signs with a key made for the run.
 */
export class TokenServer implements AsyncDisposable {
  static readonly issuer: string = "sluice-test-issuer";
  static readonly service: string = "sluice-test-registry";
  readonly requests: TokenRequest[] = [];
  readonly #options: TokenServerOptions;
  readonly #keys: ReturnType<typeof newKeys> = newKeys();
  readonly #server: Server;
  readonly #refreshTokens = new Map<string, string>();

  private constructor(options: TokenServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  static async start(options: TokenServerOptions): Promise<TokenServer> {
    const server = new TokenServer(options);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  /** Where a challenge sends clients. */
  get realm(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  /** The key set that a registry trusts: the text of its `jwks` file. */
  get jwks(): string {
    const jwk = createPublicKey(this.#keys.privateKey).export({ format: "jwk" });
    return JSON.stringify({ keys: [{ ...jwk, kid: KEY_ID, use: "sig", alg: "ES256" }] });
  }

  /** A refresh token that stands for `user`. */
  refreshToken(user: string): string {
    const token = randomUUID();
    this.#refreshTokens.set(token, user);
    return token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const grant = request.method === "POST" ? await this.#form(request) : this.#query(request);
    const status = grant.user === undefined ? 401 : 200;
    const { user, scopes } = grant;
    this.requests.push({ method: request.method ?? "", user, scopes, status });
    response.setHeader("content-type", "application/json");
    if (user === undefined) {
      const errors = [{ code: "UNAUTHORIZED", message: "wrong user or password" }];
      response.writeHead(401).end(JSON.stringify({ errors }));
      return;
    }
    const token = this.#token(user, grant);
    const expires = this.#options.expiresInSeconds ?? 300;
    response.end(JSON.stringify({ token, access_token: token, expires_in: expires }));
  }

  #query(request: IncomingMessage): Grant {
    const query = new URL(request.url ?? "/", "http://localhost").searchParams;
    const [scheme, encoded = ""] = (request.headers.authorization ?? "").split(" ");
    const [name = "", ...password] = Buffer.from(encoded, "base64").toString().split(":");
    const user = scheme === "Basic" ? this.#known(name, password.join(":")) : undefined;
    return { user, scopes: scopesOf(query), service: query.get("service") ?? "" };
  }

  async #form(request: IncomingMessage): Promise<Grant> {
    const body = await text(request);
    const form = new URLSearchParams(body.slice(0, REQUEST_BYTES_MAX));
    const user =
      form.get("grant_type") === "refresh_token"
        ? this.#refreshTokens.get(form.get("refresh_token") ?? "")
        : this.#known(form.get("username") ?? "", form.get("password") ?? "");
    return { user, scopes: scopesOf(form), service: form.get("service") ?? "" };
  }

  #known(name: string, password: string): string | undefined {
    return this.#options.users[name] === password ? name : undefined;
  }

  #token(user: string, { scopes, service }: Grant): string {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: TokenServer.issuer,
      sub: user,
      aud: service,
      iat: now,
      nbf: now - 10,
      exp: now + (this.#options.expiresInSeconds ?? 300),
      jti: randomUUID(),
      access: scopes.flatMap((scope) => this.#access(user, scope)),
    };
    const unsigned = `${part({ typ: "JWT", alg: "ES256", kid: KEY_ID })}.${part(claims)}`;
    const key = { key: this.#keys.privateKey, dsaEncoding: "ieee-p1363" } as const;
    return `${unsigned}.${sign("sha256", Buffer.from(unsigned), key).toString("base64url")}`;
  }

  /** What `user` may do of what was asked for; nothing of it is no error, only an empty token. */
  #access(user: string, scope: string): Access[] {
    const [type, name, asked = ""] = scope.split(":");
    const allowed = this.#options.writers?.includes(user) ? ["pull", "push"] : ["pull"];
    const actions = asked.split(",").filter((action) => allowed.includes(action));
    return type === "repository" && name ? [{ type, name, actions }] : [];
  }
}

function newKeys(): { readonly privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

/** A scope may be repeated, and one may hold several, separated by blanks. */
function scopesOf(params: URLSearchParams): string[] {
  return params.getAll("scope").flatMap((scope) => scope.split(" ").filter((one) => one !== ""));
}

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
