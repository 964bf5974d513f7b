import type { ImageName } from "./credential.ts";

/**
 * Whether a key of a docker configuration, or a pattern of a credential provider, names an image:
 * `[scheme://]host[:port][/path]` with globs in the host's labels, as the kubelet has it.
 *
 * @see https://kubernetes.io/docs/concepts/containers/images/#config-json
 */
export function keyMatches(key: string, { registry, repository }: ImageName): boolean {
  const bare = key.replace(/^https?:\/\//, "");
  return `${registry}/${repository}`.startsWith(bare);
}
