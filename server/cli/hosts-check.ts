import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { DEFAULT_FOLDER, HOSTS_FILE } from "./hosts-file.ts";
import type { HostEntry, HostsFile } from "./hosts-toml.ts";
import { BrokenHostsFile, parseHostsFile } from "./hosts-toml.ts";
import { subfolders } from "./hosts-write.ts";

/** Something in a certs.d folder that lets pulls past the proxy, or makes them fail. */
export interface Finding {
  readonly path: string;
  readonly what: string;
  readonly why: string;
  readonly remedy: string;
}

type Complaint = Omit<Finding, "path">;

const REWRITE = "write it with sluice hosts";
const REWRITE_BY_FORCE = "write it with sluice hosts --force";
const OPEN = "containerd passes over it and asks the registry itself";

/**
 * What in a certs.d folder leaves a way round the proxy at `address`; without one, round the
 * server that `_default`, or else the first file, names.
 */
export function checkHosts(folder: string, address: string | undefined): readonly Finding[] {
  const names = new Set([DEFAULT_FOLDER, ...subfolders(folder).sort()]);
  const parsed = [...names].map((name) => ({ name, ...readHostsFile(join(folder, name)) }));
  const proxy = address ?? parsed.map(({ hosts }) => hosts?.server.url).find((url) => url);
  return parsed.flatMap(({ name, hosts, complaint }) => {
    const complaints = hosts === undefined ? [] : judge(hosts, proxy, join(folder, name));
    const path = join(folder, name, HOSTS_FILE);
    return [...(complaint ? [complaint] : []), ...complaints].map((found) => ({ path, ...found }));
  });
}

function readHostsFile(folder: string): {
  readonly hosts?: HostsFile;
  readonly complaint?: Complaint;
} {
  let text: string;
  try {
    text = readFileSync(join(folder, HOSTS_FILE), "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return { complaint: code === "ENOENT" ? complainMissing(folder) : unreadable(code) };
  }
  if (text === "") {
    return { complaint: { what: "is empty", why: OPEN, remedy: REWRITE_BY_FORCE } };
  }
  try {
    return { hosts: parseHostsFile(text) };
  } catch (error) {
    if (!(error instanceof BrokenHostsFile)) {
      throw error;
    }
    return {
      complaint: { what: `is broken: ${error.message}`, why: OPEN, remedy: REWRITE_BY_FORCE },
    };
  }
}

function unreadable(code: string): Complaint {
  return {
    what: `cannot be read (${code})`,
    why: "containerd refuses every pull that it is for",
    remedy: "make it readable",
  };
}

function complainMissing(folder: string): Complaint {
  if (basename(folder) === DEFAULT_FOLDER) {
    const why = "registries without a folder of their own are asked directly";
    return { what: "does not exist", why, remedy: REWRITE };
  }
  const certificates = readdirSync(folder).some((file) => /\.(crt|cert|key)$/u.test(file));
  const what = certificates ? "does not exist beside certificates" : "does not exist";
  const why = `containerd takes this folder instead of ${DEFAULT_FOLDER} and asks the registry itself`;
  return { what, why, remedy: `${REWRITE}, or remove the folder` };
}

function judge(file: HostsFile, proxy: string | undefined, folder: string): readonly Complaint[] {
  const { hosts, server } = file;
  const complaints: Complaint[] = [];
  if (server.url === undefined) {
    const why = "the registry itself is the last entry, asked after any error of the proxy";
    complaints.push({ what: "has no server", why, remedy: REWRITE_BY_FORCE });
  }
  if (hosts.length === 0) {
    const why = "containerd before 1.7.32 takes that for broken and asks the registry itself";
    complaints.push({ what: 'has no [host."…"] table', why, remedy: REWRITE_BY_FORCE });
  }
  for (const entry of [...hosts, server]) {
    complaints.push(...judgeEntry(entry, proxy, folder));
  }
  return complaints;
}

const CAPABILITIES = ["pull", "resolve", "push", "referrers"];

function judgeEntry(entry: HostEntry, proxy: string | undefined, folder: string): Complaint[] {
  const { label, url, files } = entry;
  const complaints: Complaint[] = [];
  if (url !== undefined && proxy !== undefined && endpoint(url) !== endpoint(proxy)) {
    const what = label === "server" ? `server is "${url}"` : `has ${label}`;
    const why = `not the proxy at "${proxy}": requests go there after any error, or first`;
    complaints.push({ what, why, remedy: `name the proxy alone, or ${REWRITE_BY_FORCE}` });
  }
  for (const file of files.filter((name) => !existsSync(resolve(folder, name)))) {
    const what = `${label} names ${file}, which does not exist here`;
    complaints.push({ what, why: "every pull fails", remedy: "put the file there" });
  }
  if (entry.overridePath) {
    const why = "requests lack /v2/, so every pull fails";
    complaints.push({ what: `${label} has override_path`, why, remedy: "remove it" });
  }
  if (entry.skipVerify) {
    const why = url?.startsWith("http:")
      ? "containerd 2 asks for https first, from whoever answers on that port"
      : "whoever can answer for the proxy's address says what is pulled";
    complaints.push({ what: `${label} has skip_verify`, why, remedy: "remove it; ca is for that" });
  }
  return [...complaints, ...judgeCapabilities(entry)];
}

function judgeCapabilities({ label, capabilities }: HostEntry): Complaint[] {
  if (capabilities === undefined || capabilities.length === 0) {
    return []; // containerd then takes it to have them all
  }
  const folded = capabilities.map((capability) => capability.toLowerCase());
  const complaints = folded.flatMap((capability): Complaint[] => {
    if (capability !== "referrers" && CAPABILITIES.includes(capability)) {
      return [];
    }
    const versions = capability === "referrers" ? "containerd before 2.2" : "containerd";
    const why = `${versions} takes the file for broken and asks the registry itself`;
    return [{ what: `${label} has capability "${capability}"`, why, remedy: "remove it" }];
  });
  for (const needed of ["pull", "resolve"].filter((name) => !folded.includes(name))) {
    const why =
      needed === "resolve" ? "tags are looked up elsewhere" : "images are asked elsewhere";
    complaints.push({ what: `${label} lacks capability "${needed}"`, why, remedy: "add it" });
  }
  return complaints;
}

/** Two spellings of one place are equal; a path or a slash at the end is another place. */
function endpoint(url: string): string {
  const withScheme = url.startsWith("http") ? url : `https://${url}`;
  const parsed = /^https?:\/\/[^/?#@]+(\/v2)?$/u.test(withScheme) ? URL.parse(withScheme) : null;
  return parsed?.origin ?? url;
}
