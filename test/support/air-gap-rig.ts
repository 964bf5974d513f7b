import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";
import { key } from "./policy-rig.ts";
import { run } from "./processes.ts";
import type { TarEntry } from "./tar.ts";
import { tarOf } from "./tar.ts";

const MAIN = join(import.meta.dirname, "..", "..", "server", "main.ts");

/** What must be true of all of `team.example`. */
const ENFORCED = `
policy:
  unmatched: deny
  rules:
    - name: team
      match: ["team.example/**"]
      mode: enforce
      signatures: { any: [{ key: { file: cosign.pub, log: ignore } }] }
`;

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A registry, and a folder for two sites: here it can be reached, there only files arrive. */
export interface AirGapRig {
  readonly upstream: FakeUpstream;
  /** A file of the folder. */
  file(name: string): string;
  /** Runs a command of the site `name`: its store is the folder of that name. */
  at(name: string, ...args: readonly string[]): Promise<Ended>;
  /** As `at`, for a site without a policy. */
  freelyAt(name: string, ...args: readonly string[]): Promise<Ended>;
  has(name: string): boolean;
}

export async function airGapRig(t: Test): Promise<AirGapRig> {
  const folder = t.testdir();
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const file = (name: string): string => join(folder, name);
  writeFileSync(file("cosign.pub"), key.publicKeyPem);
  const sluice = async (
    name: string,
    policy: string,
    [command = "", ...args]: readonly string[],
  ): Promise<Ended> => {
    const config = file(`${name}.yaml`);
    const store = `storage: { disk: { path: "${file(name)}", maxBytes: 1GiB } }`;
    const upstreams = `upstreams: { team.example: { url: "${upstream.url}" } }`;
    writeFileSync(config, `${store}\n${upstreams}\n${policy}`);
    const all = [MAIN, command, "--config", config, ...args];
    const { code, stdout, output } = await run(process.execPath, all, { cwd: folder });
    return { code, stdout, stderr: output.replace(stdout, "") };
  };
  return {
    upstream,
    file,
    at: (name, ...args) => sluice(name, ENFORCED, args),
    freelyAt: (name, ...args) => sluice(name, "", args),
    has: (name) => existsSync(file(name)),
  };
}

/** The files of an archive, by path. */
export function entriesOf(archive: string): Map<string, Buffer> {
  const bytes = readFileSync(archive);
  const entries = new Map<string, Buffer>();
  for (let at = 0; bytes[at] !== 0; ) {
    const name = bytes.toString("latin1", at, at + 100).replace(/\0.*$/s, "");
    const size = Number.parseInt(bytes.toString("latin1", at + 124, at + 135), 8);
    if (!name.endsWith("/")) {
      entries.set(name, bytes.subarray(at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return entries;
}

/** An archive of these files, and of entries that no honest tool writes. */
export function archiveOf(
  files: ReadonlyMap<string, Uint8Array>,
  ...others: readonly TarEntry[]
): Buffer {
  const entries = [...files].map(([path, bytes]) => ({ path, mode: 0o644, bytes }));
  return tarOf([...entries, ...others]);
}
