import { Agent } from "node:http";
import { Agent as TlsAgent } from "node:https";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { StorageError } from "./errors.ts";
import type { S3Breaker } from "./s3-breaker.ts";
import { S3_LIMITS } from "./s3-limits.ts";

type Handle = NodeHttpHandler["handle"];
type Request = Parameters<Handle>[0];
type HandlerOptions = Parameters<Handle>[1];
type Handled = Awaited<ReturnType<Handle>>;

/**
 * What the SDK sends its requests with: sockets, timeouts, attempts and breaker of our own.
 *
 * The SDK's own defaults are 50 sockets, no timeouts, and as many retries as fail, each of them
 * invisible. A request's body is always in memory here, so it can be sent again; its signature
 * holds for 15 minutes.
 */
export class S3Transport {
  readonly metadata: NodeHttpHandler["metadata"] = { handlerProtocol: "http/1.1" };
  readonly #agents = [
    new Agent({ keepAlive: true, maxSockets: S3_LIMITS.socketsMax }),
    new TlsAgent({ keepAlive: true, maxSockets: S3_LIMITS.socketsMax }),
  ] as const;
  readonly #breaker: S3Breaker;
  readonly #asking: NodeHttpHandler;
  readonly #sending: NodeHttpHandler;
  readonly #completing: NodeHttpHandler;

  constructor(breaker: S3Breaker) {
    this.#breaker = breaker;
    const [httpAgent, httpsAgent] = this.#agents;
    const connectionTimeout = S3_LIMITS.connectTimeoutMs;
    const shared = { httpAgent, httpsAgent, connectionTimeout };
    // No idle timeout here: of a body that its reader lets wait, the socket is idle as well.
    this.#asking = new NodeHttpHandler({
      ...shared,
      requestTimeout: S3_LIMITS.firstByteTimeoutMs,
      throwOnRequestTimeout: true,
    });
    // A deadline would be one for the whole body; while it is being sent, only standing still counts.
    this.#sending = new NodeHttpHandler({ ...shared, socketTimeout: S3_LIMITS.idleTimeoutMs });
    this.#completing = new NodeHttpHandler({
      ...shared,
      socketTimeout: S3_LIMITS.completeTimeoutMs,
    });
  }

  async handle(request: Request, options: HandlerOptions = {}): Promise<Handled> {
    for (let attempt = 1; ; attempt++) {
      const result = await this.#once(request, options);
      const mayRepeat = attempt < S3_LIMITS.attemptsMax && this.#breaker.mayAsk;
      if (!("error" in result) && (!isFailure(result.status) || !mayRepeat)) {
        return result.handled;
      }
      if ("error" in result && (!mayRepeat || options?.abortSignal?.aborted === true)) {
        throw result.error;
      }
      let baseMs: number = S3_LIMITS.backoffMs;
      if (!("error" in result)) {
        discard(result.handled);
        baseMs = isSlowDown(result.status) ? S3_LIMITS.slowDownMs : baseMs;
      }
      await pause(baseMs * 2 ** (attempt - 1), options);
    }
  }

  /** The SDK would set timeouts of its own. */
  updateHttpClientConfig(): void {}

  httpHandlerConfigs(): object {
    return {};
  }

  destroy(): void {
    for (const agent of this.#agents) {
      agent.destroy();
    }
  }

  async #once(
    request: Request,
    options: HandlerOptions,
  ): Promise<{ error: unknown } | { handled: Handled; status: number }> {
    if (!this.#breaker.mayAsk) {
      const message = "the bucket failed too often; it is asked again within seconds";
      throw new StorageError("store-unavailable", message);
    }
    if (this.#socketsInUse() >= S3_LIMITS.socketsMax) {
      const message = `${S3_LIMITS.socketsMax} requests to the bucket are under way; ask again later`;
      throw new StorageError("store-unavailable", message);
    }
    this.#breaker.started();
    try {
      const handled = await this.#handlerOf(request).handle(request, options);
      const status = handled.response.statusCode;
      if (isFailure(status)) {
        this.#breaker.failed();
      } else {
        this.#breaker.succeeded();
      }
      return { handled, status };
    } catch (error) {
      if (options?.abortSignal?.aborted === true) {
        this.#breaker.abandoned();
      } else {
        this.#breaker.failed();
      }
      return { error };
    }
  }

  #handlerOf(request: Request): NodeHttpHandler {
    const { method, query } = request;
    if (method === "POST" && query?.["uploadId"] !== undefined) {
      return this.#completing;
    }
    return method === "PUT" ? this.#sending : this.#asking;
  }

  #socketsInUse(): number {
    const lists = this.#agents.flatMap((agent) => Object.values(agent.sockets));
    return lists.reduce((sum, list) => sum + (list?.length ?? 0), 0);
  }
}

/** 501 is an answer: it cannot do that, and will not be able to. */
function isFailure(status: number): boolean {
  return isSlowDown(status) || (status >= 500 && status !== 501);
}

function isSlowDown(status: number): boolean {
  return status === 503 || status === 429;
}

/** Its body is not read; without that the socket would stay taken. */
function discard({ response }: Handled): void {
  if (response.body instanceof Readable) {
    response.body.on("error", () => undefined).destroy();
  }
}

/** Half of it at least, so that what failed together does not come back together. */
async function pause(atMostMs: number, options: HandlerOptions): Promise<void> {
  const signal = options?.abortSignal;
  const delayMs = atMostMs * (0.5 + Math.random() / 2);
  await sleep(delayMs, undefined, signal instanceof AbortSignal ? { signal } : {});
}
