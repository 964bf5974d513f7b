import type { Static } from "typebox";
import Type from "typebox";
import { Check } from "typebox/value";
import type { Digest } from "../../storage/digest.ts";
import { isDigest } from "../../storage/digest.ts";
import type { PurgeTarget } from "../../storage/purge.ts";
import { checkRepositoryGlob, checkTagGlob, compileGlob } from "../glob.ts";
import { PURGE_LIMITS } from "../limits.ts";
import { shown, splitRegistry } from "../oci/reference.ts";
import type { Settings } from "../settings.ts";

const Body = Type.Object(
  {
    image: Type.Optional(Type.String({ minLength: 1, maxLength: PURGE_LIMITS.imageCharactersMax })),
    upstream: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    olderThanSeconds: Type.Optional(
      Type.Integer({ minimum: 1, maximum: PURGE_LIMITS.ageSecondsMax }),
    ),
    dryRun: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

/** What POST /api/v1/purge takes. One of image and upstream, or an age, or an age with one of them. */
export interface PurgeRequest {
  /** A repository, `repository:tag` or `repository@digest`; `*` and `**` in the first two. */
  readonly image?: string;
  /** A registry: all that is held of it. */
  readonly upstream?: string;
  /** Only what was not used for so long. */
  readonly olderThanSeconds?: number;
  readonly dryRun?: boolean;
}

/** A purge that cannot be meant. The message is a sentence for whoever asked for it. */
export class PurgeProblem extends Error {
  override readonly name = "PurgeProblem";
  readonly code = "purge-invalid";
}

/** @throws PurgeProblem */
export function parsePurge(body: unknown): PurgeRequest {
  if (!Check(Body, body)) {
    throw new PurgeProblem(
      'send a JSON object such as {"image": "team.example/app:v1"}: with image or upstream (texts), ' +
        "olderThanSeconds (a whole number from 1 on), dryRun (true or false), and nothing else",
    );
  }
  const { image, upstream, olderThanSeconds }: Static<typeof Body> = body;
  if (image !== undefined && upstream !== undefined) {
    throw new PurgeProblem("name an image or an upstream, not both");
  }
  if (image === undefined && upstream === undefined && olderThanSeconds === undefined) {
    throw new PurgeProblem(
      "say what is to go: an image, an upstream, or what is older than an age",
    );
  }
  return body;
}

type Names = Pick<Settings, "upstreams" | "defaultUpstream">;

/** @throws PurgeProblem when the name can be none. What is not configured any longer may be purged. */
export function targetOf(request: PurgeRequest, names: Names, nowMs: number): PurgeTarget {
  const { image, upstream, olderThanSeconds } = request;
  const usedBeforeMs = olderThanSeconds === undefined ? undefined : nowMs - olderThanSeconds * 1000;
  const age = usedBeforeMs === undefined ? {} : { usedBeforeMs };
  if (upstream !== undefined) {
    const prefix = `${registryName(upstream, names)}/`;
    return { matches: (repository) => repository.startsWith(prefix), ...age };
  }
  if (image === undefined) {
    return { matches: () => true, withNameless: true, ...age };
  }
  const { repository, tag, digest } = split(image);
  if (usedBeforeMs !== undefined && (tag !== undefined || digest !== undefined)) {
    throw new PurgeProblem("an age is asked of repositories: leave out the tag or the digest");
  }
  if (/^[*/]+$/.test(repository)) {
    throw new PurgeProblem(
      `${shown(image)} would be everything: name a registry, as in team.example/**`,
    );
  }
  const glob = canonical(repository, names);
  const problem = checkRepositoryGlob(glob) ?? (tag === undefined ? undefined : checkTagGlob(tag));
  if (problem !== undefined) {
    throw new PurgeProblem(`${shown(image)} can be no image: ${problem}`);
  }
  return {
    matches: compileGlob(glob),
    ...(tag !== undefined && { tags: compileGlob(tag) }),
    ...(digest !== undefined && { digest }),
    ...age,
  };
}

interface Split {
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

function split(image: string): Split {
  const at = image.indexOf("@");
  const named = at < 0 ? image : image.slice(0, at);
  const digest = at < 0 ? undefined : image.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) {
    throw new PurgeProblem(
      `${shown(digest)} is no digest: expected sha256: and 64 lower-case hexadecimal digits`,
    );
  }
  const colon = named.lastIndexOf(":");
  if (colon <= named.lastIndexOf("/")) {
    return { repository: named, tag: undefined, digest };
  }
  if (digest !== undefined) {
    throw new PurgeProblem("name a tag or a digest, not both");
  }
  return { repository: named.slice(0, colon), tag: named.slice(colon + 1), digest };
}

/** As what is held is named: the upstream's own name first, Docker Hub's official images in theirs. */
function canonical(name: string, names: Names): string {
  const first = name.split("/")[0] ?? "";
  const isGlob = first.includes("*") && name.includes("/");
  const { registry, rest } = isGlob
    ? { registry: first, rest: name.slice(first.length + 1) }
    : splitRegistry(name);
  if (registry === undefined && names.defaultUpstream === undefined) {
    throw new PurgeProblem(
      `${shown(name)} names no registry and there is no defaultUpstream: put the registry's name first`,
    );
  }
  const upstream = registry === undefined ? names.defaultUpstream : known(registry, names);
  const isOfficial = upstream === "docker.io" && !rest.includes("/") && !rest.includes("**");
  return `${upstream}/${isOfficial ? "library/" : ""}${rest}`;
}

function registryName(text: string, names: Names): string {
  if (!/^[a-z0-9.:[\]-]+$/.test(text)) {
    throw new PurgeProblem(`${shown(text)} is no registry's name, such as team.example:5000`);
  }
  return known(text, names);
}

function known(registry: string, { upstreams }: Names): string {
  const found = upstreams.find(
    ({ name, aliases }) => name === registry || aliases.includes(registry),
  );
  return found?.name ?? registry;
}
