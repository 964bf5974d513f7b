import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { basicHeaderOf } from "../../server/credentials/credential.ts";
import { FakeContent } from "./fake-content.ts";
import type { RegistryBehaviour, Said } from "./profile-behaviour.ts";

export interface ProfileRequest {
  /** Which of its servers was asked. */
  readonly server: "registry" | "tokens" | "storage";
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

type Answered = Promise<Said | undefined> | Said | undefined;
type Handle = (request: ProfileRequest, response: ServerResponse) => Answered;

const DOWNLOADS = "/artifacts-downloads/";

/**
 * A registry of some kind on 127.0.0.1, with its token service and its storage on hosts of their
 * own where the real one has them elsewhere. One user may read one repository.
 */
export class ProfileRegistry implements AsyncDisposable {
  readonly content: FakeContent;
  readonly requests: ProfileRequest[] = [];
  readonly #behaviour: RegistryBehaviour;
  readonly #servers: Server[] = [];
  readonly #tokens = new Set<string>();
  /** Those that were passwords once. */
  readonly #ended = new Set<string>();
  #password: string;
  #count = 0;
  readonly #origins: Record<ProfileRequest["server"], string> = {
    registry: "",
    tokens: "",
    storage: "",
  };

  private constructor(behaviour: RegistryBehaviour, password: string) {
    this.#behaviour = behaviour;
    this.#password = password;
    this.content = new FakeContent({ tagPageSize: 2 });
  }

  static async start(behaviour: RegistryBehaviour, password: string): Promise<ProfileRegistry> {
    const fake = new ProfileRegistry(behaviour, password);
    await fake.#listen("registry", "127.0.0.1", (...asked) =>
      fake.#isTokenPath(asked[0]) ? fake.#giveToken(...asked) : fake.#pull(...asked),
    );
    await fake.#listen("tokens", "localhost", (...asked) => fake.#giveToken(...asked));
    await fake.#listen("storage", "localhost", (...asked) => fake.#store(...asked));
    return fake;
  }

  /** As it is configured. */
  get url(): string {
    return `${this.#origins.registry}${this.#behaviour.pathPrefix ?? ""}`;
  }

  /** No token that was given out so far is good any more. */
  endTokens(): void {
    this.#tokens.clear();
  }

  /** The password that was good is not, nor is any token that was given for it. */
  rotate(password: string): void {
    this.#ended.add(this.#password);
    this.#password = password;
    this.endTokens();
  }

  /** Requests for tokens, wherever the service is. */
  get tokenRequests(): readonly ProfileRequest[] {
    return this.requests.filter((request) => this.#isTokenPath(request));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    }
  }

  async #listen(
    name: ProfileRequest["server"],
    host: "127.0.0.1" | "localhost",
    handle: Handle,
  ): Promise<void> {
    const server = createServer((message, response) => {
      this.#handle(name, message, response, handle).catch(() => response.destroy());
    });
    server.listen(0, host);
    await once(server, "listening");
    this.#servers.push(server);
    this.#origins[name] = `http://${host}:${(server.address() as AddressInfo).port}`;
  }

  async #handle(
    server: ProfileRequest["server"],
    message: IncomingMessage,
    response: ServerResponse,
    handle: Handle,
  ): Promise<void> {
    const { method = "", url: path = "", headers } = message;
    const body = await text(message);
    const request = { server, method, path, authorization: headers.authorization, body };
    this.requests.push(request);
    const said = await handle(request, response);
    if (said !== undefined) {
      this.#refuse(request, response, said);
    }
  }

  #refuse(request: ProfileRequest, response: ServerResponse, said: Said): void {
    const { status, body } = said;
    if (status === 401 && request.server === "registry" && !this.#isTokenPath(request)) {
      response.setHeader("www-authenticate", this.#challenge(request));
    }
    const isText = typeof body === "string";
    const type = isText ? "text/html; charset=utf-8" : "application/json; charset=utf-8";
    response.writeHead(status, { "content-type": type });
    response.end(isText ? body : JSON.stringify(body));
  }

  #challenge(request: ProfileRequest): string {
    const { challenge, tokens } = this.#behaviour;
    const origin = tokens?.isElsewhere ? this.#origins.tokens : this.#origins.registry;
    return challenge({
      host: new URL(this.#origins.registry).host,
      realm: `${origin}${tokens?.path ?? ""}`,
      repository: repositoryOf(this.#contentPath(request)) ?? "",
    });
  }

  #isTokenPath({ server, path }: ProfileRequest): boolean {
    const { tokens } = this.#behaviour;
    const isServer = server === (tokens?.isElsewhere ? "tokens" : "registry");
    return isServer && path.split("?", 1)[0] === tokens?.path;
  }

  #giveToken({ authorization }: ProfileRequest, response: ServerResponse): Said | undefined {
    const { tokens, username } = this.#behaviour;
    if (tokens === undefined || authorization !== basicHeaderOf(username, this.#password)) {
      return tokens?.refusal;
    }
    this.#count += 1;
    const reply = tokens.reply(`issued-${this.#count}`);
    const given = ["token", "access_token"].map((name) => Reflect.get(reply, name));
    for (const token of given.filter(Boolean)) {
      this.#tokens.add(`Bearer ${token}`);
    }
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(reply));
    return undefined;
  }

  #pull(request: ProfileRequest, response: ServerResponse): Said | undefined {
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      return refusal;
    }
    const { blobs, noReferrers, repository, unreadable } = this.#behaviour;
    const path = this.#contentPath(request);
    if (repositoryOf(path) !== repository) {
      return unreadable;
    }
    if (path.includes("/referrers/") && noReferrers !== undefined) {
      if (noReferrers.location !== undefined) {
        response.setHeader("location", `${this.#origins.storage}${noReferrers.location}`);
      }
      return noReferrers;
    }
    if (path.includes("/blobs/") && blobs !== "here" && !request.path.startsWith(DOWNLOADS)) {
      const location =
        blobs === "downloads"
          ? DOWNLOADS + path.slice(1)
          : `${this.#origins.storage}${path}?X-Amz-Signature=abc`;
      response.writeHead(307, { location }).end();
      return undefined;
    }
    return this.#send(request, path, response);
  }

  /** Signed urls: whoever adds a log-in is refused, as S3 and Azure do. */
  #store(request: ProfileRequest, response: ServerResponse): Said | undefined {
    if (request.authorization !== undefined || !request.path.includes("/v2/")) {
      return { status: 400, body: "<Error><Code>InvalidArgument</Code></Error>" };
    }
    return this.#send(request, request.path.split("?", 1)[0] ?? "", response);
  }

  #refusalOf({ authorization }: ProfileRequest): Said | undefined {
    const { tokens, unknown, username, wrong, ended } = this.#behaviour;
    if (authorization === undefined) {
      return unknown;
    }
    if (tokens !== undefined) {
      return this.#tokens.has(authorization) ? undefined : tokens.ended;
    }
    if (authorization === basicHeaderOf(username, this.#password)) {
      return undefined;
    }
    const isOld = [...this.#ended].some((old) => authorization === basicHeaderOf(username, old));
    return isOld ? ended : wrong;
  }

  #send(request: ProfileRequest, path: string, response: ServerResponse): Said | undefined {
    const { manifestHeaders = {}, missingTag, tagsLink, headLacks = [] } = this.#behaviour;
    const body = this.content.answer(this.#pageOf(path), response);
    if (body === undefined) {
      return path.includes("/blobs/") ? { status: 404, body: "" } : missingTag;
    }
    if (path.includes("/manifests/")) {
      response.setHeaders(new Map(Object.entries(manifestHeaders)));
    }
    if (response.hasHeader("link") && tagsLink !== undefined) {
      const last = JSON.parse(body.toString()).tags.at(-1);
      const own = request.path.split("?", 1)[0] ?? "";
      response.setHeader("link", tagsLink(own, last, this.#origins.registry));
    }
    response.setHeader("content-length", body.length);
    for (const name of request.method === "HEAD" ? headLacks : []) {
      response.removeHeader(name);
    }
    response.end(request.method === "HEAD" ? undefined : body);
    return undefined;
  }

  #pageOf(path: string): string {
    const isPlain = this.#behaviour.ignoresLast !== true;
    return isPlain ? path : path.replace(/last=[^&]*/, "").replace("next_page=", "last=");
  }

  /** From `/v2/` on. */
  #contentPath({ path }: ProfileRequest): string {
    return path.slice(Math.max(0, path.indexOf("/v2/")));
  }
}

function repositoryOf(path: string): string | undefined {
  return /^\/v2\/(.+?)\/(?:manifests|blobs|tags|referrers)\//.exec(path)?.[1];
}
