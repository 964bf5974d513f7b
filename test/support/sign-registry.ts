import { Daemon } from "./processes.ts";
import { SignableRegistry } from "./signable-registry.ts";

/** What runs it: for `toolOptions`. */
export const REFERRERS_REGISTRY = "referrers-registry";

/** A registry with the referrers API, in the memory of its process. */
export class ReferrersRegistry extends SignableRegistry {
  static async start(): Promise<ReferrersRegistry> {
    const daemon = new Daemon(REFERRERS_REGISTRY, []);
    const [, host = ""] = await daemon.line(/^listening on (127\.0\.0\.1:\d+)$/);
    return new ReferrersRegistry(host, daemon);
  }
}
