import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { ImageName } from "./credential.ts";
import { compileLabel } from "./label-glob.ts";

/** A key that is parsed once and asked often. */
export interface ImageKey {
  /**
   * `host[:port][/path]`, without scheme and API version, Docker Hub as `docker.io`: the same for
   * all ways to write one.
   */
  readonly name: string;
  readonly matches: (image: ImageName) => boolean;
}

/** All of them mean Docker Hub; `docker login` writes `https://index.docker.io/v1/`. */
const DOCKER_HUB_NAMES = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

/** No user: what stands before an @ looks like a host and is none. */
const AUTHORITY_PATTERN = /^([^:/@\s]+)(?::([0-9]*))?$/;

/**
 * Whether a key of a docker configuration, or a pattern of a credential provider, names an image:
 * `[scheme://]host[:port][/path]` with globs in the host's labels, as the kubelet has it. A path is
 * a plain prefix, so that `/team` names `/team-b`, too. A key that is malformed names nothing.
 *
 * @see https://kubernetes.io/docs/concepts/containers/images/#config-json
 */
export function keyMatches(key: string, image: ImageName): boolean {
  return parseImageKey(key)?.matches(image) === true;
}

/** The best first: sorted downwards as the kubelet does, so that longer paths come before shorter. */
export function bestKeysFirst<T extends Pick<ImageKey, "name">>(keys: readonly T[]): readonly T[] {
  return keys.toSorted((a, b) => Number(a.name < b.name) - Number(a.name > b.name));
}

/** Whether a registry's canonical name is Docker Hub's. */
export function isDockerHub(registry: string): boolean {
  return DOCKER_HUB_NAMES.has(registry);
}

/** Undefined for one that is malformed. */
export function parseImageKey(key: string): ImageKey | undefined {
  if (key.length > CREDENTIAL_LIMITS.keyLengthMax) {
    return undefined;
  }
  const { authority, path } = split(key.replace(/^https?:\/\//i, ""));
  const [, host = "", port = ""] = AUTHORITY_PATTERN.exec(authority) ?? [];
  const labels = labelsOf(host);
  const tests = labels.map(compileLabel).filter((test) => test !== undefined);
  if (host === "" || tests.length !== labels.length) {
    return undefined;
  }
  return {
    name: `${labels.join(".")}${port === "" ? "" : `:${port}`}${path}`,
    matches: ({ registry, repository }) => {
      const [name = "", askedPort = ""] = registry.split(":");
      const asked = labelsOf(name);
      return (
        askedPort === port &&
        asked.length === tests.length &&
        tests.every((test, index) => test(asked[index] ?? "")) &&
        `/${repository}`.startsWith(path)
      );
    },
  };
}

/** A path that names only the API stands for the whole registry, as on Docker's command line. */
function split(bare: string): { readonly authority: string; readonly path: string } {
  const slash = bare.indexOf("/");
  if (slash === -1) {
    return { authority: bare.toLowerCase(), path: "" };
  }
  const path = bare.slice(slash).replace(/^\/v[12](?=\/|$)/, "");
  return { authority: bare.slice(0, slash).toLowerCase(), path: path === "/" ? "" : path };
}

function labelsOf(host: string): readonly string[] {
  return (isDockerHub(host) ? "docker.io" : host).split(".");
}
