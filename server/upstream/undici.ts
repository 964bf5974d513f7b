import { createRequire } from "node:module";
import type * as undici from "undici";

const load = createRequire(import.meta.url);

/**
 * The two parts of undici that we use, without its front door: that one loads fetch, WebSocket,
 * mocks and caches, 14 MiB of a process that is to stay below 150. The version is pinned, and the
 * types are those of the front door.
 */
export const Agent: typeof undici.Agent = load("undici/lib/dispatcher/agent.js");
export const buildConnector: typeof undici.buildConnector = load("undici/lib/core/connect.js");
