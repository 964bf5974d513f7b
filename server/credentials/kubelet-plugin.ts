import { resolve } from "node:path";
import { LRUCache } from "lru-cache";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { FoundCredential, ImageName } from "./credential.ts";
import { CredentialError } from "./credential.ts";
import { keyMatches } from "./key-matching.ts";
import type { KubeletProvider } from "./kubelet-config.ts";
import { PROVIDER_API } from "./kubelet-config.ts";
import type { PluginLogIn, PluginResponse, Scope } from "./kubelet-response.ts";
import { parseResponse, ResponseError } from "./kubelet-response.ts";
import type { PluginResult, PluginRun } from "./run-plugin.ts";

/** Shorter values of env are words that may stand in a message by chance. */
const REDACTED_CHARACTERS_MIN = 4;

export interface PluginOptions {
  readonly binDir: string;
  /** For messages. */
  readonly configFile: string;
  readonly now: () => number;
  readonly run: (run: PluginRun) => Promise<PluginResult>;
}

export interface KeyedLogIn {
  readonly key: string;
  readonly found: FoundCredential;
}

/** What a plugin said once. */
export interface Answer {
  readonly image: ImageName;
  readonly scope: Scope;
  readonly atMs: number;
  readonly untilMs: number;
  readonly logIns: readonly KeyedLogIn[];
}

interface Failure {
  readonly error: unknown;
  readonly untilMs: number;
}

/** One provider: its plugin is run when nothing that it said before is good for an image. */
export class KubeletPlugin {
  readonly #provider: KubeletProvider;
  readonly #options: PluginOptions;
  readonly #description: string;
  readonly #answers = new LRUCache<string, Answer>({ max: CREDENTIAL_LIMITS.kubeletAnswersMax });
  readonly #failures = new LRUCache<string, Failure>({ max: CREDENTIAL_LIMITS.kubeletAnswersMax });
  readonly #runs = new Map<string, Promise<Answer>>();
  /** Of its last answer. Until there is one, whoever wants the same registry waits for the first. */
  #scope: Scope = "Registry";

  constructor(provider: KubeletProvider, options: PluginOptions) {
    this.#provider = provider;
    this.#options = options;
    this.#description = `the credential provider ${provider.name} of ${options.configFile}`;
  }

  isFor(image: ImageName): boolean {
    return this.#provider.matchImages.some((pattern) => keyMatches(pattern, image));
  }

  /** @throws CredentialError when the plugin fails, or did a moment ago. */
  async ask(image: ImageName): Promise<Answer> {
    const kept = this.#kept(image);
    if (kept !== undefined) {
      return kept;
    }
    const key = keyOf(this.#scope, image);
    const failure = this.#failures.get(key);
    if (failure !== undefined && failure.untilMs > this.#options.now()) {
      throw failure.error;
    }
    const running = this.#runs.get(key) ?? this.#run(key, image);
    this.#runs.set(key, running);
    const answer = await running;
    // It may turn out to be good for less than what was waited for.
    return keyOf(answer.scope, answer.image) === keyOf(answer.scope, image)
      ? answer
      : await this.ask(image);
  }

  /** A registry refused it: it is fetched anew, unless that has just been done. */
  forget(answer: Answer): void {
    const key = keyOf(answer.scope, answer.image);
    const isNew = this.#options.now() - answer.atMs < CREDENTIAL_LIMITS.kubeletNewMs;
    if (!isNew && this.#answers.get(key) === answer) {
      this.#answers.delete(key);
    }
  }

  #kept(image: ImageName): Answer | undefined {
    const now = this.#options.now();
    return (["Image", "Registry", "Global"] as const)
      .map((scope) => this.#answers.get(keyOf(scope, image)))
      .find((answer) => answer !== undefined && answer.untilMs > now);
  }

  async #run(key: string, image: ImageName): Promise<Answer> {
    try {
      const answer = await this.#fetch(image);
      this.#scope = answer.scope;
      if (answer.untilMs > answer.atMs) {
        this.#answers.set(keyOf(answer.scope, image), answer);
      }
      return answer;
    } catch (error) {
      const untilMs = this.#options.now() + CREDENTIAL_LIMITS.kubeletFailedMs;
      this.#failures.set(key, { error, untilMs });
      throw error;
    } finally {
      this.#runs.delete(key);
    }
  }

  async #fetch(image: ImageName): Promise<Answer> {
    const { defaultCacheMs } = this.#provider;
    const { scope, cacheMs, logIns } = this.#parse(await this.#execute(image), image);
    const atMs = this.#options.now();
    const untilMs = atMs + Math.min(cacheMs ?? defaultCacheMs, CREDENTIAL_LIMITS.kubeletCacheMsMax);
    return { image, scope, atMs, untilMs, logIns: logIns.map((logIn) => this.#keyed(logIn)) };
  }

  async #execute(image: ImageName): Promise<PluginResult> {
    const { name, args, env } = this.#provider;
    const command = resolve(this.#options.binDir, name);
    const input = requestFor(image);
    const description = this.#description;
    try {
      return await this.#options.run({ command, args, env, input, description });
    } catch (error) {
      // It quotes what the plugin said, too. The original would be logged as its cause.
      throw error instanceof CredentialError
        ? new CredentialError(this.#redacted(error.message), { cause: error.cause })
        : error;
    }
  }

  #parse({ exitCode, stdout, stderr }: PluginResult, image: ImageName): PluginResponse {
    const failed = `${this.#description} failed for ${image.registry}/${image.repository}`;
    if (exitCode !== 0) {
      const said = stderr === "" ? "it said nothing" : `it said: ${this.#redacted(stderr)}`;
      throw new CredentialError(
        `${failed} with exit code ${exitCode}; ${said}; run it by hand, or look at its args and env`,
      );
    }
    try {
      return parseResponse(stdout);
    } catch (cause) {
      if (!(cause instanceof ResponseError)) {
        throw cause;
      }
      const todo = `the plugin must speak ${PROVIDER_API}`;
      throw new CredentialError(`${failed}: ${cause.message}; ${todo}`, { cause });
    }
  }

  /** A plugin may tell what it was given, and its env may hold secrets. */
  #redacted(text: string): string {
    return Object.entries(this.#provider.env)
      .filter(([, value]) => value.length >= REDACTED_CHARACTERS_MIN)
      .toSorted(([, a], [, b]) => b.length - a.length)
      .reduce((redacted, [name, value]) => redacted.replaceAll(value, () => `[${name}]`), text);
  }

  #keyed({ key, username, password }: PluginLogIn): KeyedLogIn {
    const from = `${this.#description}, auth key ${JSON.stringify(key)}`;
    return { key, found: { credential: { kind: "basic", username, password }, from } };
  }
}

/** A registry's name has no slash, so none of them can be taken for another. */
function keyOf(scope: Scope, { registry, repository }: ImageName): string {
  if (scope === "Global") {
    return "";
  }
  return scope === "Registry" ? registry : `${registry}/${repository}`;
}

/** Without a tag or digest, as the kubelet asks. */
function requestFor({ registry, repository }: ImageName): string {
  return JSON.stringify({
    apiVersion: PROVIDER_API,
    kind: "CredentialProviderRequest",
    image: `${registry}/${repository}`,
  });
}
