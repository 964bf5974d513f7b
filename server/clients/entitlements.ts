import { LRUCache } from "lru-cache";
import type { Digest } from "../../storage/digest.ts";
import { SingleFlight } from "../cache/single-flight.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import type { Credential } from "../credentials/credential.ts";
import { RegistryError } from "../errors.ts";
import { ACCESS_LIMITS } from "../limits.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { CheckGate } from "./check-gate.ts";

/** What a client asks for, as far as its registry can be asked whether it may. */
export type Asked =
  | { readonly kind: "manifest"; readonly reference: string }
  | { readonly kind: "blob" | "referrers"; readonly digest: Digest }
  | { readonly kind: "tags" };

/**
 * Whether a client may read what a registry with `access: per-client` has: its own log-in is tried
 * there, with one HEAD, before anything held is served. Only a success proves a right, and it is the
 * right to the repository, for a minute; what the registry does not have proves nothing.
 */
export class Entitlements {
  readonly #entitled: LRUCache<string, true>;
  readonly #refusals: LRUCache<string, RegistryError>;
  readonly #flights = new SingleFlight<void>();
  /** By upstream: as many as are configured. */
  readonly #gates = new Map<string, CheckGate>();

  /** @param now - the wall clock in milliseconds. */
  constructor(now: () => number) {
    const perf = { now };
    const { entitledMs, refusedMs, entitlementsMax, refusalsMax } = ACCESS_LIMITS;
    this.#entitled = new LRUCache({
      max: entitlementsMax,
      ttl: entitledMs,
      ttlResolution: 0,
      perf,
    });
    this.#refusals = new LRUCache({ max: refusalsMax, ttl: refusedMs, ttlResolution: 0, perf });
  }

  /**
   * Where to pull from for this client.
   *
   * @throws RegistryError `client-unknown` when it shows no log-in and the registry wants one,
   *   `client-denied` when the registry refuses it; else what the registry answers.
   */
  async require(source: Source, asked: Asked, credential: Credential | undefined): Promise<Source> {
    const { upstream, repository } = source;
    const { proof, pull } = upstream.forClient(credential);
    const entitled = `${nameOf(source)} ${proof.account}`;
    if (!this.#entitled.has(entitled)) {
      const key = `${entitled} ${JSON.stringify(asked)}`;
      const refusal = this.#refusals.get(key);
      if (refusal !== undefined) {
        throw refusal;
      }
      await this.#flights.run(key, async () => {
        try {
          await this.#gateOf(upstream).run(() => prove({ upstream: proof, repository }, asked));
          this.#entitled.set(entitled, true);
        } catch (error) {
          throw this.#refusalOf(error, key, { source, credential });
        }
      });
    }
    return { upstream: pull, repository };
  }

  /** Log-ins that nothing is known of leave connections to those that pull. */
  #gateOf({ name }: Upstream): CheckGate {
    const gate = this.#gates.get(name) ?? new CheckGate(ACCESS_LIMITS.proofsMax);
    this.#gates.set(name, gate);
    return gate;
  }

  #refusalOf(
    error: unknown,
    key: string,
    {
      source,
      credential,
    }: { readonly source: Source; readonly credential: Credential | undefined },
  ): unknown {
    if (!(error instanceof RegistryError)) {
      return error;
    }
    if (error.code !== "upstream-refused") {
      return error;
    }
    const refusal = credential === undefined ? wantsLogIn(source) : mayNot(source);
    this.#refusals.set(key, refusal);
    return refusal;
  }
}

async function prove({ upstream, repository }: Source, asked: Asked): Promise<void> {
  switch (asked.kind) {
    case "manifest":
      await upstream.headManifest({ repository, reference: asked.reference });
      return;
    case "referrers":
      await upstream.headManifest({ repository, reference: asked.digest });
      return;
    case "blob":
      await upstream.headBlob({ repository, digest: asked.digest });
      return;
    case "tags":
      await upstream.listTags({ repository, pageSize: 1 });
      return;
  }
}

/** The challenge names the registry as it is configured, whatever the request called us. */
export function challengeFor({ name }: Pick<Upstream, "name">): string {
  return `Basic realm="${name}", charset="UTF-8"`;
}

function wantsLogIn(source: Source): RegistryError {
  const { name } = source.upstream;
  return new RegistryError(
    "client-unknown",
    `${nameOf(source)} is served only to whoever may read it at ${name}, and the request carries ` +
      `no log-in: add an image pull secret (or log in) with a user of ${name}`,
    { challenges: [challengeFor(source.upstream)] },
  );
}

function mayNot(source: Source): RegistryError {
  const { name } = source.upstream;
  return new RegistryError(
    "client-denied",
    `${name} does not let this log-in read ${nameOf(source)}: the image does not exist, or the ` +
      "image pull secret is wrong, expired or lacks the right to it",
  );
}
