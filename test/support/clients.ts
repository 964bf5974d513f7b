import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Keeps } from "./arrived.ts";
import { digestsOfFolder, digestsOfLayout } from "./arrived.ts";
import type { Ran } from "./processes.ts";
import { run } from "./processes.ts";

/** Where a client is to pull from, and a folder of its own that it may use. */
export interface PullRequest {
  /** `127.0.0.1:PORT`: the registry that it talks to, in plain http. */
  readonly host: string;
  /** `team.example/app/web`. */
  readonly repository: string;
  readonly tag: string;
  /** Does not exist yet. */
  readonly folder: string;
}

export interface Pulled {
  readonly ran: Ran;
  /** What is there now; nothing when the client failed. */
  readonly digests: readonly string[];
}

/** One tool that pulls images, started afresh for each pull: it never knows of an earlier one. */
export interface Client {
  readonly name: string;
  readonly keeps: Keeps;
  /** Whether it takes artifacts that are not images, and layers named by sha512. */
  readonly takesArtifacts: boolean;
  pull(request: PullRequest): Promise<Pulled>;
}

const crane: Client = {
  name: "crane",
  keeps: "everything",
  takesArtifacts: false,
  async pull(request) {
    const ran = await run("crane", ["pull", "--format=oci", imageOf(request), request.folder]);
    return { ran, digests: ran.code === 0 ? await digestsOfLayout(request.folder) : [] };
  },
};

const skopeo: Client = {
  name: "skopeo",
  keeps: "everything",
  takesArtifacts: false,
  async pull(request) {
    const { folder } = request;
    const quiet = ["--insecure-policy", "copy", "--all", "--preserve-digests"];
    const from = ["--src-tls-verify=false", `docker://${imageOf(request)}`];
    const ran = await run("skopeo", [...quiet, ...from, `dir:${folder}`]);
    return { ran, digests: ran.code === 0 ? await digestsOfFolder(folder) : [] };
  },
};

const regctl: Client = {
  name: "regctl",
  keeps: "everything",
  takesArtifacts: true,
  async pull(request) {
    const { folder } = request;
    const ran = await runRegctl(request.host, [
      "image",
      "copy",
      imageOf(request),
      `ocidir://${folder}:${request.tag}`,
    ]);
    return { ran, digests: ran.code === 0 ? await digestsOfLayout(folder) : [] };
  },
};

const oras: Client = {
  name: "oras",
  keeps: "everything",
  takesArtifacts: true,
  async pull(request) {
    const { folder } = request;
    const to = ["--to-oci-layout", `${folder}:${request.tag}`];
    const ran = await run("oras", ["cp", "--no-tty", "--from-plain-http", imageOf(request), ...to]);
    return { ran, digests: ran.code === 0 ? await digestsOfLayout(folder) : [] };
  },
};

const podman: Client = {
  name: "podman",
  keeps: "unpacked",
  takesArtifacts: false,
  async pull(request) {
    // A folder of its own: podman refuses a --runroot of more than 50 characters.
    const folder = await mkdtemp(join(tmpdir(), "slp-"));
    try {
      return await pullWithPodman(request, folder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

export const CLIENTS: readonly Client[] = [crane, skopeo, regctl, oras, podman];

export function imageOf(request: Omit<PullRequest, "folder">): string {
  return `${request.host}/${request.repository}:${request.tag}`;
}

/** regctl takes registries for TLS ones unless told otherwise. */
export async function runRegctl(host: string, args: readonly string[]): Promise<Ran> {
  return await run("regctl", ["--host", `reg=${host},tls=disabled`, ...args]);
}

async function pullWithPodman(request: PullRequest, folder: string): Promise<Pulled> {
  const policy = join(folder, "policy.json");
  await writeFile(policy, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  const places = ["--root", join(folder, "root"), "--runroot", join(folder, "run")];
  const base = [...places, "--storage-driver=vfs", "--events-backend=none"];
  const how = ["pull", "--quiet", "--tls-verify=false", `--signature-policy=${policy}`];
  const ran = await run("podman", [...base, ...how, imageOf(request)]);
  if (ran.code !== 0) {
    return { ran, digests: [] };
  }
  const inspected = await run("podman", [...base, "image", "inspect", imageOf(request)]);
  return { ran, digests: digestsOfInspect(inspected.stdout) };
}

/** Pulls into a folder that is gone afterwards. */
export async function pullOnce(client: Client, request: PullRequest): Promise<Pulled> {
  try {
    return await client.pull(request);
  } finally {
    await rm(request.folder, { recursive: true, force: true });
  }
}

/** podman keeps layers unpacked: what it can prove are the digests of their archives. */
function digestsOfInspect(stdout: string): string[] {
  const [image] = JSON.parse(stdout) as [
    { Id: string; RepoDigests: string[]; RootFS: { Layers: string[] } },
  ];
  const names = image.RepoDigests.map((name) => name.slice(name.indexOf("@") + 1));
  return [...names, `sha256:${image.Id}`, ...image.RootFS.Layers];
}
