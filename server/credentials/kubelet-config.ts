import type { Path } from "./kubelet-document.ts";
import { KubeletDocument } from "./kubelet-document.ts";
import { parseGoDuration } from "./kubelet-duration.ts";

/** What we speak with plugins, in both directions. */
export const PROVIDER_API = "credentialprovider.kubelet.k8s.io/v1";

const CONFIG_API = "kubelet.config.k8s.io/v1";
const CONFIG_KIND = "CredentialProviderConfig";
const CONFIG_KEYS = ["apiVersion", "kind", "providers"];
const PROVIDER_KEYS = [
  "name",
  "matchImages",
  "defaultCacheDuration",
  "apiVersion",
  "args",
  "env",
  "tokenAttributes",
];
const ENV_KEYS = ["name", "value"];

/** A file in binDir and nothing else: no path, and neither `.` nor `..`. */
const NAME_PATTERN = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}$/;
const MATCH_PATTERN = /^[!-~]{1,512}$/;
const ENV_NAME_PATTERN = /^[^=\0]{1,256}$/;

/** One entry of `providers`. */
export interface KubeletProvider {
  readonly name: string;
  readonly matchImages: readonly string[];
  /** How long an answer is kept that does not say. 0: not at all. */
  readonly defaultCacheMs: number;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface KubeletConfig {
  /** Those without a problem, in the order of the file. */
  readonly providers: readonly KubeletProvider[];
  /** `file:line:column: path: found …, expected …`; values of args and env are never quoted. */
  readonly problems: readonly string[];
}

/**
 * The text of a CredentialProviderConfig, YAML or JSON, as strictly as the kubelet reads it.
 *
 * @see https://kubernetes.io/docs/reference/config-api/kubelet-config.v1/
 */
export function parseKubeletConfig(file: string, text: string): KubeletConfig {
  const document = new KubeletDocument(file, text);
  if (document.problems.length > 0) {
    return { providers: [], problems: document.problems };
  }
  const reader = new ConfigReader(document);
  return { providers: reader.read(), problems: document.problems };
}

class ConfigReader {
  readonly #document: KubeletDocument;

  constructor(document: KubeletDocument) {
    this.#document = document;
  }

  read(): readonly KubeletProvider[] {
    const root = this.#document.fields([], this.#document.value, CONFIG_KEYS);
    if (root === undefined) {
      return [];
    }
    this.#document.exactly(["apiVersion"], root.get("apiVersion"), CONFIG_API);
    this.#document.exactly(["kind"], root.get("kind"), CONFIG_KIND);
    const providers = this.#document.list(["providers"], root.get("providers"));
    if (providers?.length === 0) {
      this.#document.mismatch(["providers"], root.get("providers"), "at least one provider");
    }
    const names = new Set<string>();
    return (providers ?? []).flatMap((value, index) =>
      this.#provider(["providers", index], value, names),
    );
  }

  #provider(path: Path, value: unknown, names: Set<string>): readonly KubeletProvider[] {
    const fields = this.#document.fields(path, value, PROVIDER_KEYS);
    if (fields === undefined) {
      return [];
    }
    if (fields.get("tokenAttributes") !== undefined) {
      const why = "there is no pod here whose service account's token a plugin could have";
      const todo = "remove it, and let the plugin log in as this machine or by its env";
      this.#document.problem([...path, "tokenAttributes"], `not available: ${why}; ${todo}`);
    }
    this.#document.exactly([...path, "apiVersion"], fields.get("apiVersion"), PROVIDER_API);
    const name = this.#name([...path, "name"], fields.get("name"), names);
    const matchImages = this.#matchImages([...path, "matchImages"], fields.get("matchImages"));
    const durationPath = [...path, "defaultCacheDuration"];
    const defaultCacheMs = this.#duration(durationPath, fields.get("defaultCacheDuration"));
    const args = this.#args([...path, "args"], fields.get("args"));
    const env = this.#env([...path, "env"], fields.get("env"));
    return name === undefined ? [] : [{ name, matchImages, defaultCacheMs, args, env }];
  }

  #name(path: Path, value: unknown, names: Set<string>): string | undefined {
    if (typeof value !== "string" || !NAME_PATTERN.test(value)) {
      const expected = "the name of a file in binDir, of letters, digits, dots, - and _";
      return this.#document.mismatch(path, value, expected);
    }
    if (names.has(value)) {
      return this.#document.mismatch(path, value, "each name once");
    }
    names.add(value);
    return value;
  }

  #matchImages(path: Path, value: unknown): readonly string[] {
    const patterns = this.#document.list(path, value);
    if (patterns?.length === 0) {
      this.#document.mismatch(
        path,
        value,
        'at least one image pattern, such as "*.registry.example/team"',
      );
    }
    return (patterns ?? []).flatMap((pattern, index) => {
      if (typeof pattern === "string" && MATCH_PATTERN.test(pattern)) {
        return [pattern];
      }
      this.#document.mismatch(
        [...path, index],
        pattern,
        "host[:port][/path], * within the host's labels",
      );
      return [];
    });
  }

  #duration(path: Path, value: unknown): number {
    const duration = typeof value === "string" ? parseGoDuration(value) : undefined;
    if (duration === undefined || duration < 0) {
      this.#document.mismatch(path, value, 'a duration such as "12h0m0s", or "0s" to keep nothing');
      return 0;
    }
    return duration;
  }

  #args(path: Path, value: unknown): readonly string[] {
    return (this.#document.list(path, value) ?? []).flatMap((arg, index) => {
      if (typeof arg === "string" && !arg.includes("\0")) {
        return [arg];
      }
      this.#document.problem([...path, index], "found no text, expected text: put it in quotes");
      return [];
    });
  }

  #env(path: Path, value: unknown): Readonly<Record<string, string>> {
    const entries = (this.#document.list(path, value) ?? []).flatMap((entry, index) => {
      const at = [...path, index];
      const fields = this.#document.fields(at, entry, ENV_KEYS);
      if (fields === undefined) {
        return [];
      }
      const name = fields.get("name");
      const text = fields.get("value") ?? "";
      if (typeof name !== "string" || !ENV_NAME_PATTERN.test(name)) {
        this.#document.problem([...at, "name"], "found no variable's name, expected one");
        return [];
      }
      if (typeof text !== "string" || text.includes("\0")) {
        this.#document.problem([...at, "value"], "found no text, expected text: put it in quotes");
        return [];
      }
      return [[name, text] as const];
    });
    return Object.fromEntries(entries);
  }
}
