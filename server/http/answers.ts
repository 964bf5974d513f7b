import type { ServerResponse } from "node:http";
import type { Decision } from "../decision.ts";
import type { Exchange } from "./exchange.ts";

export type Headers = Record<string, string | number>;

/** Warnings are for people, and headers are bounded. */
const WARNING_LENGTH_MAX = 1024;

/** Larger bodies are sent as they are: copying them would cost more. */
const ONE_WRITE_BYTES_MAX = 65_536;

const NONE: Readonly<Headers> = {};

/** On every answer of the registry API. */
const COMMON_HEADERS: Readonly<Headers> = {
  "docker-distribution-api-version": "registry/2.0",
  "x-content-type-options": "nosniff",
};

export function apiHeaders(exchange: Exchange, headers: Headers): Headers {
  // distribution-spec main, §registry-proxying: a proxy says which registry it answered for.
  return exchange.hasUpstream
    ? { ...COMMON_HEADERS, "oci-namespace": exchange.upstream, ...headers }
    : { ...COMMON_HEADERS, ...headers };
}

/** A body that is in memory. */
export function sendWhole(exchange: Exchange, headers: Headers, body: Uint8Array): void {
  const { response } = exchange;
  response.writeHead(200, apiHeaders(exchange, { ...headers, "content-length": body.byteLength }));
  if (exchange.isHead) {
    response.end();
  } else {
    exchange.sent(body.byteLength);
    // Together with all other answers of this turn: a client that is woken once for many of them
    // costs less than one that is woken for each. Measured at a fifth more requests a second.
    setImmediate(endWith, response, body);
  }
}

/**
 * As latin1 text, byte for byte: node then writes headers and body in one piece, where a buffer
 * costs a writev of two and half the requests a second.
 */
function endWith(response: ServerResponse, body: Uint8Array): void {
  if (body.byteLength > ONE_WRITE_BYTES_MAX) {
    response.end(body);
  } else {
    const { buffer, byteOffset, byteLength } = body;
    response.end(Buffer.from(buffer, byteOffset, byteLength).toString("latin1"), "latin1");
  }
}

export function sendNotModified(exchange: Exchange, headers: Headers): void {
  exchange.response.writeHead(304, apiHeaders(exchange, headers));
  exchange.response.end();
}

/**
 * `Warning: 110` (RFC 7234 §5.5.1) on an answer that is past its freshness, and `299` on one that a
 * policy would refuse if it were enforced, which crane, oras and regctl print; nothing on others.
 */
export function warnings(staleBecause: string | undefined, decision?: Decision): Headers {
  if (staleBecause === undefined && (decision === undefined || decision.verdict === "allow")) {
    return NONE;
  }
  const values: string[] = [];
  if (staleBecause !== undefined) {
    values.push(`110 - "${quotable(`response is stale: ${staleBecause}`)}"`);
  }
  if (decision !== undefined && decision.verdict !== "allow") {
    values.push(`299 - "${quotable(decision.message)}"`);
  }
  return { warning: values.join(", ") };
}

function quotable(text: string): string {
  const printable = text.replace(/[^\x20-\x7e]+/g, " ").replace(/["\\]/g, "'");
  return printable.slice(0, WARNING_LENGTH_MAX);
}
