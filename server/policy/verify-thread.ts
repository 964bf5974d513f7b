import { parentPort } from "node:worker_threads";
import type { AuthoritySettings } from "../policy-settings.ts";
import { compileAuthority } from "./authorities.ts";
import type { Authority } from "./authority.ts";
import type { Candidate } from "./evidence.ts";
import { Judge } from "./judge.ts";
import type { JudgeRequest, Program, ThreadAnswer, ThreadRequest } from "./verify-protocol.ts";
import { PROGRAMS_KEPT } from "./verify-protocol.ts";

// The thread that verifies: one request at a time, no network, no files. The library that does the
// cryptography is synchronous, and is loaded here only.

class Loaded {
  /** Which candidate is being looked at, by its place in the evidence. */
  static watch: (candidate: Candidate) => void = () => undefined;
  readonly #judges = new Map<string | undefined, Judge>();

  constructor({ rules, denied, publicGood }: Program) {
    const compile = (settings: AuthoritySettings): Authority => {
      const authority = compileAuthority(settings, publicGood);
      return {
        name: authority.name,
        verify: (candidate, subject, nowMs) => {
          Loaded.watch(candidate);
          return authority.verify(candidate, subject, nowMs);
        },
      };
    };
    const deniedSigners = denied.map(({ signer, reason }) => ({
      authority: compile(signer),
      reason,
    }));
    this.#judges.set(undefined, new Judge({ rule: undefined, deniedSigners, compile }));
    for (const rule of rules) {
      this.#judges.set(rule.name, new Judge({ rule, deniedSigners, compile }));
    }
  }

  judge({ rule, evidence, nowMs, progress }: JudgeRequest): ThreadAnswer {
    const judge = this.#judges.get(rule);
    if (judge === undefined) {
      return { kind: "failed", message: `no rule is called ${rule}` };
    }
    Loaded.watch = (candidate) => {
      Atomics.store(progress, 0, evidence.candidates.indexOf(candidate));
    };
    return { kind: "judged", judgement: judge.judge(evidence, nowMs) };
  }
}

const programs = new Map<string, Loaded>();

function answer(request: ThreadRequest): ThreadAnswer {
  if (request.kind === "load") {
    const { program } = request;
    programs.set(program.id, new Loaded(program));
    for (const id of [...programs.keys()].slice(0, -PROGRAMS_KEPT)) {
      programs.delete(id);
    }
    return { kind: "loaded" };
  }
  const loaded = programs.get(request.program);
  return loaded === undefined
    ? { kind: "failed", message: "the policy of this request is no longer loaded" }
    : loaded.judge(request);
}

parentPort?.on("message", (request: ThreadRequest) => {
  try {
    parentPort?.postMessage(answer(request));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    parentPort?.postMessage({ kind: "failed", message } satisfies ThreadAnswer);
  }
});
