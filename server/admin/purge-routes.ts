import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { PurgeTarget } from "../../storage/purge.ts";
import type { PurgeReport } from "../../storage/purge-removal.ts";
import type { Settings } from "../settings.ts";
import type { AdminGuard } from "./guard.ts";
import { PurgeProblem, parsePurge, targetOf } from "./purge-request.ts";

export interface PurgeRouteOptions {
  /** Undefined while another one runs. */
  readonly purge: (target: PurgeTarget, isDryRun: boolean) => Promise<PurgeReport | undefined>;
  readonly settings: () => Pick<Settings, "upstreams" | "defaultUpstream">;
  /** The wall clock in milliseconds. */
  readonly now: () => number;
  readonly protect: AdminGuard["protect"];
}

/** POST /api/v1/purge answers when all of it is done: 200 with the report, 400, 409 while one runs. */
export function addPurgeRoutes(app: FastifyInstance, options: PurgeRouteOptions): void {
  const { purge, settings, now, protect } = options;
  const routes = { onRequest: protect, errorHandler: answerProblem };
  app.post("/api/v1/purge", routes, async ({ body }, reply) => {
    const request = parsePurge(body);
    const target = targetOf(request, settings(), now());
    const dryRun = request.dryRun === true;
    const report = await purge(target, dryRun);
    return report === undefined
      ? reply.code(409).send({ error: "a purge is under way: ask again when it is done" })
      : reply.send({ dryRun, ...report });
  });
}

/** What is wrong with a request is said in the API's own form; what is wrong with us, is not. */
export function answerProblem(
  error: Error & { readonly statusCode?: number },
  _request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const status = error instanceof PurgeProblem ? 400 : (error.statusCode ?? 500);
  const message = status < 500 ? error.message : "the store failed: the log says how";
  return reply.code(status).send({ error: message });
}
