import type { Exchange } from "./exchange.ts";

/** Where lines go: a LineFile, or nothing in tests. */
export interface LineSink {
  info(line: object): void;
}

/** No field of a hostile request makes a line longer than this. */
const FIELD_LENGTH_MAX = 1024;

/** One JSON line a request. */
export class AccessLog {
  readonly #sink: LineSink;

  constructor(sink: LineSink) {
    this.#sink = sink;
  }

  write(exchange: Exchange, seconds: number): void {
    const { request, response } = exchange;
    this.#sink.info({
      time: Date.now(),
      log: "access",
      id: exchange.id,
      client: exchange.client,
      user: cut(exchange.user),
      method: request.method,
      url: cut(request.url),
      agent: cut(request.headers["user-agent"]),
      status: response.headersSent ? response.statusCode : 0,
      complete: response.writableFinished,
      bytes: exchange.sentBytes,
      seconds: Math.round(seconds * 1e6) / 1e6,
      upstream: exchange.upstream,
      repository: exchange.repository,
      reference: exchange.reference,
      kind: exchange.kind,
      outcome: exchange.outcome,
      failure: exchange.failure,
    });
  }
}

function cut(text: string | undefined): string | undefined {
  return text !== undefined && text.length > FIELD_LENGTH_MAX
    ? `${text.slice(0, FIELD_LENGTH_MAX)}…`
    : text;
}
