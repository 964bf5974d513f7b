import { isIP, isIPv6 } from "node:net";
import type { Address } from "../settings.ts";

const PORT_MAX = 65_535;
const HOST_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

/** For JSON Schema: a registry as image names spell it, `team.example` or `team.example:5000`. */
export const REGISTRY_NAME_PATTERN: string = `^${HOST_LABEL}(\\.${HOST_LABEL})*(:[1-9][0-9]{0,4})?$`;

/**
 * Where to listen: `127.0.0.1:5000`, `[::1]:5000`, `localhost:5000`; `:5000` is every address, as
 * `[::]:5000` is, IPv4 included. Undefined for anything else.
 */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<name>[A-Za-z0-9.-]*)):(?<port>[0-9]{1,5})$/u.exec(
    text,
  );
  const { v6, name, port } = match?.groups ?? {};
  if (port === undefined || Number(port) > PORT_MAX || (v6 !== undefined && !isIPv6(v6))) {
    return undefined;
  }
  const host = v6 ?? (name === "" ? "::" : name);
  return host === undefined || !isHost(host) ? undefined : { host, port: Number(port) };
}

/** As parseAddress takes it. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether a registry's name is spelled as image names spell it: lower-case host, port if any. */
export function isRegistryName(text: string): boolean {
  const port = /:([0-9]+)$/u.exec(text)?.[1];
  return (
    new RegExp(REGISTRY_NAME_PATTERN, "u").test(text) &&
    text.length <= 253 + 6 &&
    (port === undefined || Number(port) <= PORT_MAX)
  );
}

function isHost(host: string): boolean {
  const looksLikeIPv4 = /^[0-9.]+$/u.test(host);
  return (
    isIP(host) !== 0 ||
    (!looksLikeIPv4 && new RegExp(`^${HOST_LABEL}(\\.${HOST_LABEL})*$`, "iu").test(host))
  );
}
