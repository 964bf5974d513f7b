import { readFileSync } from "node:fs";
import { isRegistryName } from "../config/addresses.ts";
import { loadConfig, processEnvironment } from "../config/config.ts";
import { checkHosts } from "./hosts-check.ts";
import type { ProxyAccess } from "./hosts-file.ts";
import { writeHosts } from "./hosts-write.ts";

export interface HostsOptions {
  readonly address?: string;
  readonly check?: true;
  readonly config?: string;
  readonly upstreams?: string;
  readonly ca?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly header?: readonly string[];
  readonly headerFile?: string;
  readonly force?: true;
  readonly json?: true;
}

/** Ends the command because it was called wrongly. */
export type UsageError = (message: string) => never;

/** Writes or checks containerd's certs.d folders. Returns the exit code. */
export function hosts(folder: string, options: HostsOptions, usage: UsageError): number {
  const address = options.address === undefined ? undefined : originOf(options.address, usage);
  if (options.check) {
    return printFindings(folder, address, options.json ?? false);
  }
  if (address === undefined) {
    usage("error: --address is needed: where nodes reach the proxy");
  }
  const proxy = accessOf(address, options, usage);
  const registries = registriesOf(options, usage);
  const outcome = writeHosts({ folder, registries, proxy, force: options.force ?? false });
  if (options.json) {
    process.stdout.write(`${JSON.stringify(outcome, undefined, 2)}\n`);
  } else {
    const lines = (files: readonly string[], what: string) =>
      files.map((file) => `${file}: ${what}\n`).join("");
    process.stdout.write(lines(outcome.written, "written"));
    process.stdout.write(lines(outcome.unchanged, "unchanged"));
    const foreign = "not ours, left alone: it may leave a way round (--check), --force replaces it";
    process.stderr.write(lines(outcome.foreign, foreign));
  }
  return outcome.foreign.length > 0 ? 1 : 0;
}

function printFindings(folder: string, address: string | undefined, json: boolean): number {
  const findings = checkHosts(folder, address);
  if (json) {
    process.stdout.write(`${JSON.stringify({ findings }, undefined, 2)}\n`);
  } else {
    for (const { path, what, why, remedy } of findings) {
      process.stdout.write(`${path}: ${what}; ${why}; ${remedy}\n`);
    }
    if (findings.length === 0) {
      process.stderr.write(`${folder}: no way round the proxy was found\n`);
    }
  }
  return findings.length > 0 ? 1 : 0;
}

function accessOf(address: string, options: HostsOptions, usage: UsageError): ProxyAccess {
  const { ca, clientCert, clientKey } = options;
  for (const file of [ca, clientCert, clientKey]) {
    if (file !== undefined && !file.startsWith("/")) {
      usage(`error: ${file} must be an absolute path: containerd takes others from each folder`);
    }
  }
  if ((clientCert === undefined) !== (clientKey === undefined)) {
    usage("error: --client-cert and --client-key go together");
  }
  if (address.startsWith("http:") && (ca !== undefined || clientCert !== undefined)) {
    usage("error: --ca and --client-cert need an https address");
  }
  return {
    address,
    ...(ca !== undefined && { ca }),
    ...(clientCert !== undefined &&
      clientKey !== undefined && { client: { cert: clientCert, key: clientKey } }),
    headers: [...(options.header ?? []), ...linesOf(options.headerFile, usage)].map((line) =>
      headerOf(line, usage),
    ),
  };
}

/** containerd puts `/v2` behind the address: a path would lead elsewhere. */
function originOf(text: string, usage: UsageError): string {
  const url = /^https?:\/\//u.test(text) ? URL.parse(text) : null;
  if (url === null || url.pathname !== "/" || /[?#@]/u.test(text)) {
    usage("error: --address must be an origin such as http://sluice.example:5000");
  }
  return url.origin;
}

/** A log-in belongs in a file: whoever is on the machine sees a command's arguments. */
function linesOf(file: string | undefined, usage: UsageError): readonly string[] {
  if (file === undefined) {
    return [];
  }
  try {
    return readFileSync(file, "utf8")
      .split(/\r?\n/)
      .filter((line) => line.trim() !== "");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
    return usage(`error: --header-file ${file} cannot be read${code}`);
  }
}

function headerOf(line: string, usage: UsageError): readonly [string, string] {
  const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~]+)$/u.exec(line) ?? [];
  if (name === undefined || value === undefined) {
    usage('error: a header is "Name: value"'); // the line itself may hold a secret
  }
  return [name, value];
}

function registriesOf(options: HostsOptions, usage: UsageError): readonly string[] {
  if (options.upstreams === undefined) {
    const { upstreams } = loadConfig(options.config, processEnvironment());
    return upstreams.flatMap(({ name, aliases }) => [name, ...aliases]);
  }
  const names = options.upstreams.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!isRegistryName(name)) {
      usage(`error: --upstreams: ${JSON.stringify(name)} is not a registry's name`);
    }
  }
  return names;
}
