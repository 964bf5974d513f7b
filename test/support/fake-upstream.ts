import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Digest } from "../../storage/digest.ts";
import type { FakeContentOptions } from "./fake-content.ts";
import { FakeContent } from "./fake-content.ts";
import type { TokenService } from "./token-service.ts";
import { startTokenService } from "./token-service.ts";
import type { Fault } from "./upstream-faults.ts";
import { Gate, sendBody } from "./upstream-faults.ts";

export interface SeenRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Of the connection it came on. */
  readonly remotePort: number;
}

/** All that is given must hold. A string path must be equal to the path without its query. */
export interface RequestMatcher {
  readonly method?: string;
  readonly path?: string | RegExp;
  readonly digest?: Digest;
}

export interface FakeUpstreamOptions extends FakeContentOptions {
  /** Which loopback address it listens on, and is named by. */
  readonly hostname?: "127.0.0.1" | "localhost";
}

export interface AuthOptions {
  readonly scheme: "bearer" | "basic";
  readonly username?: string;
  readonly password?: string;
  /** In place of one user: who may read which repository; `:` stands for nobody. */
  readonly may?: (login: string, repository: string) => boolean;
  /** Of bearer, with `may`: whose password is right. Others get no token at all. */
  readonly isKnown?: (login: string) => boolean;
  /** Replaces the realm of the challenge, to send clients elsewhere. */
  readonly realm?: string;
  readonly service?: string;
  /** Replaces the scope of the challenge; `null` leaves it out. */
  readonly scope?: string | null;
  /** How often a token is accepted before it is refused. */
  readonly usesPerToken?: number;
}

export interface FaultHandle {
  /** How often it was met. */
  readonly count: number;
  /** Lets go of every request that it holds up, now and from now on. */
  release(): void;
  remove(): void;
}

interface Planned {
  readonly matcher: RequestMatcher;
  readonly fault: Fault;
  readonly gate: Gate;
  count: number;
  left: number;
}

interface Waiter {
  readonly matcher: RequestMatcher;
  readonly resolve: (request: SeenRequest) => void;
}

/** Starts a registry on a free loopback port. Close it, or the test does not end. */
export async function startFakeUpstream(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const upstream = new FakeUpstream(options);
  await upstream.listen();
  return upstream;
}

/** A registry's pull API on node:http, with faults by script. */
export class FakeUpstream extends FakeContent {
  readonly requests: SeenRequest[] = [];
  readonly #options: FakeUpstreamOptions;
  readonly #server: Server;
  #plans: Planned[] = [];
  #waiters: Waiter[] = [];
  #auth: AuthOptions | undefined;
  #tokens: TokenService | undefined;
  #port = 0;
  #inFlight = 0;
  #inFlightMax = 0;

  constructor(options: FakeUpstreamOptions) {
    super(options);
    this.#options = options;
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#handle(request, response).catch((error: unknown) => response.destroy(toError(error)));
    });
  }

  /** Listens again, on the same port, after `stop`. */
  async listen(): Promise<void> {
    this.#server.listen(this.#port, this.#options.hostname ?? "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = portOf(this.#server);
  }

  /** Refuses connections and breaks those that are open, as a crash does. Content stays. */
  async stop(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async close(): Promise<void> {
    for (const { gate } of this.#plans) {
      gate.open();
    }
    await this.#tokens?.close();
    if (this.#server.listening) {
      await this.stop();
    }
  }

  /** `127.0.0.1:40123`. */
  get host(): string {
    return `${this.#options.hostname ?? "127.0.0.1"}:${this.#port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get inFlightMax(): number {
    return this.#inFlightMax;
  }

  /** The token service, once `requireAuth` has started it. */
  get tokens(): TokenService {
    if (this.#tokens === undefined) {
      throw new Error("requireAuth with the bearer scheme comes first");
    }
    return this.#tokens;
  }

  /** From now on. Bearer starts a token service on a port of its own. */
  async requireAuth(auth: AuthOptions): Promise<void> {
    this.#auth = auth;
    if (auth.scheme === "bearer") {
      this.#tokens ??= await startTokenService();
      this.#tokens.accept(auth);
    }
  }

  allowAnonymous(): void {
    this.#auth = undefined;
  }

  /** The next `times` matching requests meet the fault; earlier plans go first. */
  on(matcher: RequestMatcher, fault: Fault, times: number = Number.POSITIVE_INFINITY): FaultHandle {
    const planned: Planned = { matcher, fault, gate: new Gate(), count: 0, left: times };
    this.#plans.push(planned);
    return {
      get count() {
        return planned.count;
      },
      release: () => planned.gate.open(),
      remove: () => {
        planned.gate.open();
        this.#plans = this.#plans.filter((plan) => plan !== planned);
      },
    };
  }

  /** Every request so far that matches. */
  seen(matcher: RequestMatcher): readonly SeenRequest[] {
    return this.requests.filter((request) => isMatch(matcher, request));
  }

  /** GETs of a digest, as a manifest or a blob. */
  getsOf(digest: Digest): number {
    return this.seen({ method: "GET", digest }).length;
  }

  /** The next request that matches, as soon as its headers are in. */
  waitFor(matcher: RequestMatcher): Promise<SeenRequest> {
    return new Promise((resolve) => {
      this.#waiters.push({ matcher, resolve });
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen: SeenRequest = {
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers,
      remotePort: request.socket.remotePort ?? 0,
    };
    this.#inFlight += 1;
    this.#inFlightMax = Math.max(this.#inFlightMax, this.#inFlight);
    response.once("close", () => {
      this.#inFlight -= 1;
    });
    response.on("error", () => undefined);
    this.requests.push(seen);
    this.#tell(seen);
    if (!this.#isAllowed(seen, response)) {
      return;
    }
    const planned = this.#plans.find(({ matcher, left }) => left > 0 && isMatch(matcher, seen));
    if (planned === undefined) {
      await this.#answer(seen, response, {}, new Gate());
      return;
    }
    planned.count += 1;
    planned.left -= 1;
    await this.#answer(seen, response, planned.fault, planned.gate);
  }

  #tell(seen: SeenRequest): void {
    const met = this.#waiters.filter(({ matcher }) => isMatch(matcher, seen));
    this.#waiters = this.#waiters.filter((waiter) => !met.includes(waiter));
    for (const { resolve } of met) {
      resolve(seen);
    }
  }

  /** Answers 401 with a challenge when the request is not logged in. */
  #isAllowed(seen: SeenRequest, response: ServerResponse): boolean {
    const auth = this.#auth;
    const repository = /^\/v2\/(.+?)\/(?:manifests|blobs|tags|referrers)\//.exec(seen.path)?.[1];
    if (
      auth === undefined ||
      this.#isLoggedIn(auth, seen.headers.authorization ?? "", repository)
    ) {
      return true;
    }
    const challenge =
      auth.scheme === "basic"
        ? 'Basic realm="fake"'
        : bearerChallengeOf(auth, this.tokens.realm, repository);
    response.setHeader("www-authenticate", challenge);
    sendError(response, { status: 401, code: "UNAUTHORIZED", isHead: seen.method === "HEAD" });
    return false;
  }

  #isLoggedIn(auth: AuthOptions, given: string, repository = ""): boolean {
    if (auth.scheme === "bearer") {
      return this.tokens.isValid(given, repository);
    }
    if (auth.may !== undefined) {
      const login = Buffer.from(given.replace(/^Basic /, ""), "base64").toString();
      return auth.may(login === "" ? ":" : login, repository);
    }
    const wanted = `${auth.username ?? ""}:${auth.password ?? ""}`;
    return given === `Basic ${Buffer.from(wanted).toString("base64")}`;
  }

  async #answer(
    seen: SeenRequest,
    response: ServerResponse,
    fault: Fault,
    gate: Gate,
  ): Promise<void> {
    setHeaders(response, fault.headers);
    if (fault.hang === true) {
      await gate.opened;
    }
    if (fault.reset === true) {
      response.destroy();
      return;
    }
    const isHead = seen.method === "HEAD";
    if (fault.redirect !== undefined) {
      const path = fault.redirect.endsWith("/*") ? seen.path : "";
      const location = fault.redirect.replace(/\/\*$/, "") + path;
      response.writeHead(fault.status ?? 307, { location }).end();
      return;
    }
    if (fault.status !== undefined && fault.body === undefined && fault.status >= 400) {
      sendError(response, { status: fault.status, code: fault.code ?? "UNKNOWN", isHead });
      return;
    }
    const content = this.answer(seen.path, response);
    setHeaders(response, fault.headers);
    const body = fault.body === undefined ? content : Buffer.from(fault.body);
    if (body === undefined) {
      const code = codeOfAbsence(seen.path);
      sendError(response, { status: 404, code, isHead });
      return;
    }
    await sendBody({ request: seen, response, body, fault, gate });
  }
}

function setHeaders(response: ServerResponse, headers: Fault["headers"] = {}): void {
  for (const [name, value] of Object.entries(headers)) {
    response.setHeader(name, value);
  }
}

function bearerChallengeOf(auth: AuthOptions, ownRealm: string, repository = ""): string {
  const scope = auth.scope === undefined ? `repository:${repository}:pull` : auth.scope;
  const parts = [
    `realm="${auth.realm ?? ownRealm}"`,
    `service="${auth.service ?? "fake"}"`,
    ...(scope === null ? [] : [`scope="${scope}"`]),
  ];
  return `Bearer ${parts.join(",")}`;
}

function isMatch(matcher: RequestMatcher, { method, path }: SeenRequest): boolean {
  const [bare = ""] = path.split("?", 1);
  if (matcher.method !== undefined && matcher.method !== method) {
    return false;
  }
  if (matcher.digest !== undefined && !bare.endsWith(`/${matcher.digest}`)) {
    return false;
  }
  if (matcher.path instanceof RegExp) {
    return matcher.path.test(path);
  }
  return matcher.path === undefined || matcher.path === bare;
}

function codeOfAbsence(path: string): string {
  if (path.includes("/blobs/")) {
    return "BLOB_UNKNOWN";
  }
  return path.includes("/manifests/") ? "MANIFEST_UNKNOWN" : "NAME_UNKNOWN";
}

function sendError(
  response: ServerResponse,
  { status, code, isHead }: { status: number; code: string; isHead: boolean },
): void {
  const body = JSON.stringify({ errors: [{ code, message: `fake ${code.toLowerCase()}` }] });
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
  });
  response.end(isHead ? undefined : body);
}

export function portOf(server: Server): number {
  const address = server.address() as AddressInfo;
  return address.port;
}

function toError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value));
}
