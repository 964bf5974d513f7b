import { isDigest } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import type { Reference } from "../http/target.ts";
import { parseTag, splitRegistry } from "../oci/reference.ts";

export interface ImageReference {
  /** Without the registry. */
  readonly name: string;
  /** The registry, when one is named. */
  readonly ns: string | undefined;
  readonly reference: Reference;
}

/**
 * An image as people write it: `nginx`, `ghcr.io/acme/app:v1`, `team.example:5000/a/b@sha256:…`. A
 * digest beats a tag; with neither it is `latest` (docker's own rules).
 *
 * @throws RegistryError `name-invalid` when it cannot be one.
 */
export function parseImage(image: string): ImageReference {
  const at = image.indexOf("@");
  const named = at < 0 ? image : image.slice(0, at);
  const digest = at < 0 ? undefined : image.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) {
    throw new RegistryError("name-invalid", `${JSON.stringify(digest)} is not a digest`);
  }
  const { registry: ns, rest } = splitRegistry(named);
  const colon = rest.lastIndexOf(":");
  const name = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? "latest" : rest.slice(colon + 1);
  return { name, ns, reference: digest === undefined ? { tag: parseTag(tag) } : { digest } };
}
