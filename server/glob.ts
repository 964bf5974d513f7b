import { isRepository, isTag } from "./oci/reference.ts";

const STAR = -1;
const DOUBLE_STAR = -2;
const SLASH = 0x2f;

/**
 * A test of whole texts: `*` stands for any number of characters but `/`, `**` for any number of
 * any; all others stand for themselves. In time proportional to the text, whatever the text is.
 */
export function compileGlob(glob: string): (text: string) => boolean {
  const tokens = tokensOf(glob);
  const first = tokens.findIndex((token) => token < 0);
  if (first < 0) {
    return (text) => text === glob;
  }
  const prefix = glob.slice(0, first);
  return (text) => text.startsWith(prefix) && fits(tokens, text, first);
}

/** One number for each position of the glob: a UTF-16 code unit, or a wildcard below zero. */
function tokensOf(glob: string): Int32Array {
  const tokens: number[] = [];
  for (const [part] of glob.matchAll(/\*+|[^*]/gu)) {
    if (part.startsWith("*")) {
      tokens.push(part === "*" ? STAR : DOUBLE_STAR);
    } else {
      tokens.push(...part.split("").map((unit) => unit.charCodeAt(0)));
    }
  }
  return Int32Array.from(tokens);
}

/** All positions of the glob that the text so far may have come to: no backtracking. */
class Positions {
  readonly #tokens: Int32Array;
  readonly #list: Int32Array;
  readonly #isListed: Uint8Array;
  size = 0;

  constructor(tokens: Int32Array) {
    this.#tokens = tokens;
    this.#list = new Int32Array(tokens.length + 1);
    this.#isListed = new Uint8Array(tokens.length + 1);
  }

  /** With those behind it, as far as wildcards that stand for nothing reach. */
  add(position: number): void {
    for (let at = position; this.#isListed[at] === 0; at += 1) {
      this.#isListed[at] = 1;
      this.#list[this.size] = at;
      this.size += 1;
      if ((this.#tokens[at] ?? 0) >= 0) {
        return;
      }
    }
  }

  clear(): void {
    for (let index = 0; index < this.size; index += 1) {
      this.#isListed[this.#list[index] ?? 0] = 0;
    }
    this.size = 0;
  }

  /** Where `this` comes to by one more code unit of the text. */
  step(unit: number, next: Positions): void {
    next.clear();
    for (let index = 0; index < this.size; index += 1) {
      const position = this.#list[index] ?? 0;
      const token = this.#tokens[position];
      if (token === unit) {
        next.add(position + 1);
      } else if (token === DOUBLE_STAR || (token === STAR && unit !== SLASH)) {
        next.add(position);
      }
    }
  }

  get isAtEnd(): boolean {
    return this.#isListed[this.#tokens.length] === 1;
  }
}

/** From `start` on, which is the same place in the text and in the glob. */
function fits(tokens: Int32Array, text: string, start: number): boolean {
  let here = new Positions(tokens);
  let next = new Positions(tokens);
  here.add(start);
  for (let at = start; at < text.length && here.size > 0; at += 1) {
    here.step(text.charCodeAt(at), next);
    [here, next] = [next, here];
  }
  return here.isAtEnd;
}

/** Checks in the order in which they help: the first that fits a glob is what to say of it. */
type Complaint = readonly [(glob: string) => boolean, string];

/** Longer than any name that it could match. */
const GLOB_LENGTH_MAX = 512;
const HAS_NAME = /[a-z0-9]/i;

const REPOSITORY_COMPLAINTS: readonly Complaint[] = [
  [(glob) => glob === "", "it is empty"],
  [(glob) => glob.length > GLOB_LENGTH_MAX, `it is longer than ${GLOB_LENGTH_MAX} characters`],
  [(glob) => /\s/u.test(glob), "it has a space in it"],
  [(glob) => glob.includes("://"), "a repository is named without https://"],
  [(glob) => glob.includes("@"), "a digest is no part of a repository's name"],
  [(glob) => /[?[\]{}!\\]/.test(glob), "only * and ** are wildcards"],
  [(glob) => /[A-Z]/.test(glob), "repositories are lower-case: it could never match"],
  [(glob) => glob.includes("***"), "a wildcard is * or **"],
  [(glob) => glob.startsWith("/"), "it begins with a slash: it could never match"],
  [(glob) => glob.endsWith("/"), "it ends with a slash: it could never match; add * or **"],
  [(glob) => glob.includes("//"), "it has an empty part between slashes: it could never match"],
  [(glob) => !HAS_NAME.test(glob), "it names nothing: it would match every repository"],
  [
    (glob) => !glob.includes("/"),
    "it has no slash: expected registry/repository, as team.example/**",
  ],
  [(glob) => /\/[^/]*:/.test(glob), "a tag is no part of a repository's name"],
  [(glob) => /[^a-z0-9._*/:-]/.test(glob), "it has a character that no repository has"],
  [
    (glob) => /^docker\.io\/[^/]+$/.test(glob) && !glob.includes("**"),
    "Docker Hub's official images are docker.io/library/NAME: it could never match",
  ],
  [
    hasImpossiblePart,
    "a part between its slashes is no registry or repository: it could never match",
  ],
];

/**
 * Why a glob over canonical `upstream/repository` names cannot be what was meant, as a sentence
 * about "it"; undefined when it can.
 */
export function checkRepositoryGlob(glob: string): string | undefined {
  return firstOf(REPOSITORY_COMPLAINTS, glob);
}

function hasImpossiblePart(glob: string): boolean {
  const [registry = "", ...parts] = glob.split("/");
  const isOddRegistry = !registry.includes("*") && !/^[a-z0-9.-]+(?::[0-9]+)?$/.test(registry);
  return isOddRegistry || parts.some((part) => !part.includes("*") && !isRepository(part));
}

/** Where anyone may have a name of his own: a wildcard there lets in whoever registers one. */
const SHARED_HOSTS = /^https:\/\/(?:github\.com|gitlab\.com)\//;
/** `https://github.com/acme/…`: an owner in full. */
const SHARED_OWNER = /^https:\/\/[^/]+\/[^/*]+\//;

const SUBJECT_COMPLAINTS: readonly Complaint[] = [
  [(glob) => glob === "", "it is empty"],
  [(glob) => glob.length > GLOB_LENGTH_MAX, `it is longer than ${GLOB_LENGTH_MAX} characters`],
  [(glob) => /\s/u.test(glob), "it has a space in it"],
  [(glob) => !HAS_NAME.test(glob), "it would match everyone"],
  [(glob) => glob.includes("***"), "a wildcard is * or **"],
  [(glob) => glob.startsWith("*"), "it begins with a wildcard: it would match strangers"],
  [
    (glob) => !hasLiteralHost(glob),
    "it has no host in full: a wildcard there would match strangers",
  ],
  [
    (glob) => SHARED_HOSTS.test(glob) && !SHARED_OWNER.test(glob),
    "it has no owner in full, as https://github.com/acme/**: it would match strangers",
  ],
];

/** The same for globs over the identities of certificates: URIs and e-mail addresses. */
export function checkSubjectGlob(glob: string): string | undefined {
  return firstOf(SUBJECT_COMPLAINTS, glob);
}

/** `scheme://host` or `local@host`, neither with a wildcard where the host is. */
function hasLiteralHost(glob: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\/[^/*]+(?:\/|$)/i.test(glob) || /^[^@/]+@[^@*/]+$/.test(glob);
}

const TAG_COMPLAINTS: readonly Complaint[] = [
  [(glob) => glob === "", "it is empty"],
  [(glob) => /^\*+$/.test(glob), "it would match every tag: leave it out"],
  [(glob) => glob.includes("***"), "a wildcard is * or **"],
  [(glob) => !isTag(glob.replaceAll("*", "_")), "it could never match a tag"],
];

/** The same for globs over tags. */
export function checkTagGlob(glob: string): string | undefined {
  return firstOf(TAG_COMPLAINTS, glob);
}

function firstOf(complaints: readonly Complaint[], glob: string): string | undefined {
  return complaints.find(([fits]) => fits(glob))?.[1];
}
