/** How a node reaches the proxy. Paths are the node's own. */
export interface ProxyAccess {
  /** An origin: `http://sluice.example:5000`. */
  readonly address: string;
  readonly ca?: string;
  readonly client?: { readonly cert: string; readonly key: string };
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export const HOSTS_FILE = "hosts.toml";
/** The folder that containerd takes for an image whose registry has none of its own. */
export const DEFAULT_FOLDER = "_default";

const MARKER = '# Written by "sluice hosts"; written again by it as long as this line is here.';

/**
 * A hosts.toml after which there is nowhere to go but the proxy: it is the one `[host]` and the
 * `server` behind it, with the same access. `server` alone would not do before containerd 1.7.32,
 * which takes such a file for broken and asks the registry itself; `[host]` alone leaves the
 * registry as the last entry.
 */
export function renderHostsFile(proxy: ProxyAccess): string {
  const address = quote(proxy.address);
  const access = ['capabilities = ["pull", "resolve"]', ...accessLines(proxy)];
  const headers = proxy.headers.map(([name, value]) => `${quote(name)} = [${quote(value)}]`);
  const table = (name: string) => (headers.length === 0 ? [] : ["", `[${name}]`, ...headers]);
  return `${[
    MARKER,
    "# Every error ends at the proxy: requests never go on to the registry itself.",
    `server = ${address}`,
    ...access,
    ...table("header"),
    "",
    `[host.${address}]`,
    ...access,
    ...table(`host.${address}.header`),
  ].join("\n")}\n`;
}

export function isOurs(text: string): boolean {
  return text.startsWith(`${MARKER}\n`);
}

/** The folder of a registry. containerd looks for this spelling of a port before `host:port`. */
export function folderOf(registry: string): string {
  return registry.replace(/:([0-9]+)$/u, "_$1_");
}

function accessLines({ ca, client }: ProxyAccess): string[] {
  return [
    ...(ca === undefined ? [] : [`ca = ${quote(ca)}`]),
    ...(client === undefined ? [] : [`client = [[${quote(client.cert)}, ${quote(client.key)}]]`]),
  ];
}

/** A JSON text is a TOML basic string, but for DEL, which TOML wants escaped (TOML 1.0 §String). */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll("\u007f", "\\u007f");
}
