import { RegistryError } from "../errors.ts";

/** distribution-spec v1.1.1 §pulling-manifests. */
const TAG_PATTERN = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const REPOSITORY_PATTERN = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
/** Of the name of a repository with its registry, as clients limit it. */
const REPOSITORY_LENGTH_MAX = 255;

/** Whether a text could be a tag. */
export function isTag(text: string): boolean {
  return TAG_PATTERN.test(text);
}

/** Whether a text could be the name of a repository. */
export function isRepository(text: string): boolean {
  return text.length <= REPOSITORY_LENGTH_MAX && REPOSITORY_PATTERN.test(text);
}

/** @throws RegistryError `name-invalid` for anything but the one spelling of a name. */
export function parseRepository(text: string): string {
  if (!isRepository(text)) {
    throw new RegistryError(
      "name-invalid",
      `not a repository name: ${shown(text)}; expected lower-case letters, digits and single ` +
        "separators (. _ __ -) in parts divided by single slashes, 255 characters at most",
    );
  }
  return text;
}

/**
 * @throws RegistryError `manifest-unknown` for what no registry can have: the conformance suite of
 *   distribution-spec v1.1.1 asks for such a tag and wants a 404.
 */
export function parseTag(text: string): string {
  if (!isTag(text)) {
    throw new RegistryError(
      "manifest-unknown",
      `not a tag: ${shown(text)}; expected up to 128 of letters, digits, _ . - and no . or - first`,
    );
  }
  return text;
}

/**
 * A name as clients write it, with or without the registry in front: a first segment with a dot or a
 * colon, or `localhost`, is one (docker's own rule). Neither part has been checked.
 */
export function splitRegistry(name: string): {
  readonly registry: string | undefined;
  readonly rest: string;
} {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isHost = first.includes(".") || first.includes(":") || first === "localhost";
  return isHost
    ? { registry: first, rest: name.slice(slash + 1) }
    : { registry: undefined, rest: name };
}

/** Hostile text, quoted and cut for a message. */
export function shown(text: string): string {
  return `'${text.slice(0, 100).replace(/[^\x20-\x7e]/g, "?")}'`;
}
