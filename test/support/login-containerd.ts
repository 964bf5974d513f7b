import assert from "node:assert";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContainerdVersion } from "./containerd.ts";
import type { LogIn } from "./login-clients.ts";
import type { Ran } from "./processes.ts";
import { Daemon, run } from "./processes.ts";
import { runSluice } from "./sluice-process.ts";

/** What needs kernel modules, or a container's runtime. */
const DISABLED = [
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
];

export interface LogInNodeOptions {
  /** A log-in in the daemon's own configuration, for one registry by its address. */
  readonly registryAuth?: { readonly host: string } & LogIn;
}

/** A containerd with its Kubernetes side, so that it is asked as by `ctr` and as by a kubelet. */
export class LogInNode implements AsyncDisposable {
  readonly #version: ContainerdVersion;
  readonly #folder: string;
  readonly #daemon: Daemon;

  private constructor(version: ContainerdVersion, folder: string, daemon: Daemon) {
    this.#version = version;
    this.#folder = folder;
    this.#daemon = daemon;
  }

  static async start(
    version: ContainerdVersion,
    options: LogInNodeOptions = {},
  ): Promise<LogInNode> {
    // A socket's path may be 107 characters long at most: the folder's name is short.
    const folder = await mkdtemp(join(tmpdir(), "sluice-n-"));
    const config = join(folder, "config.toml");
    await writeFile(config, configOf(version, folder, options), { mode: 0o600 });
    const daemon = new Daemon(version.daemon, ["--config", config], { cwd: folder });
    const node = new LogInNode(version, folder, daemon);
    try {
      await daemon.line(/containerd successfully booted/);
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Sends every pull through one origin, by the file that `sluice hosts` writes with these options. */
  async useMirror(origin: string, options: readonly string[] = []): Promise<void> {
    const which = ["--address", origin, "--upstreams", "team.example"];
    const { code, output } = await runSluice(["hosts", this.#hostsFolder, ...which, ...options]);
    assert.equal(code, 0, output);
  }

  /** As `ctr` asks, with `--user` for a log-in. */
  async pull(image: string, logIn?: LogIn): Promise<Ran> {
    const user = logIn === undefined ? [] : ["--user", `${logIn.user}:${logIn.password}`];
    const hosts = ["--hosts-dir", this.#hostsFolder];
    const how = ["--snapshotter", "native", "--platform", "linux/amd64"];
    const ran = await this.#ctr(["images", "pull", ...hosts, ...user, ...how, image]);
    await this.#ctr(["images", "rm", "--sync", image]);
    return ran;
  }

  /** As the kubelet asks, with the log-in of an image pull secret. */
  async pullAsKubelet(image: string, secret?: LogIn): Promise<Ran> {
    const env =
      secret === undefined ? {} : { PULL_USERNAME: secret.user, PULL_PASSWORD: secret.password };
    const ran = await run("cri-pull", [`unix://${socketOf(this.#folder)}`, image], { env });
    const { stdout } = await this.#ctr(["--namespace", "k8s.io", "images", "ls", "--quiet"]);
    const names = stdout.split("\n").filter((name) => name !== "");
    if (names.length > 0) {
      await this.#ctr(["--namespace", "k8s.io", "images", "rm", "--sync", ...names]);
    }
    return ran;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #hostsFolder(): string {
    return join(this.#folder, "certs.d");
  }

  async #ctr(args: readonly string[]): Promise<Ran> {
    return await run(this.#version.ctr, ["--address", socketOf(this.#folder), ...args]);
  }
}

function socketOf(folder: string): string {
  return join(folder, "c.sock");
}

function configOf(
  { configVersion }: ContainerdVersion,
  folder: string,
  { registryAuth }: LogInNodeOptions,
): string {
  const isOld = configVersion === 2;
  const cri = isOld
    ? 'plugins."io.containerd.grpc.v1.cri"'
    : 'plugins."io.containerd.cri.v1.images"';
  const auth =
    registryAuth === undefined
      ? []
      : [
          `[${cri}.registry.configs."${registryAuth.host}".auth]`,
          `  username = ${JSON.stringify(registryAuth.user)}`,
          `  password = ${JSON.stringify(registryAuth.password)}`,
        ];
  // ctr 2 lets the daemon pull and unpack, and the daemon takes only the snapshotters named here.
  const unpack = [
    '[plugins."io.containerd.transfer.v1.local"]',
    '  [[plugins."io.containerd.transfer.v1.local".unpack_config]]',
    '    platform = "linux/amd64"',
    '    snapshotter = "native"',
    '    differ = "walking"',
  ];
  return [
    `version = ${configVersion}`,
    `root = "${join(folder, "root")}"`,
    `state = "${join(folder, "state")}"`,
    `disabled_plugins = ${JSON.stringify(DISABLED)}`,
    "[grpc]",
    `  address = "${socketOf(folder)}"`,
    "[ttrpc]",
    `  address = "${socketOf(folder)}.ttrpc"`,
    ...(isOld ? [`[${cri}.containerd]`] : [`[${cri}]`]),
    '  snapshotter = "native"',
    `[${cri}.registry]`,
    `  config_path = "${join(folder, "certs.d")}"`,
    ...auth,
    ...(isOld ? [] : unpack),
    "",
  ].join("\n");
}
