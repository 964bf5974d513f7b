import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Agent, createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as it passed, with the status that came back. */
export interface Passed {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly status: number;
}

/**
 * Stands before a server and writes down what passes, or cuts it. Stopped, it refuses connections,
 * as a server that is down does, and comes back on the same port.
 */
export class CountingProxy implements AsyncDisposable {
  readonly #target: URL;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #passed: Passed[] = [];
  #server: Server;
  #port = 0;
  #cut: { readonly path: RegExp; readonly afterBytes: number } | undefined;

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = this.#newServer();
  }

  static async start(target: string): Promise<CountingProxy> {
    const proxy = new CountingProxy(target);
    await proxy.restart();
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** What passed since the last call. */
  take(): Passed[] {
    return this.#passed.splice(0);
  }

  /** Breaks the connection once, after so many bytes of the body of the next path that matches. */
  cutOnce(path: RegExp, afterBytes: number): void {
    this.#cut = { path, afterBytes };
  }

  async stop(): Promise<void> {
    if (this.#server.listening) {
      const closed = once(this.#server, "close");
      this.#server.close();
      this.#server.closeAllConnections();
      await closed;
    }
  }

  async restart(): Promise<void> {
    await this.stop();
    this.#server = this.#newServer();
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#agent.destroy();
  }

  #newServer(): Server {
    return createServer((request, response) => this.#forward(request, response));
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "/";
    const method = request.method ?? "GET";
    const outgoing = httpRequest(this.#target, {
      agent: this.#agent,
      method,
      path,
      headers: request.headers,
    });
    outgoing.once("response", (incoming) => {
      const status = incoming.statusCode ?? 0;
      this.#passed.push({ method, path, range: request.headers.range, status });
      response.writeHead(status, incoming.statusMessage, incoming.rawHeaders);
      this.#relay(method === "GET" && status < 300 ? path : undefined, incoming, response);
    });
    outgoing.once("error", () => response.destroy());
    response.once("close", () => outgoing.destroy());
    request.pipe(outgoing);
  }

  #relay(path: string | undefined, incoming: IncomingMessage, response: ServerResponse): void {
    const cut = path !== undefined && this.#cut?.path.test(path) ? this.#cut : undefined;
    if (!cut) {
      incoming.pipe(response);
      return;
    }
    this.#cut = undefined;
    let left = cut.afterBytes;
    incoming.on("data", (chunk: Buffer) => {
      const part = chunk.subarray(0, left);
      left -= part.byteLength;
      response.write(part, () => {
        if (left === 0) {
          response.destroy();
        }
      });
    });
  }
}
