import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Running } from "./process.ts";
import { findProgram, freePort, outputOf, start, untilReady } from "./process.ts";
import { hexOf, sluiceVersion, startSluice } from "./sluice.ts";

export const REPOSITORY = "bench/blob";

export type PeerName = "sluice" | "docker-registry 2.8" | "distribution 3" | "nginx";

/** A server under test: how it is found, started, and where it keeps what it has stored. */
export interface Peer {
  readonly name: PeerName;
  /** Undefined when it is not installed. */
  version(): Promise<string | undefined>;
  start(folder: string, upstreamUrl: string): Promise<Started>;
}

export interface Started {
  readonly name: PeerName;
  readonly port: number;
  readonly process: Running;
  /** The file that has a blob once it is stored: it gets this name when it is whole. */
  storedFile(digest: string): string;
}

export function blobPath(digest: string): string {
  return `/v2/${REPOSITORY}/blobs/${digest}`;
}

export function manifestPath(digest: string): string {
  return `/v2/${REPOSITORY}/manifests/${digest}`;
}

const sluice: Peer = {
  name: "sluice",
  version: sluiceVersion,
  start: async (folder, upstreamUrl) => await startSluice({ folder, upstreamUrl }),
};

/** Both generations of distribution read this: logs off, descriptors in memory (their own default). */
function registry(name: PeerName, programs: readonly string[], pattern: RegExp): Peer {
  const find = async (): Promise<{ file: string; version: string } | undefined> => {
    for (const program of programs) {
      const file = await findProgram(program);
      const version = file && pattern.exec(await outputOf(file, ["--version"]))?.[1];
      if (file !== undefined && version !== undefined) {
        return { file, version };
      }
    }
    return undefined;
  };
  return {
    name,
    version: async () => (await find())?.version,
    start: async (folder, upstreamUrl) => {
      const found = await find();
      assert(found !== undefined, `${name} is not installed`);
      const port = await freePort();
      const config = join(folder, "config.yaml");
      await writeFile(
        config,
        `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: ${join(folder, "data")} }
  cache: { blobdescriptor: inmemory }
http: { addr: "127.0.0.1:${port}", secret: bench }
proxy: { remoteurl: "${upstreamUrl}" }
`,
      );
      const running = start({
        command: found.file,
        args: ["serve", config],
        env: { OTEL_TRACES_EXPORTER: "none" },
        logFile: join(folder, "registry.log"),
      });
      await untilReady(running, `http://127.0.0.1:${port}/v2/`);
      const blobs = join(folder, "data", "docker", "registry", "v2", "blobs", "sha256");
      const storedFile = (digest: string): string => {
        const hex = hexOf(digest);
        return join(blobs, hex.slice(0, 2), hex, "data");
      };
      return { name, port, process: running, storedFile };
    },
  };
}

/** The lock never gives up: by its defaults a slow fill would let the herd through after 5 s. */
function nginxConfig(folder: string, port: number, upstreamUrl: string): string {
  const user = process.getuid?.() === 0 ? "user root;" : "";
  return `${user}
worker_processes auto;
pid ${join(folder, "nginx.pid")};
error_log ${join(folder, "error.log")} warn;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  client_body_temp_path ${join(folder, "body")};
  proxy_temp_path ${join(folder, "temp")};
  fastcgi_temp_path ${join(folder, "temp-fastcgi")};
  uwsgi_temp_path ${join(folder, "temp-uwsgi")};
  scgi_temp_path ${join(folder, "temp-scgi")};
  proxy_cache_path ${join(folder, "cache")} keys_zone=bench:10m max_size=100g inactive=1d use_temp_path=off;
  upstream registry { server ${new URL(upstreamUrl).host}; keepalive 32; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://registry;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffer_size 64k;
      proxy_buffers 16 64k;
      proxy_busy_buffers_size 128k;
      proxy_cache bench;
      proxy_cache_key $uri;
      proxy_cache_valid 200 1d;
      proxy_cache_lock on;
      proxy_cache_lock_age 1h;
      proxy_cache_lock_timeout 1h;
    }
  }
}
`;
}

const nginx: Peer = {
  name: "nginx",
  version: async () => {
    const file = await findProgram("nginx");
    return file && /nginx\/(\S+)/.exec(await outputOf(file, ["-v"]))?.[1];
  },
  start: async (folder, upstreamUrl) => {
    const port = await freePort();
    const config = join(folder, "nginx.conf");
    await writeFile(config, nginxConfig(folder, port, upstreamUrl));
    const running = start({
      command: (await findProgram("nginx")) ?? "nginx",
      args: ["-p", folder, "-c", config, "-g", "daemon off;"],
      logFile: join(folder, "nginx.log"),
    });
    await untilReady(running, `http://127.0.0.1:${port}/v2/`);
    const storedFile = (digest: string): string =>
      join(folder, "cache", createHash("md5").update(blobPath(digest)).digest("hex"));
    return { name: "nginx", port, process: running, storedFile };
  },
};

/** In the order in which they take their turns. */
export const PEERS: readonly Peer[] = [
  sluice,
  registry("docker-registry 2.8", ["docker-registry"], /docker\/distribution v?(2\.\S+)/),
  registry("distribution 3", ["distribution-3", "registry"], /distribution\/v3 v?(3\.\S+)/),
  nginx,
];

export async function startPeer(peer: Peer, work: string, upstreamUrl: string): Promise<Started> {
  const folder = join(work, peer.name.replaceAll(" ", "-"));
  await mkdir(folder, { recursive: true });
  return await peer.start(folder, upstreamUrl);
}
