import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { CryptoKey } from "jose";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

const KEY_ID = "log-in-tests";
const REQUEST_BYTES_MAX = 65_536;

export interface TokenUser {
  readonly password: string;
  /** Repositories that it may pull; `*` is all. */
  readonly pulls: readonly string[];
  readonly pushes?: boolean;
}

interface Asked {
  readonly user: string;
  readonly password: string;
  readonly params: URLSearchParams;
}

/**
 * A token service where rights differ between users, as the distribution project specifies it:
 * what somebody may not do is left out of the token, and a wrong password gets none. Users may be
 * changed at any time. The user without a name is anybody.
 */
export class LogInTokenService implements AsyncDisposable {
  static readonly issuer: string = "log-in-tests-issuer";
  static readonly service: string = "log-in-tests-registry";
  readonly users: Map<string, TokenUser>;
  /** The text of a registry's `jwks` file. */
  readonly jwks: string;
  readonly #key: CryptoKey;
  readonly #server: Server;

  private constructor(users: Readonly<Record<string, TokenUser>>, jwks: string, key: CryptoKey) {
    this.users = new Map(Object.entries(users));
    this.jwks = jwks;
    this.#key = key;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  static async start(users: Readonly<Record<string, TokenUser>>): Promise<LogInTokenService> {
    const { privateKey, publicKey } = await generateKeyPair("ES256");
    const jwk = { ...(await exportJWK(publicKey)), kid: KEY_ID, use: "sig", alg: "ES256" };
    const service = new LogInTokenService(users, JSON.stringify({ keys: [jwk] }), privateKey);
    service.#server.listen(0, "127.0.0.1");
    await once(service.#server, "listening");
    return service;
  }

  /** Where a challenge sends clients. */
  get realm(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { user, password, params } =
      request.method === "POST" ? await askedByForm(request) : askedByQuery(request);
    const known = this.users.get(user);
    response.setHeader("content-type", "application/json");
    if (user !== "" && known?.password !== password) {
      const errors = [{ code: "UNAUTHORIZED", message: "wrong user or password" }];
      response.writeHead(401).end(JSON.stringify({ errors }));
      return;
    }
    const scopes = params.getAll("scope").flatMap((scope) => scope.split(" "));
    const access = scopes.flatMap((scope) => accessOf(scope, this.users.get(""), known));
    const token = await new SignJWT({ access })
      .setProtectedHeader({ alg: "ES256", kid: KEY_ID, typ: "JWT" })
      .setIssuer(LogInTokenService.issuer)
      .setAudience(LogInTokenService.service)
      .setSubject(user)
      .setIssuedAt()
      .setExpirationTime("5m")
      .setJti(randomUUID())
      .sign(this.#key);
    response.end(JSON.stringify({ token, access_token: token, expires_in: 300 }));
  }
}

function askedByQuery(request: IncomingMessage): Asked {
  const params = new URL(request.url ?? "/", "http://localhost").searchParams;
  const [scheme, encoded = ""] = (request.headers.authorization ?? "").split(" ");
  const [user = "", ...password] = Buffer.from(encoded, "base64").toString().split(":");
  return scheme === "Basic"
    ? { user, password: password.join(":"), params }
    : { user: "", password: "", params };
}

async function askedByForm(request: IncomingMessage): Promise<Asked> {
  const params = new URLSearchParams((await text(request)).slice(0, REQUEST_BYTES_MAX));
  return { user: params.get("username") ?? "", password: params.get("password") ?? "", params };
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** Nothing of what was asked for is no error: it makes a token that is good for nothing. */
function accessOf(scope: string, ...users: readonly (TokenUser | undefined)[]): readonly Access[] {
  const [type = "", name = "", asked = ""] = scope.split(":");
  const may = (action: string): boolean =>
    users.some(
      (user) =>
        (action === "pull" && (user?.pulls.includes(name) || user?.pulls.includes("*"))) ||
        (action === "push" && user?.pushes === true),
    );
  const actions = asked.split(",").filter(may);
  return type === "repository" ? [{ type, name, actions }] : [];
}
