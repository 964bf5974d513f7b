import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { KubeletProviderSettings } from "../settings.ts";
import { WatchedFile } from "../watched-file.ts";
import type { CredentialSource, FoundCredential, ImageName } from "./credential.ts";
import { CredentialError } from "./credential.ts";
import { keyMatches } from "./key-matching.ts";
import type { KubeletProvider } from "./kubelet-config.ts";
import { parseKubeletConfig } from "./kubelet-config.ts";
import type { Answer, PluginOptions } from "./kubelet-plugin.ts";
import { KubeletPlugin } from "./kubelet-plugin.ts";
import { runPlugin } from "./run-plugin.ts";

/** What a test replaces. */
export interface KubeletOptions {
  /** Milliseconds since 1970: log-ins run out while a machine sleeps, too. */
  readonly now: () => number;
  readonly run: PluginOptions["run"];
}

const DEFAULTS: KubeletOptions = { now: Date.now, run: (run) => runPlugin(run) };

/**
 * The kubelet's credential provider plugins, asked as it asks them.
 *
 * @see https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/
 */
export class KubeletProviders implements CredentialSource {
  readonly description: string;
  readonly #settings: KubeletProviderSettings;
  readonly #options: KubeletOptions;
  readonly #file: WatchedFile<readonly KubeletProvider[]>;
  /** By their definition, so that a changed file forgets only what those said that changed. */
  readonly #plugins = new Map<string, KubeletPlugin>();
  readonly #origins = new WeakMap<FoundCredential, Origin>();

  constructor(settings: KubeletProviderSettings, options: KubeletOptions = DEFAULTS) {
    this.description = `kubeletProviders ${settings.configFile}`;
    this.#settings = settings;
    this.#options = options;
    this.#file = new WatchedFile(settings.configFile, (text) => parse(settings.configFile, text));
  }

  /** A provider that fails is passed over as long as another one has a log-in. */
  async find(image: ImageName): Promise<readonly FoundCredential[]> {
    const plugins = this.#pluginsOf(await this.#providers()).filter((one) => one.isFor(image));
    const asked = await Promise.allSettled(plugins.map((plugin) => this.#ask(plugin, image)));
    const logIns = asked.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    const failed = asked.find((result) => result.status === "rejected");
    if (logIns.length === 0 && failed !== undefined) {
      throw failed.reason;
    }
    return logIns.toSorted(byKey).map(({ found }) => found);
  }

  refused(found: FoundCredential): void {
    const origin = this.#origins.get(found);
    origin?.plugin.forget(origin.answer);
  }

  async #ask(plugin: KubeletPlugin, image: ImageName): Promise<Answer["logIns"]> {
    const answer = await plugin.ask(image);
    const logIns = answer.logIns.filter(({ key }) => keyMatches(key, image));
    for (const { found } of logIns) {
      this.#origins.set(found, { plugin, answer });
    }
    return logIns;
  }

  async #providers(): Promise<readonly KubeletProvider[]> {
    try {
      return await this.#file.read();
    } catch (cause) {
      if (cause instanceof CredentialError) {
        throw cause;
      }
      throw new CredentialError(unreadable(this.#settings.configFile, cause), { cause });
    }
  }

  #pluginsOf(providers: readonly KubeletProvider[]): readonly KubeletPlugin[] {
    const definitions = new Map(
      providers.map((provider) => [JSON.stringify(provider), provider] as const),
    );
    for (const known of this.#plugins.keys()) {
      if (!definitions.has(known)) {
        this.#plugins.delete(known);
      }
    }
    return [...definitions].map(([definition, provider]) => {
      const plugin =
        this.#plugins.get(definition) ??
        new KubeletPlugin(provider, { ...this.#settings, ...this.#options });
      this.#plugins.set(definition, plugin);
      return plugin;
    });
  }
}

interface Origin {
  readonly plugin: KubeletPlugin;
  readonly answer: Answer;
}

/** All that would keep the providers from being asked, in words; nothing that may be a secret. */
export function checkKubeletProviders(settings: KubeletProviderSettings): readonly string[] {
  const { configFile, binDir } = settings;
  let text: string;
  try {
    text = readFileSync(configFile, "utf8");
  } catch (error) {
    return [unreadable(configFile, error)];
  }
  const { providers, problems } = parseKubeletConfig(configFile, text);
  const broken = providers
    .map(({ name }) => ({ name, path: join(binDir, name) }))
    .filter(({ path }) => !isExecutable(path))
    .map(({ name, path }) => {
      const todo = "put the plugin there, and make it executable";
      return `${configFile}: provider ${name}: ${path} is not an executable file; ${todo}`;
    });
  return [...problems, ...broken];
}

/** @throws CredentialError with all problems, so that one look at the file is enough. */
function parse(configFile: string, text: string): readonly KubeletProvider[] {
  const { providers, problems } = parseKubeletConfig(configFile, text);
  if (problems.length > 0) {
    throw new CredentialError(problems.join("; "));
  }
  return providers;
}

function unreadable(file: string, error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
  return `${file}: cannot be read (${code}); expected a CredentialProviderConfig in YAML or JSON`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Longer keys sort later, so the most specific one comes first when the order is reversed. */
function byKey(a: Answer["logIns"][number], b: Answer["logIns"][number]): number {
  const left = bare(a.key);
  const right = bare(b.key);
  return left === right ? 0 : left < right ? 1 : -1;
}

function bare(key: string): string {
  return key.replace(/^https?:\/\//, "");
}
