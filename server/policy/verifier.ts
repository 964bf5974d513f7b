import { availableParallelism } from "node:os";
import { RegistryError } from "../errors.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { Candidate, PassedOver } from "./evidence.ts";
import type { Judgement } from "./judgement.ts";
import type { JudgeRequest, Program, ThreadAnswer } from "./verify-protocol.ts";
import { PROGRAMS_KEPT } from "./verify-protocol.ts";
import { ThreadEnded, VerifyWorker } from "./verify-worker.ts";

export type VerifyRequest = Omit<JudgeRequest, "kind" | "progress">;

/** What a request came to. `spoiled` are candidates that were given up, with the reason. */
export interface Verification {
  readonly judgement: Judgement;
  readonly spoiled: readonly PassedOver[];
}

/** No verdict: too much time, or a fault of ours. Never an allow. */
export class VerificationFailed extends Error {
  override readonly name = "VerificationFailed";
  readonly isTimeout: boolean;

  constructor(message: string, { isTimeout }: { readonly isTimeout: boolean }) {
    super(message);
    this.isTimeout = isTimeout;
  }
}

/** Two, so that one bad signature does not hold up all others; four verify faster than anyone signs. */
const THREADS_MIN = 2;
const THREADS_MAX = 4;
const LOAD_TIMEOUT_MS = 20_000;

/** Verifies in threads, so that no pull waits for another one's cryptography. */
export class Verifier implements AsyncDisposable {
  readonly #idle: VerifyWorker[] = [];
  readonly #queue: PromiseWithResolvers<VerifyWorker>[] = [];
  readonly #programs = new Map<string, Program>();
  /** Which programs each thread holds, the latest last. */
  readonly #loaded = new WeakMap<VerifyWorker, string[]>();
  readonly #workers = new Set<VerifyWorker>();
  readonly #threadsMax = Math.min(THREADS_MAX, Math.max(THREADS_MIN, availableParallelism() - 1));
  #isDisposed = false;

  /**
   * Makes a program ready, which may never be used.
   *
   * @throws when it cannot be compiled: a key or a trusted root that the library does not take.
   */
  async load(program: Program): Promise<void> {
    const worker = await this.#acquire();
    try {
      await this.#teach(worker, program);
    } finally {
      this.#release(worker);
    }
  }

  /** From now on requests may name it; the one before the last is forgotten. */
  use(program: Program): void {
    this.#programs.delete(program.id);
    this.#programs.set(program.id, program);
    for (const id of [...this.#programs.keys()].slice(0, -PROGRAMS_KEPT)) {
      this.#programs.delete(id);
    }
  }

  /**
   * @throws VerificationFailed when there was no verdict; RegistryError `overloaded` when too many
   *   wait already.
   */
  async judge(request: VerifyRequest): Promise<Verification> {
    const spoiled: PassedOver[] = [];
    let leftMs: number = POLICY_LIMITS.verifyTimeoutMs;
    let { candidates } = request.evidence;
    for (;;) {
      const evidence = { ...request.evidence, candidates };
      const run = await this.#run({ ...request, evidence }, leftMs);
      if ("judgement" in run) {
        return { judgement: run.judgement, spoiled };
      }
      leftMs -= run.spentMs;
      const { culprit, problem } = run;
      if (culprit === undefined || leftMs <= 0) {
        throw new VerificationFailed(problem, { isTimeout: true });
      }
      spoiled.push({ artifact: culprit.artifact, problem: `was given up: ${problem}` });
      candidates = candidates.filter((candidate) => candidate !== culprit);
    }
  }

  /** Waiting for a thread is not held against a request: that is the others' time. */
  async #run(request: VerifyRequest, leftMs: number): Promise<Run> {
    const worker = await this.#acquire();
    const startedAt = performance.now();
    const progress = new Int32Array(new SharedArrayBuffer(4)).fill(-1);
    try {
      await this.#teach(worker, this.#program(request.program));
      const timeoutMs = Math.min(POLICY_LIMITS.verifyOneTimeoutMs, leftMs);
      const answer = await worker.ask({ ...request, kind: "judge", progress }, timeoutMs);
      return { judgement: judgementOf(answer) };
    } catch (error) {
      if (!(error instanceof ThreadEnded)) {
        throw error;
      }
      const culprit = request.evidence.candidates[Atomics.load(progress, 0)];
      return { culprit, problem: error.message, spentMs: performance.now() - startedAt };
    } finally {
      this.#release(worker);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    for (const waiting of this.#queue.splice(0)) {
      waiting.reject(new VerificationFailed("the program ends", { isTimeout: false }));
    }
    await Promise.all([...this.#workers].map((worker) => worker[Symbol.asyncDispose]()));
  }

  #program(id: string): Program {
    const program = this.#programs.get(id);
    if (program === undefined) {
      throw new VerificationFailed("the policy changed meanwhile", { isTimeout: false });
    }
    return program;
  }

  async #teach(worker: VerifyWorker, program: Program): Promise<void> {
    const known = this.#loaded.get(worker) ?? [];
    if (known.includes(program.id)) {
      return;
    }
    const answer = await worker.ask({ kind: "load", program }, LOAD_TIMEOUT_MS);
    if (answer.kind === "failed") {
      throw new VerificationFailed(answer.message, { isTimeout: false });
    }
    this.#loaded.set(worker, [...known, program.id].slice(-PROGRAMS_KEPT));
  }

  async #acquire(): Promise<VerifyWorker> {
    if (this.#isDisposed) {
      throw new VerificationFailed("the program ends", { isTimeout: false });
    }
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (!idle.isEnded) {
        return idle;
      }
      this.#workers.delete(idle); // it died in its sleep
    }
    if (this.#workers.size < this.#threadsMax) {
      return this.#start();
    }
    if (this.#queue.length >= POLICY_LIMITS.verifyQueueMax) {
      throw new RegistryError("overloaded", "too many images wait to be verified; ask again");
    }
    return await this.#waitInLine();
  }

  /** Not for ever: what is slow is somebody else's image, and whoever waits may ask again. */
  async #waitInLine(): Promise<VerifyWorker> {
    const waiting = Promise.withResolvers<VerifyWorker>();
    this.#queue.push(waiting);
    const timer = setTimeout(() => {
      this.#queue.splice(this.#queue.indexOf(waiting), 1);
      waiting.reject(new RegistryError("overloaded", "verifying others takes long; ask again"));
    }, POLICY_LIMITS.verifyQueueTimeoutMs);
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #start(): VerifyWorker {
    const worker = new VerifyWorker();
    this.#workers.add(worker);
    return worker;
  }

  #release(worker: VerifyWorker): void {
    if (worker.isEnded) {
      this.#workers.delete(worker);
    }
    const next = this.#isDisposed ? undefined : this.#queue.shift();
    if (next !== undefined) {
      next.resolve(worker.isEnded ? this.#start() : worker);
    } else if (!worker.isEnded) {
      this.#idle.push(worker);
    }
  }
}

type Run =
  | { readonly judgement: Judgement }
  | {
      /** What was being looked at when the thread ended. */
      readonly culprit: Candidate | undefined;
      readonly problem: string;
      readonly spentMs: number;
    };

function judgementOf(answer: ThreadAnswer): Judgement {
  if (answer.kind === "judged") {
    return answer.judgement;
  }
  const message = answer.kind === "failed" ? answer.message : "an answer out of turn";
  throw new VerificationFailed(message, { isTimeout: false });
}
