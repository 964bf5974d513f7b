import { LRUCache } from "lru-cache";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import { UnfitFileError, WatchedFile } from "../watched-file.ts";
import type { CredentialSource, FoundCredential, ImageName } from "./credential.ts";
import { CredentialError, fingerprintOf } from "./credential.ts";
import { DockerHelpers } from "./docker-helper.ts";
import type { Keyring, KeyringEntry } from "./docker-keyring.ts";
import { parseKeyring } from "./docker-keyring.ts";
import { isDockerHub } from "./key-matching.ts";

/** What `docker login` keeps Docker Hub under, and what helpers are asked for. */
const DOCKER_HUB_KEY = "https://index.docker.io/v1/";

/** A key that can be what a store has it under: no glob, nothing that a terminal would act on. */
const SERVER_KEY_PATTERN = /^[A-Za-z0-9._:/-]+$/;

/**
 * `~/.docker/config.json`, the older `.dockercfg`, or a Kubernetes pull secret.
 *
 * Looked up in this order, so that a file that works for Docker or for the kubelet works here:
 * the helper that `credHelpers` has for the host, as on Docker's command line; what `auths` has,
 * by the kubelet's matching; and `credsStore`, unless the host has a helper of its own. Docker asks
 * the store alone, and the kubelet never: it comes last, since what stands in the file is at hand.
 * For the same reason it is asked, and its failure an error, only when nothing else is left to try.
 *
 * @see https://kubernetes.io/docs/concepts/containers/images/#config-json
 * @see https://docs.docker.com/reference/cli/docker/login/#credential-stores
 */
export class DockerConfig implements CredentialSource {
  readonly description: string;
  readonly #path: string;
  readonly #file: WatchedFile<Keyring>;
  readonly #helpers: DockerHelpers;
  readonly #refused = new LRUCache<string, true>({
    max: CREDENTIAL_LIMITS.refusedMax,
    ttl: CREDENTIAL_LIMITS.refusedMs,
  });

  /** @param now - in milliseconds, from any start. */
  constructor(path: string, now: () => number = () => performance.now()) {
    this.description = `dockerConfigFile ${path}`;
    this.#path = path;
    this.#file = new WatchedFile(path, (text) => parseKeyring(path, text));
    this.#helpers = new DockerHelpers(now);
  }

  async find(image: ImageName): Promise<readonly FoundCredential[]> {
    const keyring = await this.#read();
    const matching = keyring.entries.filter((entry) => entry.matches(image));
    const helper = keyring.helpers.get(isDockerHub(image.registry) ? "docker.io" : image.registry);
    const found = [...(await this.#fromHelper(helper, image)), ...this.#fromFile(matching)];
    const hasUntried = found.some(
      ({ credential }) => !this.#refused.has(fingerprintOf(credential)),
    );
    if (helper !== undefined || keyring.store === "" || hasUntried) {
      return found;
    }
    try {
      return [...found, ...(await this.#fromStore(keyring.store, image, matching))];
    } catch (error) {
      if (found.length === 0) {
        throw error;
      }
      return found;
    }
  }

  refused({ credential }: FoundCredential): void {
    this.#refused.set(fingerprintOf(credential), true);
    this.#helpers.refused(credential);
  }

  async #read(): Promise<Keyring> {
    try {
      return await this.#file.read();
    } catch (error) {
      if (error instanceof UnfitFileError) {
        throw new CredentialError(error.message, { cause: error });
      }
      throw error;
    }
  }

  #fromFile(matching: readonly KeyringEntry[]): readonly FoundCredential[] {
    return matching.flatMap(({ key, credential }) =>
      credential === undefined ? [] : [{ credential, from: `${this.#path}, auths key "${key}"` }],
    );
  }

  #fromHelper(suffix: string | undefined, { registry }: ImageName): Promise<FoundCredential[]> {
    return suffix === undefined || suffix === ""
      ? Promise.resolve([])
      : this.#ask("credHelpers", suffix, serverKeyOf(registry));
  }

  /** A store may have it under a key that the file only mentions, with a scheme or a path. */
  async #fromStore(
    suffix: string,
    { registry }: ImageName,
    matching: readonly KeyringEntry[],
  ): Promise<readonly FoundCredential[]> {
    const mentioned = matching
      .filter(({ key, credential }) => credential === undefined && SERVER_KEY_PATTERN.test(key))
      .map(({ key }) => key)
      .slice(0, CREDENTIAL_LIMITS.candidatesMax - 1);
    const keys = new Set([...mentioned, serverKeyOf(registry)]);
    const answers = await Promise.all([...keys].map((key) => this.#ask("credsStore", suffix, key)));
    return answers.flat();
  }

  async #ask(member: string, suffix: string, serverKey: string): Promise<FoundCredential[]> {
    const place = `${member} of ${this.#path}`;
    const credential = await this.#helpers.get({ suffix, serverKey, place });
    const from = `${this.#path}, ${member}: docker-credential-${suffix} for "${serverKey}"`;
    return credential === undefined ? [] : [{ credential, from }];
  }
}

function serverKeyOf(registry: string): string {
  return isDockerHub(registry) ? DOCKER_HUB_KEY : registry;
}
