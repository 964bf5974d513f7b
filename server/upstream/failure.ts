import type { UpstreamErrorReason } from "../metrics.ts";

/** What kept an attempt from being answered. `tls` is about certificates and handshakes. */
export type FailureReason = Exclude<UpstreamErrorReason, "breaker_open" | "mismatch">;

export interface AttemptFailureOptions extends ErrorOptions {
  readonly retryAfterSeconds?: number | undefined;
  readonly mayBeStale?: boolean;
}

/**
 * One attempt at one url that failed in a way that another attempt or url may cure, or not: that is
 * for the caller to decide. Never leaves this folder: it becomes a RegistryError.
 */
export class AttemptFailure extends Error {
  override readonly name = "AttemptFailure";
  readonly reason: FailureReason;
  readonly retryAfterSeconds: number | undefined;
  /** The connection may have been an idle one that the other side had already closed. */
  readonly mayBeStale: boolean;

  constructor(reason: FailureReason, message: string, options: AttemptFailureOptions = {}) {
    super(message, options);
    this.reason = reason;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.mayBeStale = options.mayBeStale ?? false;
  }
}

/** A target that the network named and that we do not connect to. */
export class TargetRefusedError extends Error {
  override readonly name = "TargetRefusedError";
  readonly code = "ERR_TARGET_REFUSED";
}

/** How far an exchange had come when it failed. */
export interface ExchangePhase {
  readonly isConnected: boolean;
  readonly hasAnswered: boolean;
}

const DNS_CODES = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"]);
const TLS_CODE_PATTERN = /^(?:ERR_TLS_|ERR_SSL_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;
const TLS_CODES = new Set(["EPROTO", "HOSTNAME_MISMATCH", "INVALID_PURPOSE", "INVALID_CA"]);
const PROTOCOL_CODES = new Set([
  "UND_ERR_HEADERS_OVERFLOW",
  "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_INVALID_ARG",
]);

/** Names what undici, node or the system reported. */
export function failureOf(error: Error, phase: ExchangePhase): AttemptFailure {
  if (error instanceof AttemptFailure) {
    return error;
  }
  const code = codeOf(error);
  const options = { cause: error };
  if (code === "ERR_TARGET_REFUSED") {
    return new AttemptFailure("redirect", error.message, options);
  }
  if (DNS_CODES.has(code)) {
    return new AttemptFailure("dns", `its name could not be resolved (${code})`, options);
  }
  if (code === "ETIMEOUT") {
    return new AttemptFailure("dns", "its name could not be resolved in time", options);
  }
  if (TLS_CODES.has(code) || TLS_CODE_PATTERN.test(code)) {
    return new AttemptFailure("tls", `its certificate or TLS handshake failed (${code})`, options);
  }
  if (!phase.isConnected) {
    return new AttemptFailure("connect", `it could not be connected to (${code})`, options);
  }
  if (error.name === "HTTPParserError" || PROTOCOL_CODES.has(code)) {
    return new AttemptFailure("protocol", `what it sent is not HTTP (${code})`, options);
  }
  const mayBeStale = !phase.hasAnswered && !isFresh(error);
  return new AttemptFailure("reset", `it closed the connection (${code})`, {
    cause: error,
    mayBeStale,
  });
}

/** undici reports what its socket had received: nothing at all means that it was a new one. */
function isFresh(error: Error): boolean {
  if (!("socket" in error) || typeof error.socket !== "object" || error.socket === null) {
    return false;
  }
  return "bytesRead" in error.socket && error.socket.bytesRead === 0;
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}

/** The url was not asked at all: what went wrong says nothing about it. */
export class NotAskedError extends Error {
  override readonly name = "NotAskedError";

  constructor(cause: unknown) {
    super("the registry was not asked", { cause });
  }
}
