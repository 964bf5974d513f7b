import { Worker } from "node:worker_threads";
import { POLICY_LIMITS } from "../limits.ts";
import type { ThreadAnswer, ThreadRequest } from "./verify-protocol.ts";

/** The thread was ended: it took too long, ran out of memory, or crashed. */
export class ThreadEnded extends Error {
  override readonly name = "ThreadEnded";
}

/** One thread with one request at a time. It is not used again after it ended. */
export class VerifyWorker {
  readonly #worker: Worker;
  #waiting: PromiseWithResolvers<ThreadAnswer> | undefined;
  #isEnded = false;

  constructor() {
    this.#worker = new Worker(new URL("./verify-thread.ts", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: POLICY_LIMITS.verifyHeapMiB },
      // Nothing of the environment, or of how this process was started, is its business.
      env: {},
      execArgv: [],
    });
    this.#worker.unref();
    this.#worker.on("message", (answer: ThreadAnswer) => {
      this.#waiting?.resolve(answer);
      this.#waiting = undefined;
    });
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", (code) => this.#end(new Error(`the thread ended with ${code}`)));
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** @throws ThreadEnded, after which the worker is of no use. */
  async ask(request: ThreadRequest, timeoutMs: number): Promise<ThreadAnswer> {
    if (this.#isEnded) {
      throw new ThreadEnded("the thread has ended");
    }
    const waiting = Promise.withResolvers<ThreadAnswer>();
    this.#waiting = waiting;
    this.#worker.ref();
    const timer = setTimeout(() => {
      this.#end(new Error(`it took longer than ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      this.#worker.postMessage(request);
      return await waiting.promise;
    } finally {
      clearTimeout(timer);
      this.#worker.unref();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(new Error("the program ends"));
    await this.#worker.terminate();
  }

  #end(cause: unknown): void {
    this.#isEnded = true;
    const message = cause instanceof Error ? cause.message : String(cause);
    this.#waiting?.reject(new ThreadEnded(message, { cause }));
    this.#waiting = undefined;
    // A thread that computes for ever does not listen: this stops it all the same.
    this.#worker.terminate().then(undefined, () => undefined);
  }
}
