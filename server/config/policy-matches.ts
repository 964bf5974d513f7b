import { checkRepositoryGlob, compileGlob } from "../glob.ts";
import type { UpstreamSettings } from "../settings.ts";
import type { ListDraft } from "./draft.ts";
import { nearest } from "./nearest.ts";
import type { Path } from "./nodes.ts";
import type { ConfigScope } from "./scope.ts";

const DOCKER_HUB = "docker.io";
const ALL_PATTERN = /^[*/]+$/u;
/** Its official images are in a folder that clients leave out, and canonical names have. */
const HUB_PATTERN = /^docker\.io\/([^/]+)$/u;

/** What the globs over repositories are measured with. */
export interface MatchContext {
  readonly scope: ConfigScope;
  readonly upstreams: readonly UpstreamSettings[];
}

/** The globs at `path`, each of which can match an image, and none of which matches all. */
export function readMatches(
  { scope, upstreams }: MatchContext,
  path: Path,
  list: ListDraft | undefined,
  { mayMatchAll }: { readonly mayMatchAll: boolean },
): readonly string[] {
  return (list ?? []).filter((glob, index): glob is string => {
    if (glob !== undefined && !(mayMatchAll && ALL_PATTERN.test(glob))) {
      checkMatch(scope, [...path, index], { glob, upstreams });
    }
    return glob !== undefined;
  });
}

interface Match {
  readonly glob: string;
  readonly upstreams: readonly UpstreamSettings[];
}

function checkMatch(scope: ConfigScope, place: Path, { glob, upstreams }: Match): void {
  if (ALL_PATTERN.test(glob)) {
    const [first = DOCKER_HUB] = upstreams.map(({ name }) => name);
    scope.mismatch(place, `globs that each begin with a registry, such as ${first}/**`);
    return;
  }
  const official = HUB_PATTERN.exec(glob)?.[1];
  if (official !== undefined && !official.includes("**")) {
    scope.mismatch(place, `the canonical name, ${DOCKER_HUB}/library/${official}`);
    return;
  }
  const problem = checkRepositoryGlob(glob);
  if (problem !== undefined) {
    scope.problem(place, `found ${scope.quote(place)}: ${problem}`);
    return;
  }
  const [registry = ""] = glob.split("/");
  const matches = compileGlob(registry);
  if (!registry.includes("**") && !upstreams.some(({ name }) => matches(name))) {
    scope.mismatch(place, expectedRegistry(registry, glob, upstreams));
  }
}

function expectedRegistry(
  registry: string,
  glob: string,
  upstreams: readonly UpstreamSettings[],
): string {
  const owner = upstreams.find(({ aliases }) => aliases.includes(registry));
  if (owner !== undefined) {
    return `the upstream's own name, ${owner.name}${glob.slice(registry.length)}`;
  }
  const names = upstreams.map(({ name }) => name);
  const near = nearest(registry, names);
  const which = near === undefined ? names.join(", ") : `did you mean ${near}?`;
  return `a glob that begins with a configured upstream: ${which}`;
}

/** The globs of the rules so far: to find a rule that no image can reach. */
export class RuleOrder {
  readonly #owners = new Map<string, string>();

  /** The rules that match, between them, all that `globs` match; undefined when one is left over. */
  shadows(globs: readonly string[]): readonly string[] | undefined {
    const owners = globs.map((glob) => this.#ownerOf(glob));
    return owners.length > 0 && owners.every((owner) => owner !== undefined)
      ? [...new Set(owners)]
      : undefined;
  }

  add(rule: string, globs: readonly string[]): void {
    for (const glob of globs) {
      if (!this.#owners.has(glob)) {
        this.#owners.set(glob, rule);
      }
    }
  }

  /** Who has the same glob, or one that ends in `**` where this one goes on. */
  #ownerOf(glob: string): string | undefined {
    const prefixes = [...glob.matchAll(/\//gu)].map(({ index }) => `${glob.slice(0, index)}/**`);
    return [glob, ...prefixes].map((one) => this.#owners.get(one)).find((one) => one !== undefined);
  }
}
