import type { FastifyInstance } from "fastify";
import Type from "typebox";
import { Check } from "typebox/value";
import { PURGE_LIMITS } from "../limits.ts";
import type { ScrubOptions, ScrubState } from "../scrub-job.ts";
import type { AdminGuard } from "./guard.ts";
import { PurgeProblem } from "./purge-request.ts";
import { answerProblem } from "./purge-routes.ts";

const { scrubRateMin, scrubRateMax, scrubRate } = PURGE_LIMITS;

const Body = Type.Object(
  {
    bytesPerSecond: Type.Optional(Type.Integer({ minimum: scrubRateMin, maximum: scrubRateMax })),
    dryRun: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

export interface ScrubRouteOptions {
  /** Undefined while another one runs. */
  readonly startScrub: (options: ScrubOptions) => ScrubState | undefined;
  readonly scrub: () => ScrubState;
  readonly protect: AdminGuard["protect"];
}

/** POST /api/v1/scrub starts one (202, or 409 while one runs); GET shows how far it is. */
export function addScrubRoutes(app: FastifyInstance, options: ScrubRouteOptions): void {
  const { startScrub, scrub, protect } = options;
  const routes = { onRequest: protect, errorHandler: answerProblem };
  app.get("/api/v1/scrub", routes, (_request, reply) => reply.send(scrub()));
  app.post("/api/v1/scrub", routes, async ({ body = {} }, reply) => {
    if (!Check(Body, body)) {
      throw new PurgeProblem(
        `send a JSON object with bytesPerSecond (${scrubRateMin} to ${scrubRateMax}) and dryRun ` +
          "(true or false), or nothing",
      );
    }
    const { bytesPerSecond = scrubRate, dryRun = false } = body;
    const started = startScrub({ bytesPerSecond, isDryRun: dryRun });
    return started === undefined
      ? reply.code(409).send({ error: "a scrub is under way: GET /api/v1/scrub shows how far" })
      : reply.code(202).send(started);
  });
}
