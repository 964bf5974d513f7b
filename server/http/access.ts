import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import { asCredential, parseAuthorization } from "../clients/authorization.ts";
import type { Clients } from "../clients/clients.ts";
import type { Asked, Entitlements } from "../clients/entitlements.ts";
import type { Identified, PresentedCertificate } from "../clients/identity.ts";
import type { Exchange } from "./exchange.ts";
import type { Upstreams } from "./routing.ts";
import { routeTo } from "./routing.ts";
import type { PullTarget } from "./target.ts";

export interface AccessOptions {
  readonly upstreams: Upstreams;
  /** Undefined: whoever can connect may pull. */
  readonly clients: Clients | undefined;
  readonly entitlements: Entitlements;
  /**
   * For answers to a ping that needs no log-in: podman and skopeo send theirs later only when this
   * one speaks of it. Undefined: none is of use.
   */
  readonly challenge: string | undefined;
  /** Some upstream takes the log-in of clients, so that a header may not be meant for us. */
  readonly hasPerClient: boolean;
}

/** Who asks, and whether they may: before anything is looked up for them. */
export class Access {
  readonly challenge: string | undefined;
  readonly #options: AccessOptions;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.challenge = options.challenge;
  }

  /** @throws RegistryError `client-unknown`. */
  async ping(exchange: Exchange): Promise<void> {
    await this.#identify(exchange, this.#options.hasPerClient);
  }

  /**
   * Where to pull from for whoever asks. Nothing of the upstreams is told to those that are not let
   * in.
   *
   * Without a Promise where nobody has to say who they are: that is the hottest path of all.
   *
   * @throws RegistryError `client-unknown`, `client-denied`, and what routing throws.
   */
  admit(exchange: Exchange, target: PullTarget): Source | Promise<Source> {
    const { clients, upstreams } = this.#options;
    if (clients !== undefined) {
      return this.#admitKnown(exchange, target, clients);
    }
    const source = noteSource(exchange, routeTo(target, upstreams));
    return source.upstream.access === "shared"
      ? source
      : this.#entitled(exchange, target, { source, isOurs: false });
  }

  async #admitKnown(exchange: Exchange, target: PullTarget, clients: Clients): Promise<Source> {
    const { upstreams } = this.#options;
    const route = attempt(() => routeTo(target, upstreams));
    const isPerClient = route.value?.upstream.access === "per-client";
    const identified = await this.#identify(exchange, isPerClient);
    if (route.value === undefined) {
      throw route.error;
    }
    const source = noteSource(exchange, route.value);
    if (identified !== undefined) {
      clients.requirePull(identified.identity, nameOf(source));
    }
    return await this.#entitled(exchange, target, { source, isOurs: identified?.isOurs === true });
  }

  async #identify(exchange: Exchange, mayBeForUpstream: boolean): Promise<Identified | undefined> {
    const { clients } = this.#options;
    if (clients === undefined) {
      return;
    }
    const identified = await clients.identify({
      authorization: exchange.header("authorization"),
      certificate: certificateOf(exchange.request.socket),
      mayBeForUpstream,
    });
    exchange.user = identified.identity.name;
    return identified;
  }

  /** A log-in that was for us is nobody else's business. */
  async #entitled(
    exchange: Exchange,
    target: PullTarget,
    { source, isOurs }: { readonly source: Source; readonly isOurs: boolean },
  ): Promise<Source> {
    if (source.upstream.access === "shared") {
      return source;
    }
    const header = isOurs ? undefined : exchange.header("authorization");
    const credential = asCredential(parseAuthorization(header));
    return await this.#options.entitlements.require(source, askedBy(target), credential);
  }
}

function noteSource(exchange: Exchange, source: Source): Source {
  exchange.upstream = source.upstream.name;
  exchange.repository = source.repository;
  return source;
}

function attempt<T>(run: () => T): { readonly value?: T; readonly error?: unknown } {
  try {
    return { value: run() };
  } catch (error) {
    return { error };
  }
}

function askedBy(target: PullTarget): Asked {
  switch (target.kind) {
    case "manifest":
      return { kind: "manifest", reference: target.reference.tag ?? target.reference.digest };
    case "blob":
    case "referrers":
      return { kind: target.kind, digest: target.digest };
    case "tags":
      return { kind: "tags" };
  }
}

interface KnownCertificate {
  readonly presented: PresentedCertificate;
  readonly validToMs: number;
}

const certificates = new WeakMap<Socket, KnownCertificate>();

/** Parsed once a connection, which may last longer than its certificate. */
function certificateOf(socket: Socket): PresentedCertificate | undefined {
  if (!(socket instanceof TLSSocket)) {
    return;
  }
  const known = certificates.get(socket) ?? readCertificate(socket);
  if (known === undefined) {
    return;
  }
  certificates.set(socket, known);
  const { presented, validToMs } = known;
  return Date.now() < validToMs ? presented : { ...presented, isTrusted: false };
}

function readCertificate(socket: TLSSocket): KnownCertificate | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    return;
  }
  const { raw, validToDate } = certificate;
  return { presented: { isTrusted: socket.authorized, raw }, validToMs: validToDate.getTime() };
}
