import { BlockList, isIP, isIPv6 } from "node:net";
import { isLocalhost, isLoopbackAddress, isLoopbackHost } from "../loopback.ts";
import type { UpstreamSettings } from "../settings.ts";

/**
 * RFC 6890 and its successors: where something of one's own may answer, and no public registry,
 * CDN or token service does. The ranges for documentation lead nowhere, so they are not in it.
 */
const PRIVATE_RANGES: readonly [network: string, prefix: number][] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];
const PRIVATE_RANGES_V6: readonly [network: string, prefix: number][] = [
  ["::", 128],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 9],
  ["ff00::", 8],
];

/** IPv6 forms that carry an IPv4 address: mapped, compatible, and NAT64 (RFC 6052). */
const EMBEDDINGS = ["::ffff:", "::", "64:ff9b::"];

const PRIVATE = privateAddresses();

/**
 * Where an upstream may send us. What the configuration names is trusted wherever it lives; what
 * the network names (redirects, token services) must be public, so that nobody can use us to
 * reach what only we can reach.
 */
export class TargetPolicy {
  readonly #configured: ReadonlySet<string>;
  readonly #allowsLoopback: boolean;

  constructor(settings: Pick<UpstreamSettings, "urls" | "tokenHosts" | "redirectHosts">) {
    const registries = settings.urls.map((url) => hostnameOf(new URL(url)));
    const others = [...settings.tokenHosts, ...settings.redirectHosts].map(hostnameOfEntry);
    this.#configured = new Set([...registries, ...others]);
    this.#allowsLoopback = registries.some(isLoopbackHost);
  }

  /** Asked again at connect time with each address, so that a name that changes its mind is caught. */
  mayConnect(hostname: string, address: string): boolean {
    if (this.#configured.has(hostname)) {
      return true;
    }
    if (isLoopbackAddress(address)) {
      return this.#allowsLoopback;
    }
    return !PRIVATE.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  }

  /** Why `target`, named by an answer of `from`, must not be asked; undefined when it may be. */
  refusalOf(target: URL, from: URL): string | undefined {
    if (target.protocol !== "https:" && target.protocol !== "http:") {
      return `its scheme is ${target.protocol.slice(0, -1)}`;
    }
    if (target.protocol === "http:" && from.protocol === "https:") {
      return "it leaves https for http";
    }
    if (target.username !== "" || target.password !== "") {
      return "it carries a user name";
    }
    const hostname = hostnameOf(target);
    const address = isIP(hostname) === 0 ? undefined : hostname;
    if (address !== undefined && !this.mayConnect(hostname, address)) {
      return "it is a private address";
    }
    if (isLocalhost(hostname) && !this.mayConnect(hostname, "127.0.0.1")) {
      return "it is this machine";
    }
    return undefined;
  }
}

/** Without the brackets of an IPv6 address and the dot that ends an absolute name. */
export function hostnameOf(url: URL): string {
  const { hostname } = url;
  if (hostname.startsWith("[")) {
    return hostname.slice(1, -1);
  }
  return hostname.endsWith(".") ? hostname.slice(0, -1) : hostname;
}

/** An entry of tokenHosts or redirectHosts: a host, perhaps with a port. */
export function hostnameOfEntry(entry: string): string {
  return hostnameOf(new URL(`https://${entry}`));
}

/** Credentials survive a redirect only within this (RFC 6454 §4). */
export function isSameOrigin(one: URL, other: URL): boolean {
  return one.origin === other.origin;
}

function privateAddresses(): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of PRIVATE_RANGES) {
    list.addSubnet(network, prefix, "ipv4");
    for (const embedding of EMBEDDINGS) {
      list.addSubnet(`${embedding}${network}`, prefix + 96, "ipv6");
    }
  }
  for (const [network, prefix] of PRIVATE_RANGES_V6) {
    list.addSubnet(network, prefix, "ipv6");
  }
  return list;
}
