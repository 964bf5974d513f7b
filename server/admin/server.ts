import type { FastifyInstance } from "fastify";
import { fastify } from "fastify";
import { CLIENT_LIMITS } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import { AdminGuard } from "./guard.ts";
import type { PurgeRouteOptions } from "./purge-routes.ts";
import { addPurgeRoutes } from "./purge-routes.ts";
import type { ScrubRouteOptions } from "./scrub-routes.ts";
import { addScrubRoutes } from "./scrub-routes.ts";

/** What readiness looks at. Trouble of others is degraded, never unready. */
export interface Readiness {
  readonly isReady: boolean;
  /** Why not ready, and what is degraded: shown in the body, for people. */
  readonly reasons: readonly string[];
}

export interface AdminServerOptions {
  readonly metrics: Metrics;
  readonly readiness: () => Readiness;
  /** The token that is wanted of whoever changes something, as a file; asked each time. */
  readonly tokenFile: () => string | undefined;
  /** Reads the configuration again; undefined where there is none to be read. */
  readonly reload: (() => Promise<"applied" | "refused" | "unchanged">) | undefined;
  /** Removing and looking through what is held; undefined where nothing is. */
  readonly store?: Omit<PurgeRouteOptions & ScrubRouteOptions, "protect">;
}

/** Health and metrics, on a port of their own so that pulls cannot starve them. */
export function createAdminServer(options: AdminServerOptions): FastifyInstance {
  const { metrics, readiness, reload } = options;
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
  const { protect } = new AdminGuard(options.tokenFile);
  if (options.store !== undefined) {
    addPurgeRoutes(app, { ...options.store, protect });
    addScrubRoutes(app, { ...options.store, protect });
  }
  if (reload !== undefined) {
    app.post("/api/v1/reload", { onRequest: protect }, async (_request, reply) => {
      const outcome = await reload();
      return reply.code(outcome === "refused" ? 422 : 200).send({
        outcome,
        ...(outcome === "refused" && {
          error: "the new configuration is wrong: the log says where",
        }),
      });
    });
  }
  return app;
}
