import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Ran } from "./processes.ts";
import { Daemon, run } from "./processes.ts";

const MAIN = join(import.meta.dirname, "..", "..", "server", "main.ts");

export interface SluiceOptions {
  /** The configuration: the text of the file, or what is to be written as YAML. */
  readonly config: string | Readonly<Record<string, unknown>>;
  /** Files beside the configuration, by name: passwords, certificates. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv;
  /** A folder that outlives the process; by default a temporary one that ends with it. */
  readonly folder?: string;
}

/** The product as a user starts it: a process of its own, on free ports of loopback. */
export class SluiceProcess implements AsyncDisposable {
  /** The registry API's origin. */
  readonly registry: string;
  /** The admin API's origin. */
  readonly admin: string;
  readonly #daemon: Daemon;
  readonly #folder: string | undefined;

  private constructor(line: Listening, daemon: Daemon, folder: string | undefined) {
    this.registry = line.registry;
    this.admin = line.admin;
    this.#daemon = daemon;
    this.#folder = folder;
  }

  /** Resolves once it listens. @throws with the end of its log when it ends before. */
  static async start(options: SluiceOptions): Promise<SluiceProcess> {
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), "sluice-process-")));
    await mkdir(folder, { recursive: true });
    const { config } = options;
    const files = {
      ...options.files,
      "sluice.yaml": typeof config === "string" ? config : stringify(config),
    };
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(folder, name), text, { mode: 0o600 });
    }
    const env = {
      SLUICE_LISTEN: "127.0.0.1:0",
      SLUICE_ADMIN: "127.0.0.1:0",
      SLUICE_DATA: join(folder, "data"),
      ...options.env,
    };
    const args = [MAIN, "serve", "--config", join(folder, "sluice.yaml")];
    const daemon = new Daemon(process.execPath, args, { cwd: folder, env });
    const owned = options.folder === undefined ? folder : undefined;
    try {
      const [line] = await daemon.line(/^\{.*"msg":"listening".*\}$/);
      return new SluiceProcess(parseListening(line), daemon, owned);
    } catch (error) {
      await daemon.stop("SIGKILL");
      await removeFolder(owned);
      throw error;
    }
  }

  /** `127.0.0.1:PORT`, as it stands before an image's name. */
  get host(): string {
    return new URL(this.registry).host;
  }

  /** The last lines that it wrote. */
  get logs(): readonly string[] {
    return this.#daemon.lines;
  }

  get pid(): number | undefined {
    return this.#daemon.pid;
  }

  signal(signal: NodeJS.Signals): void {
    this.#daemon.signal(signal);
  }

  /** Asks it to drain and end; its exit code. */
  async stop(): Promise<number | undefined> {
    return await this.#daemon.stop("SIGTERM");
  }

  /** Ends it as a power cut does. */
  async kill(): Promise<void> {
    await this.#daemon.stop("SIGKILL");
  }

  /** The text of /metrics. */
  async metrics(): Promise<string> {
    const response = await fetch(`${this.admin}/metrics`);
    return await response.text();
  }

  /** The sum of a metric's series that carry all these labels; 0 when there is none. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
    let sum = 0;
    for (const line of (await this.metrics()).split("\n")) {
      const [, series = "", value = ""] = /^([^#\s]\S*(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
      const isNamed = series === name || series.startsWith(`${name}{`);
      if (isNamed && wanted.every((label) => series.includes(label))) {
        sum += Number(value);
      }
    }
    return sum;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await removeFolder(this.#folder);
  }
}

/** Any other command of the product, run to its end. */
export async function runSluice(args: readonly string[]): Promise<Ran> {
  return await run(process.execPath, [MAIN, ...args]);
}

interface Listening {
  readonly registry: string;
  readonly admin: string;
}

function parseListening(line: string): Listening {
  const { registry, admin } = JSON.parse(line) as Partial<Listening>;
  if (registry === undefined || admin === undefined) {
    throw new Error(`the listening line names no registry and admin: ${line}`);
  }
  return { registry, admin };
}

async function removeFolder(folder: string | undefined): Promise<void> {
  if (folder !== undefined) {
    await rm(folder, { recursive: true, force: true });
  }
}
