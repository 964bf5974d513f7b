import { readFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { isDeepStrictEqual } from "node:util";
import type { FastifyInstance } from "fastify";
import { fastify } from "fastify";
import { RegistryError } from "../errors.ts";
import { CLIENT_LIMITS } from "../limits.ts";
import type { TlsSettings } from "../settings.ts";
import type { ExchangeRecords } from "./exchange.ts";
import { Exchange } from "./exchange.ts";
import type { RoutesOptions } from "./routes.ts";
import { answer } from "./routes.ts";
import { inTurn } from "./turn.ts";
import { toWire } from "./wire-errors.ts";

export interface RegistryServerOptions extends RoutesOptions {
  readonly records: ExchangeRecords;
  readonly tls: TlsSettings | undefined;
  /** Whether requests without a certificate get an answer, if only that they need one. */
  readonly mayLackCertificate: boolean;
  /** From then on connections end with their answer. */
  readonly isDraining: () => boolean;
}

const HTTP_LIMITS = {
  maxHeaderSize: CLIENT_LIMITS.headerBytesMax,
  headersTimeout: CLIENT_LIMITS.headersTimeoutMs,
  requestTimeout: CLIENT_LIMITS.requestTimeoutMs,
  // Ours says it as the API does.
  requireHostHeader: false,
  connectionsCheckingInterval: 2000,
  // Bytes past Content-Length would be read as the next answer.
  strictContentLength: true,
} as const;

/**
 * The registry API on a port. fastify keeps the connections, the limits and the shutdown; the
 * request's target is parsed from its raw spelling, since a router's decoded one hides attacks.
 */
export function createRegistryServer(options: RegistryServerOptions): FastifyInstance {
  const { records, tls, mayLackCertificate } = options;
  // Refused by their headers already when the parser comes to refuse their body.
  const answered = new WeakSet<Socket>();
  // The authorities by which a connection's certificate was judged.
  const judgedBy = new WeakMap<Socket, unknown>();
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.headers["transfer-encoding"] !== undefined) {
      answered.add(request.socket);
    }
    if (
      judgedBy.has(request.socket) &&
      !isDeepStrictEqual(judgedBy.get(request.socket), authoritiesOf(app.server))
    ) {
      request.socket.destroy(); // to connect anew, and be judged by those that count now
      return;
    }
    if (options.isDraining()) {
      response.setHeader("connection", "close");
    }
    inTurn(request, response, () => {
      const exchange = new Exchange(request, response, records);
      answer(exchange, options).catch((error: unknown) => {
        options.onFailure(error, exchange);
        response.destroy();
      });
    });
  };
  const app = fastify({
    logger: false,
    ...(tls === undefined
      ? { http: HTTP_LIMITS }
      : { https: { ...HTTP_LIMITS, ...readTls(tls, mayLackCertificate) } }),
    keepAliveTimeout: CLIENT_LIMITS.keepAliveTimeoutMs,
    requestTimeout: CLIENT_LIMITS.requestTimeoutMs,
    clientErrorHandler: (error, socket) => refuseRaw(error, socket, answered.has(socket)),
    frameworkErrors: (_error, request, reply) => {
      reply.hijack();
      handle(request.raw, reply.raw);
    },
    forceCloseConnections: false,
    return503OnClosing: false,
  }) as FastifyInstance;
  app.server.maxHeadersCount = CLIENT_LIMITS.headersMax;
  app.server.maxConnections = CLIENT_LIMITS.connectionsMax;
  // Before fastify reads a body: what writes is refused unread.
  app.addHook("onRequest", async (request, reply) => {
    reply.hijack();
    handle(request.raw, reply.raw);
  });
  app.all("/*", () => undefined);
  app.server.on("secureConnection", (socket: Socket) =>
    judgedBy.set(socket, authoritiesOf(app.server)),
  );
  app.server.on("connect", (_request, socket) => socket.end(rawError("405 Method Not Allowed")));
  return app;
}

/** Node keeps there what setSecureContext was given last. */
function authoritiesOf(server: Server): unknown {
  return Reflect.get(server, "ca");
}

/**
 * New connections use the new certificate; those that are open keep the old one. Where clients'
 * authorities have changed, a connection ends with its next request.
 */
export function reloadTls(server: Server, tls: TlsSettings, mayLackCertificate: boolean): void {
  if ("setSecureContext" in server && typeof server.setSecureContext === "function") {
    const options = readTls(tls, mayLackCertificate);
    server.setSecureContext(options);
    // Not part of the context: node reads them from the server for each connection.
    const { requestCert = false, rejectUnauthorized = true } = options;
    Object.assign(server, { requestCert, rejectUnauthorized });
  }
}

/**
 * Naming a client CA means that nobody without its certificate gets in. Where clients are known by
 * theirs, TLS lets all of them through to be told what is wrong: a refused handshake says nothing,
 * neither to them nor to our log.
 */
function readTls(
  { certFile, keyFile, clientCaFile }: TlsSettings,
  mayLackCertificate: boolean,
): TlsOptions {
  const own = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
  if (clientCaFile === undefined) {
    return own;
  }
  const rejectUnauthorized = !mayLackCertificate;
  return { ...own, ca: readFileSync(clientCaFile), requestCert: true, rejectUnauthorized };
}

/** What node's parser refused never becomes a request: the answer is written by hand. */
function refuseRaw(error: NodeJS.ErrnoException, socket: Socket, isAnswered: boolean): void {
  if (!socket.writable || isAnswered) {
    socket.destroySoon();
    return;
  }
  socket.end(rawError(RAW_STATUS.get(error.code ?? "") ?? "400 Bad Request"));
}

/** Parser errors that mean more than "not HTTP"; https://nodejs.org/api/errors.html */
const RAW_STATUS: ReadonlyMap<string, string> = new Map([
  ["HPE_HEADER_OVERFLOW", "431 Request Header Fields Too Large"],
  ["HPE_INVALID_METHOD", "405 Method Not Allowed"],
  ["ERR_HTTP_REQUEST_TIMEOUT", "408 Request Timeout"],
]);

function rawError(status: string): string {
  const { body } = toWire(new RegistryError("request-invalid", `not accepted: ${status}`));
  return (
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
  );
}
