import type { Dispatcher } from "undici";
import { AttemptFailure, failureOf } from "./failure.ts";

export type Headers = Readonly<Record<string, string | string[] | undefined>>;

export interface ExchangeRequest {
  readonly url: URL;
  readonly method: "GET" | "HEAD" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Absolute: from the call to the response headers, connecting and 1xx included. */
  readonly firstByteTimeoutMs: number;
  readonly informationalMax: number;
  /** The connection of a HEAD is used again. Only where a body sent by mistake can do no harm. */
  readonly keepsAlive?: boolean;
  /** Ends the exchange, body included. */
  readonly signal?: AbortSignal | undefined;
}

/** Takes a chunk, which belongs to it only during the call. False asks for a pause. */
export type ChunkConsumer = (chunk: Buffer) => boolean;

/** Response headers; the body waits. Exactly one of `consume` and `abort` is called first. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Resolves after the last byte; rejects with the failure, or with what `consumer` threw. */
  consume(consumer: ChunkConsumer): Promise<void>;
  resume(): void;
  abort(reason: Error): void;
}

/**
 * One request and its answer, straight on undici's dispatcher.
 *
 * The deadline is our own since undici's headersTimeout starts anew with every 1xx response.
 * Rejects with an AttemptFailure, or with the signal's reason.
 */
export function exchange(dispatcher: Dispatcher, request: ExchangeRequest): Promise<Answer> {
  const { url, method, headers, body, signal } = request;
  const running = new Exchange(request);
  if (signal?.aborted !== true) {
    dispatcher.dispatch(
      {
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: { ...headers },
        body: body ?? null,
        ...(request.keepsAlive === true ? { reset: false } : {}),
      },
      running,
    );
  }
  return running.head;
}

class Exchange implements Dispatcher.DispatchHandler, Answer {
  status = 0;
  headers: Headers = {};
  readonly #head = Promise.withResolvers<Answer>();
  readonly #end = Promise.withResolvers<void>();
  readonly #request: ExchangeRequest;
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #consumer: ChunkConsumer | undefined;
  readonly #early: Buffer[] = [];
  #informational = 0;
  #isComplete = false;
  #ended: Error | undefined;
  /** What we ended it with, which is passed on as it is. */
  #own: Error | undefined;

  constructor(request: ExchangeRequest) {
    this.#request = request;
    this.#end.promise.catch(() => undefined);
    this.#timer = setTimeout(() => this.abort(lateFailure()), request.firstByteTimeoutMs);
    this.#onAbort = () => this.abort(reasonOf(request.signal));
    request.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (request.signal?.aborted === true) {
      this.#onAbort();
    }
  }

  get head(): Promise<Answer> {
    return this.#head.promise;
  }

  consume(consumer: ChunkConsumer): Promise<void> {
    this.#consumer = consumer;
    for (const chunk of this.#early.splice(0)) {
      this.#deliver(chunk);
    }
    this.resume();
    return this.#end.promise;
  }

  /**
   * In a microtask: undici's parser must not be entered from within a callback of its own. Not
   * after the end: by then the parser may be busy with the next answer on the connection.
   */
  resume(): void {
    queueMicrotask(() => {
      if (!this.#isComplete) {
        this.#controller?.resume();
      }
    });
  }

  abort(reason: Error): void {
    this.#own = reason;
    this.#finish(reason);
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended !== undefined) {
      controller.abort(this.#ended);
    }
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Headers,
  ): void {
    if (statusCode < 200) {
      this.#informational += 1;
      if (this.#informational > this.#request.informationalMax) {
        throw new AttemptFailure("protocol", "it sent too many 1xx responses");
      }
      return;
    }
    clearTimeout(this.#timer);
    this.status = statusCode;
    this.headers = headers;
    if (this.#request.method !== "HEAD") {
      controller.pause();
      this.#head.resolve(this);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (chunk.length === 0) {
      return; // undici flushes its parser so on resume; a pause here would never end
    }
    if (this.#consumer === undefined) {
      // A pause is advice: what the socket held when it was reset comes all the same.
      this.#early.push(Buffer.from(chunk));
    } else if (!this.#deliver(chunk)) {
      controller.pause();
    }
  }

  #deliver(chunk: Buffer): boolean {
    try {
      return this.#consumer?.(chunk) ?? true;
    } catch (error) {
      this.abort(error instanceof Error ? error : new Error("aborted", { cause: error }));
      return true;
    }
  }

  /**
   * undici frees the connection in the next setImmediate; who asks again before that would open
   * another one. So the end is told after it, and so is the answer to a HEAD, which has no body.
   */
  onResponseEnd(): void {
    this.#isComplete = true;
    this.#release();
    queueMicrotask(() =>
      setImmediate(() => {
        this.#head.resolve(this);
        this.#end.resolve();
      }),
    );
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#finish(error);
  }

  #finish(error: Error): void {
    if (this.#ended !== undefined) {
      return;
    }
    this.#ended = error;
    this.#release();
    const phase = { isConnected: this.#controller !== undefined, hasAnswered: this.status !== 0 };
    const told = error === this.#own ? error : failureOf(error, phase);
    this.#head.reject(told);
    this.#end.reject(told);
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
  }
}

function lateFailure(): AttemptFailure {
  return new AttemptFailure("timeout", "it did not answer in time");
}

function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason });
}
