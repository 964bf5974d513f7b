import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Started } from "./peers.ts";
import { freePort, start, untilReady } from "./process.ts";

const ROOT = join(import.meta.dirname, "..");
const MAIN = join(ROOT, "server", "main.ts");

export interface SluiceOptions {
  /** Made when it is not there. */
  readonly folder: string;
  readonly upstreamUrl: string;
  /** More of the configuration, as YAML; the files that it names lie in the folder. */
  readonly config?: string;
  readonly files?: Readonly<Record<string, string>>;
}

export interface StartedSluice extends Started {
  readonly adminPort: number;
}

export const hexOf = (digest: string): string => digest.slice(digest.indexOf(":") + 1);

export async function sluiceVersion(): Promise<string | undefined> {
  const text = await readFile(join(ROOT, "package.json"), "utf8");
  return existsSync(MAIN) ? /"version": "([^"]+)"/.exec(text)?.[1] : undefined;
}

/** The access log is on, as it is for everybody; those of the peers are off. */
export async function startSluice(options: SluiceOptions): Promise<StartedSluice> {
  const { folder, upstreamUrl, config = "", files = {} } = options;
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const adminPort = await freePort();
  const configFile = join(folder, "sluice.yaml");
  const text = `listen: 127.0.0.1:${port}
admin: 127.0.0.1:${adminPort}
storage:
  disk: { path: ${join(folder, "data")}, maxBytes: 100GiB }
defaultUpstream: bench.example
upstreams:
  bench.example: { url: "${upstreamUrl}" }
accessLog: { file: ${join(folder, "access.jsonl")} }
${config}`;
  for (const [name, content] of Object.entries({ ...files, "sluice.yaml": text })) {
    await writeFile(join(folder, name), content);
  }
  const running = start({
    command: process.execPath,
    args: [MAIN, "serve", "--config", configFile],
    logFile: join(folder, "sluice.log"),
  });
  await untilReady(running, `http://127.0.0.1:${adminPort}/readyz`);
  const blobs = join(folder, "data", "v1", "blobs", "sha256");
  const storedFile = (digest: string): string => {
    const hex = hexOf(digest);
    return join(blobs, hex.slice(0, 2), hex);
  };
  return { name: "sluice", port, adminPort, process: running, storedFile };
}
