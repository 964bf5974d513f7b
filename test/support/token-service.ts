import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Gate } from "./upstream-faults.ts";

export interface TokenRequestSeen {
  readonly method: string;
  readonly authorization: string | undefined;
  /** Of the query, or of the form. */
  readonly parameters: URLSearchParams;
}

export interface TokenRules {
  readonly username?: string;
  readonly password?: string;
  readonly usesPerToken?: number;
  /** In place of one user: who may read which repository; `:` stands for nobody. */
  readonly may?: (login: string, repository: string) => boolean;
  /** Whose password is right. */
  readonly isKnown?: (login: string) => boolean;
}

/** What the service answers in place of a token. */
export interface TokenFault {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON. */
  readonly body?: string | object;
  /** Says nothing until `release`. */
  readonly hang?: boolean;
  readonly method?: string;
}

export async function startTokenService(): Promise<TokenService> {
  const service = new TokenService();
  await service.listen();
  return service;
}

/** A token service as distribution describes it, on a port of its own. */
export class TokenService {
  readonly requests: TokenRequestSeen[] = [];
  /** `expires_in` of the tokens; left out when undefined. */
  expiresIn: unknown = 300;
  /** What tokens begin with. */
  prefix = "fake-token-";
  readonly #server: Server;
  readonly #issued = new Map<string, { readonly scopes: readonly string[]; uses: number }>();
  #rules: TokenRules = {};
  #fault: TokenFault | undefined;
  #gate = new Gate();
  #count = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get realm(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}/token`;
  }

  accept(rules: TokenRules): void {
    this.#rules = rules;
  }

  fail(fault: TokenFault | undefined): void {
    this.#fault = fault;
  }

  /** Lets go of requests that hang. */
  release(): void {
    this.#gate.open();
    this.#gate = new Gate();
  }

  /** No token that was given out so far is good any more. */
  revokeAll(): void {
    this.#issued.clear();
  }

  /** Takes a token that was made elsewhere, for one repository. */
  take(token: string, repository: string): void {
    this.#issued.set(token, { scopes: [`repository:${repository}:pull`], uses: 0 });
  }

  isValid(authorization: string, repository: string): boolean {
    const issued = this.#issued.get(authorization.replace(/^Bearer /, ""));
    if (issued === undefined || !issued.scopes.includes(`repository:${repository}:pull`)) {
      return false;
    }
    issued.uses += 1;
    return issued.uses <= (this.#rules.usesPerToken ?? Number.POSITIVE_INFINITY);
  }

  async close(): Promise<void> {
    this.#gate.open();
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
    }
    const form = Buffer.concat(chunks).toString();
    const query = new URL(request.url ?? "", "http://fake.invalid").searchParams;
    const parameters = request.method === "POST" ? new URLSearchParams(form) : query;
    const { authorization } = request.headers;
    this.requests.push({ method: request.method ?? "", authorization, parameters });
    const fault = this.#fault;
    if (fault?.hang === true) {
      await this.#gate.opened;
    }
    if (fault !== undefined && (fault.method ?? request.method) === request.method) {
      const body = typeof fault.body === "object" ? JSON.stringify(fault.body) : fault.body;
      if (fault.status !== undefined || body !== undefined) {
        response.writeHead(fault.status ?? 200, fault.headers).end(body);
        return;
      }
    }
    this.#give(response, authorization, parameters);
  }

  #give(
    response: ServerResponse,
    authorization: string | undefined,
    parameters: URLSearchParams,
  ): void {
    const { username, password } = this.#rules;
    const wanted = Buffer.from(`${username ?? ""}:${password ?? ""}`).toString("base64");
    const isGiven =
      authorization === `Basic ${wanted}` || parameters.get("refresh_token") === password;
    if (username !== undefined && !isGiven) {
      response.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}');
      return;
    }
    const login = loginOf(authorization);
    if (this.#rules.isKnown?.(login) === false) {
      response.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}');
      return;
    }
    this.#count += 1;
    const token = `${this.prefix}${this.#count}`;
    const asked = parameters.getAll("scope").flatMap((scope) => scope.split(" "));
    const { may } = this.#rules;
    // As real ones do: a token for less than was asked for, and no word about it.
    const scopes = may ? asked.filter((scope) => may(login, repositoryOf(scope))) : asked;
    this.#issued.set(token, { scopes, uses: 0 });
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ token, expires_in: this.expiresIn }));
  }
}

function loginOf(authorization: string | undefined): string {
  const login = Buffer.from((authorization ?? "").replace(/^Basic /, ""), "base64").toString();
  return login === "" ? ":" : login;
}

function repositoryOf(scope: string): string {
  return /^repository:(.+):pull$/.exec(scope)?.[1] ?? "";
}
