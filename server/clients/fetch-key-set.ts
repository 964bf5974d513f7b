import { RegistryError } from "../errors.ts";
import { ACCESS_LIMITS, UPSTREAM_LIMITS } from "../limits.ts";
import type { TokenSettings } from "../settings.ts";
import { readBody } from "../upstream/buffered-response.ts";
import { exchange } from "../upstream/exchange.ts";
import { AttemptFailure } from "../upstream/failure.ts";
import { Agent, buildConnector } from "../upstream/undici.ts";
import { ClientsError } from "./clients-error.ts";
import { readBounded, whyOf } from "./source-file.ts";

type UrlSettings = TokenSettings & { readonly jwksUrl: string };

/** To the first byte, and from there to the last. */
const TIMEOUT_MS = 5000;
/** Many servers refuse headers of more. */
const BEARER_BYTES_MAX = 8192;
const CA_BYTES_MAX = 1_048_576;
/** RFC 6750 §2.1, b68token; a line break would make another header of it. */
const BEARER_PATTERN = /^[A-Za-z0-9\-._~+/]+=*$/;

/**
 * A key set as text. The connection, the authorities of caFile and the token of tokenFile are new
 * each time, as the latter change with time. A redirect is not followed: it would take the token
 * to a place that nobody configured.
 *
 * @throws ClientsError, as a sentence about "it", without anything secret; `signal`'s reason.
 */
export async function fetchKeySet(settings: UrlSettings, signal: AbortSignal): Promise<string> {
  const { caFile, tokenFile } = settings;
  const ca = caFile === undefined ? undefined : await readPart("caFile", caFile);
  const bearer = tokenFile === undefined ? undefined : await readBearer(tokenFile);
  const connect = buildConnector({
    allowH2: false,
    timeout: TIMEOUT_MS,
    ...(ca === undefined ? {} : { ca }),
  });
  const agent = new Agent({ connect, maxHeaderSize: UPSTREAM_LIMITS.headerBytesMax });
  try {
    return await request(agent, settings, { bearer, signal });
  } catch (error) {
    throw explained(error);
  } finally {
    await agent.destroy();
  }
}

interface RequestOptions {
  readonly bearer: string | undefined;
  readonly signal: AbortSignal;
}

async function request(
  agent: InstanceType<typeof Agent>,
  { jwksUrl }: UrlSettings,
  { bearer, signal }: RequestOptions,
): Promise<string> {
  const url = new URL(jwksUrl);
  const answer = await exchange(agent, {
    url,
    method: "GET",
    headers: {
      accept: "application/jwk-set+json, application/json",
      "accept-encoding": "identity",
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
    },
    firstByteTimeoutMs: TIMEOUT_MS,
    informationalMax: UPSTREAM_LIMITS.informationalMax,
    signal,
  });
  if (answer.status !== 200) {
    const refusal = new ClientsError(adviceFor(answer.status));
    answer.abort(refusal);
    throw refusal;
  }
  const body = await readBody(answer, {
    bytesMax: ACCESS_LIMITS.keySetBytesMax,
    timeoutMs: TIMEOUT_MS,
    from: url.host,
  });
  return body.toString("utf8");
}

function adviceFor(status: number): string {
  if (status >= 300 && status < 400) {
    return `it answered ${status}; redirects are not followed: configure the url that it leads to`;
  }
  return status === 401 || status === 403
    ? `it answered ${status}; it may want the token of a tokenFile, or a role for whose token it is`
    : `it answered ${status}`;
}

function explained(error: unknown): unknown {
  if (error instanceof AttemptFailure || error instanceof RegistryError) {
    return new ClientsError(error.message, { cause: error });
  }
  return error;
}

async function readBearer(path: string): Promise<string> {
  const token = (await readPart("tokenFile", path, BEARER_BYTES_MAX)).trim();
  if (!BEARER_PATTERN.test(token)) {
    throw new ClientsError(`its tokenFile ${path} holds no token: one line without spaces`);
  }
  return token;
}

async function readPart(
  setting: string,
  path: string,
  bytesMax: number = CA_BYTES_MAX,
): Promise<string> {
  try {
    return await readBounded(path, bytesMax);
  } catch (cause) {
    throw new ClientsError(`of its ${setting} ${path}: ${whyOf(cause)}`, { cause });
  }
}
