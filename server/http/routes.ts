import type { Registry } from "../cache/cache.ts";
import { RegistryError } from "../errors.ts";
import { PolicyError } from "../policy/policy-error.ts";
import type { Access } from "./access.ts";
import { sendWhole } from "./answers.ts";
import { answerBlob } from "./blobs.ts";
import type { Exchange } from "./exchange.ts";
import { guardRequest } from "./guard.ts";
import { answerManifest } from "./manifests.ts";
import { UnsatisfiableRange } from "./range.ts";
import { answerReferrers } from "./referrers.ts";
import { answerTags } from "./tags.ts";
import type { PullTarget } from "./target.ts";
import { parseTarget } from "./target.ts";
import { toWire } from "./wire-errors.ts";

export interface RoutesOptions {
  readonly registry: Registry;
  /** Asked for each request: a reload replaces it. */
  readonly access: () => Access;
  /** Failures worth a line: ours and the upstreams', not the clients'. */
  readonly onFailure: (error: unknown, exchange: Exchange) => void;
}

const CLOSING: ReadonlySet<string> = new Set([
  "method-unsupported",
  "request-invalid",
  "headers-too-large",
  "url-too-long",
]);
const EMPTY_OBJECT = Buffer.from("{}");

/** Answers one request of the registry API, whatever happens. Never rejects. */
export async function answer(exchange: Exchange, options: RoutesOptions): Promise<void> {
  try {
    guardRequest(exchange.request);
    const target = parseTarget(exchange.request.url ?? "");
    if (target.kind === "ping") {
      await options.access().ping(exchange);
      sendPing(exchange, options.access());
    } else {
      await answerTarget(exchange, target, options);
    }
  } catch (error) {
    fail(error, exchange, options);
  }
}

async function answerTarget(
  exchange: Exchange,
  target: PullTarget,
  { registry, access }: RoutesOptions,
): Promise<void> {
  exchange.kind = target.kind;
  exchange.repository = target.name;
  exchange.reference = referenceOf(target);
  const admitted = access().admit(exchange, target);
  const source = admitted instanceof Promise ? await admitted : admitted;
  switch (target.kind) {
    case "manifest":
      return await answerManifest(exchange, registry, source, target.reference);
    case "blob":
      return await answerBlob(exchange, registry, source, target.digest);
    case "tags":
      return await answerTags(exchange, registry, source, target);
    case "referrers":
      return await answerReferrers(exchange, registry, source, target);
  }
}

function sendPing(exchange: Exchange, access: Access): void {
  const headers = { "content-type": "application/json" };
  const { challenge } = access;
  sendWhole(
    exchange,
    challenge ? { ...headers, "www-authenticate": challenge } : headers,
    EMPTY_OBJECT,
  );
}

function referenceOf(target: PullTarget): string | undefined {
  switch (target.kind) {
    case "manifest":
      return target.reference.tag ?? target.reference.digest;
    case "blob":
    case "referrers":
      return target.digest;
    case "tags":
      return;
  }
}

/** Before the headers an error is an answer; after them it can only be a broken connection. */
function fail(error: unknown, exchange: Exchange, { onFailure }: RoutesOptions): void {
  const { response } = exchange;
  if (response.destroyed && !response.headersSent) {
    return; // the client left before there was an answer: that is nobody's failure
  }
  if (error instanceof PolicyError) {
    exchange.decision = error.decision;
  }
  const wire = toWire(error);
  exchange.outcome = wire.outcome;
  exchange.failure = wire.reason;
  if (wire.status >= 500 || wire.status === 429) {
    onFailure(error, exchange);
  }
  if (response.headersSent) {
    breakOff(exchange);
    return;
  }
  for (const [name, value] of Object.entries(wire.headers)) {
    response.setHeader(name, value);
  }
  response.setHeader("docker-distribution-api-version", "registry/2.0");
  if (exchange.hasUpstream) {
    response.setHeader("oci-namespace", exchange.upstream);
  }
  if (error instanceof UnsatisfiableRange) {
    response.setHeader("content-range", `bytes */${error.sizeBytes}`);
  }
  if (error instanceof RegistryError && mustClose(error)) {
    response.setHeader("connection", "close");
  }
  response.statusCode = wire.status;
  if (wire.statusMessage !== undefined) {
    response.statusMessage = wire.statusMessage;
  }
  response.end(exchange.isHead ? undefined : wire.body);
}

/** To an HTTP/1.0 client a body without a length ends with its connection: it must not end well. */
function breakOff({ request, response }: Exchange): void {
  const { socket } = response;
  if (request.httpVersion === "1.0" && socket !== null && !("encrypted" in socket)) {
    socket.resetAndDestroy();
  } else {
    response.destroy();
  }
}

/** A request with a body, or one that was not understood: what follows it is not to be trusted. */
function mustClose(error: RegistryError): boolean {
  return CLOSING.has(error.code);
}
