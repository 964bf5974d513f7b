import { BlockList, isIP, isIPv6 } from "node:net";

/** RFC 1122 §3.2.1.3, RFC 4291 §2.5.3, and the IPv6 forms that carry an IPv4 address. */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");
for (const embedding of ["::ffff:", "::", "64:ff9b::"]) {
  LOOPBACK.addSubnet(`${embedding}127.0.0.0`, 104, "ipv6");
}

/** Whether an IP address, without brackets, is this machine's own. */
export function isLoopbackAddress(address: string): boolean {
  return LOOPBACK.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/** RFC 6761 §6.3. */
export function isLocalhost(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost");
}

/** Whether a url's hostname, bracketed or not, can only mean this machine. */
export function isLoopbackHost(hostname: string): boolean {
  const host = hostname.replace(/^\[(.*)\]$/u, "$1");
  return isLocalhost(host) || (isIP(host) !== 0 && isLoopbackAddress(host));
}
