import assert from "node:assert";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ran } from "./processes.ts";
import { Daemon, run } from "./processes.ts";
import { runSluice } from "./sluice-process.ts";

/** The two generations: their binaries, and the shape of their configuration. */
export interface ContainerdVersion {
  readonly name: string;
  readonly daemon: string;
  readonly ctr: string;
  readonly configVersion: 2 | 3;
}

export const CONTAINERD_VERSIONS: readonly ContainerdVersion[] = [
  { name: "containerd 1.6", daemon: "containerd", ctr: "ctr", configVersion: 2 },
  { name: "containerd 2", daemon: "containerd-2", ctr: "ctr-2", configVersion: 3 },
];

/** Kubernetes' side of containerd, and what needs kernel modules, are not wanted here. */
const DISABLED = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.podsandbox.controller.v1.podsandbox",
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
];

/** A containerd of its own: root, state, socket and host configuration in a temporary folder. */
export class Containerd implements AsyncDisposable {
  readonly #version: ContainerdVersion;
  readonly #folder: string;
  readonly #daemon: Daemon;

  private constructor(version: ContainerdVersion, folder: string, daemon: Daemon) {
    this.#version = version;
    this.#folder = folder;
    this.#daemon = daemon;
  }

  static async start(version: ContainerdVersion): Promise<Containerd> {
    // A socket's path may be 107 characters long at most: the folder's name is short.
    const folder = await mkdtemp(join(tmpdir(), "sluice-c-"));
    const config = join(folder, "config.toml");
    await writeFile(config, configOf(version, folder));
    const daemon = new Daemon(version.daemon, ["--config", config], { cwd: folder });
    const containerd = new Containerd(version, folder, daemon);
    try {
      await daemon.line(/containerd successfully booted/);
      return containerd;
    } catch (error) {
      await containerd[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The folder of hosts.toml files. It is read at every pull. */
  get hostsFolder(): string {
    return join(this.#folder, "certs.d");
  }

  /** Sends every pull through one origin, by the files that `sluice hosts` writes for nodes. */
  async useMirror(origin: string, upstreams: readonly string[]): Promise<void> {
    const which = ["--address", origin, "--upstreams", upstreams.join(",")];
    const { code, output } = await runSluice(["hosts", this.hostsFolder, ...which]);
    assert.equal(code, 0, output);
  }

  async pull(image: string): Promise<Ran> {
    const hosts = ["--hosts-dir", this.hostsFolder];
    const how = ["--snapshotter", "native", "--platform", "linux/amd64"];
    return await this.#ctr(["images", "pull", ...hosts, ...how, image]);
  }

  /** Everything in the content store. containerd has verified each against its name. */
  async digests(): Promise<string[]> {
    const { stdout } = await this.#ctr(["content", "ls", "--quiet"]);
    return stdout.split("\n").filter((line) => line !== "");
  }

  /** What a tag was resolved to. */
  async digestOf(image: string): Promise<string | undefined> {
    const { stdout } = await this.#ctr(["images", "ls", `name==${image}`]);
    return /\ssha256:[0-9a-f]{64}\s/.exec(stdout)?.[0].trim();
  }

  /** Forgets images, and their content with them. */
  async remove(images: readonly string[]): Promise<Ran> {
    return await this.#ctr(["images", "rm", "--sync", ...images]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #ctr(args: readonly string[]): Promise<Ran> {
    return await run(this.#version.ctr, ["--address", socketOf(this.#folder), ...args]);
  }
}

function socketOf(folder: string): string {
  return join(folder, "c.sock");
}

function configOf({ configVersion }: ContainerdVersion, folder: string): string {
  const lines = [
    `version = ${configVersion}`,
    `root = "${join(folder, "root")}"`,
    `state = "${join(folder, "state")}"`,
    `disabled_plugins = ${JSON.stringify(DISABLED)}`,
    "[grpc]",
    `  address = "${socketOf(folder)}"`,
    "[ttrpc]",
    `  address = "${socketOf(folder)}.ttrpc"`,
  ];
  // ctr 2 lets the daemon pull and unpack, and the daemon takes only the snapshotters named here.
  const unpack = [
    '[plugins."io.containerd.transfer.v1.local"]',
    '  [[plugins."io.containerd.transfer.v1.local".unpack_config]]',
    '    platform = "linux/amd64"',
    '    snapshotter = "native"',
    '    differ = "walking"',
  ];
  return [...lines, ...(configVersion === 3 ? unpack : []), ""].join("\n");
}
