/**
 * The clients, in processes of their own. They speak HTTP over bare sockets and read into one
 * buffer that all of them share, so that what is measured is the server and not they.
 */
import type { Download } from "./download.ts";
import { download, release, stall } from "./download.ts";
import type { Paced, PaceOptions } from "./pace.ts";
import { pace } from "./pace.ts";
import type { Requests } from "./requests.ts";
import { ask } from "./requests.ts";
import type { Target } from "./wire.ts";

export type Job =
  | {
      readonly kind: "download";
      readonly target: Target;
      readonly clients: number;
      readonly verify: boolean;
      readonly deadlineMs: number;
    }
  | { readonly kind: "stall"; readonly target: Target; readonly clients: number }
  | { readonly kind: "release" }
  | {
      readonly kind: "fetch";
      readonly targets: readonly Target[];
      readonly deadlineMs: number;
    }
  | ({ readonly kind: "pace"; readonly target: Target } & PaceOptions)
  | {
      readonly kind: "requests";
      readonly target: Target;
      readonly connections: number;
      readonly durationMs: number;
    };

export type Outcome =
  | { readonly downloads: readonly Download[] }
  | { readonly paced: readonly Paced[] }
  | Requests;

async function perform(job: Job): Promise<Outcome> {
  switch (job.kind) {
    case "download": {
      const one = (): Promise<Download> => download(job.target, job.verify, job.deadlineMs);
      return { downloads: await Promise.all(Array.from({ length: job.clients }, one)) };
    }
    case "stall": {
      const one = (): Promise<Download> => stall(job.target);
      return { downloads: await Promise.all(Array.from({ length: job.clients }, one)) };
    }
    case "release":
      release();
      return { downloads: [] };
    case "fetch": {
      const one = (target: Target): Promise<Download> => download(target, false, job.deadlineMs);
      return { downloads: await Promise.all(job.targets.map(one)) };
    }
    case "pace":
      return { paced: await pace(job.target, job) };
    case "requests":
      return await ask(job.target, job.connections, job.durationMs);
  }
}

if (process.send !== undefined) {
  process.on("message", (job: Job) => {
    perform(job).then(
      (outcome) => process.send?.(outcome),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  process.on("disconnect", () => process.exit(0));
}
