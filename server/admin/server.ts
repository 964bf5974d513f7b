import type { FastifyInstance } from "fastify";
import { fastify } from "fastify";
import { CLIENT_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";

/** What readiness looks at. Trouble of others is degraded, never unready. */
export interface Readiness {
  readonly isReady: boolean;
  /** Why not ready, and what is degraded: shown in the body, for people. */
  readonly reasons: readonly string[];
}

export interface AdminServerOptions {
  readonly metrics: Metrics;
  readonly readiness: () => Readiness;
}

/** Health and metrics, on a port of their own so that pulls cannot starve them. */
export function createAdminServer({ metrics, readiness }: AdminServerOptions): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: 1024,
    requestTimeout: CLIENT_LIMITS.requestTimeoutMs,
    forceCloseConnections: true,
  });
  // The process answers: that is all that liveness may depend on.
  app.get("/livez", (_request, reply) => reply.type("text/plain").send("ok\n"));
  app.get("/readyz", (_request, reply) => {
    const { isReady, reasons } = readiness();
    const state = isReady ? "ready" : "not ready";
    const degraded = isReady && reasons.length > 0 ? "ready, degraded" : state;
    return reply
      .code(isReady ? 200 : 503)
      .type("text/plain")
      .send(`${[degraded, ...reasons].join("\n")}\n`);
  });
  app.get("/metrics", async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.expose()),
  );
  return app;
}
