import type { LookupAddress } from "node:dns";
import { lookup as systemLookup } from "node:dns";
import type { LookupFunction, TcpNetConnectOpts } from "node:net";
import { isIP } from "node:net";
import type { SecureContext } from "node:tls";
import { createSecureContext, getCACertificates } from "node:tls";
import type { buildConnector as Connectors } from "undici";
import { TargetRefusedError } from "./failure.ts";
import type { TargetPolicy } from "./targets.ts";
import { buildConnector } from "./undici.ts";
import { connectWide } from "./wide-socket.ts";

export interface ConnectorOptions {
  readonly targets: TargetPolicy;
  readonly connectTimeoutMs: number;
  readonly dnsTimeoutMs: number;
  /** How much one read of a socket without TLS may bring. */
  readonly readBytes: number;
  /** PEM; beside the public ones when undefined. */
  readonly ca?: string | undefined;
  readonly lookup?: Lookup;
}

/** `dns.lookup` with `all`, as far as it is used. */
export type Lookup = (
  hostname: string,
  callback: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

/** Connects for undici: where the policy allows, in bounded time, HTTP/1.1 only. */
export function connectorFor(options: ConnectorOptions): Connectors.connector {
  const { targets, connectTimeoutMs, ca } = options;
  const lookup = guardedLookup(options);
  const connectTls = buildConnector({
    allowH2: false,
    timeout: connectTimeoutMs,
    lookup,
    ...(ca === undefined ? {} : { secureContext: trusting(ca) }),
  });
  return (to, callback) => {
    if (isIP(to.hostname) !== 0 && !targets.mayConnect(to.hostname, to.hostname)) {
      queueMicrotask(() => callback(refused(to.hostname), null));
      return;
    }
    if (to.protocol === "https:") {
      connectTls(to, callback);
    } else {
      connectPlain({ host: to.hostname, port: Number(to.port || 80), lookup }, options, callback);
    }
  };
}

function connectPlain(
  to: TcpNetConnectOpts,
  { connectTimeoutMs, readBytes }: ConnectorOptions,
  callback: Connectors.Callback,
): void {
  const socket = connectWide({ ...to, noDelay: true, keepAlive: true }, { readBytes });
  const onError = (error: Error): void => {
    clearTimeout(timer);
    callback(error, null);
  };
  const timer = setTimeout(() => socket.destroy(connectTimeout()), connectTimeoutMs);
  socket.once("error", onError).once("connect", () => {
    clearTimeout(timer);
    socket.off("error", onError);
    callback(null, socket);
  });
}

/**
 * Resolves at connect time and hands on only the addresses that may be used, so the address that
 * was judged is the one that is dialled.
 */
function guardedLookup(options: ConnectorOptions): LookupFunction {
  const { targets, dnsTimeoutMs, lookup = lookupAll } = options;
  return (hostname, { all }, callback) => {
    let isDone = false;
    const finish = (error: Error | null, addresses: readonly LookupAddress[]): void => {
      if (isDone) {
        return;
      }
      isDone = true;
      clearTimeout(timer);
      const [first] = addresses;
      if (error !== null || first === undefined) {
        callback(error ?? refused(hostname), "");
      } else if (all === true) {
        callback(null, [...addresses]);
      } else {
        callback(null, first.address, first.family);
      }
    };
    const timer = setTimeout(() => finish(dnsTimeout(hostname), []), dnsTimeoutMs);
    lookup(hostname, (error, addresses) => {
      const usable = addresses?.filter(({ address }) => targets.mayConnect(hostname, address));
      finish(error, usable ?? []);
    });
  };
}

/** The public authorities stay: a private registry may redirect to a public CDN. */
function trusting(ca: string): SecureContext {
  return createSecureContext({ ca: [...getCACertificates("default"), ca] });
}

function lookupAll(hostname: string, callback: Parameters<Lookup>[1]): void {
  systemLookup(hostname, { all: true }, callback);
}

function refused(hostname: string): Error {
  return new TargetRefusedError(`${hostname} is a private address that is not configured`);
}

function connectTimeout(): Error {
  return Object.assign(new Error("the connection was not made in time"), { code: "ETIMEDOUT" });
}

function dnsTimeout(hostname: string): Error {
  return Object.assign(new Error(`${hostname} was not resolved in time`), { code: "ETIMEOUT" });
}
