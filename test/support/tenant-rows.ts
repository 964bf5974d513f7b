import type { TenantImage, TenantRegistry } from "./tenant-registry.ts";
import { REPOSITORIES } from "./tenant-registry.ts";

/** One request that a tenant may think of. */
export interface Ask {
  /** `HEAD of its layer`. */
  readonly how: string;
  readonly repository: string;
  readonly path: string;
  readonly method: "GET" | "HEAD";
  readonly headers: Readonly<Record<string, string>>;
}

/** What came back of one. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** `a/gone` is a name that one may read and the registry does not have; `none/app` is nobody's. */
const ASKED: readonly string[] = [...REPOSITORIES, "a/gone", "none/app"];
const ABSENT = `sha256:${"0".repeat(64)}`;

/** Every way to ask, for each repository, for what is its own and for what is another's. */
export function everyAsk(registry: TenantRegistry): readonly Ask[] {
  return ASKED.flatMap((repository) => asksOf(registry, repository));
}

function asksOf({ images, common }: TenantRegistry, repository: string): readonly Ask[] {
  const theirs = images.get("a/app");
  const own = images.get(repository) ?? theirs;
  if (own === undefined || theirs === undefined) {
    throw new Error("there is no image of tenant a");
  }
  const ask = (how: string, path: string, given: Partial<Ask> = {}): Ask => ({
    how,
    repository,
    path: `/v2/${repository}/${path}`,
    method: "GET",
    headers: {},
    ...given,
  });
  return [
    ...ownAsks(own, ask),
    ask("a blob that all have", `blobs/${common}`),
    ask("HEAD of a blob that all have", `blobs/${common}`, { method: "HEAD" }),
    ask("a's layer", `blobs/${theirs.layer}`),
    ask("HEAD of a's layer", `blobs/${theirs.layer}`, { method: "HEAD" }),
    ask("a's layer, unless it is the same", `blobs/${theirs.layer}`, {
      headers: { "if-none-match": `"${theirs.layer}"` },
    }),
    ask("a's layer, unless there is any", `blobs/${theirs.layer}`, {
      headers: { "if-none-match": "*" },
    }),
    ask("past the end of a's layer", `blobs/${theirs.layer}`, {
      headers: { range: "bytes=1000-" },
    }),
    ask("a's image", `manifests/${theirs.image}`),
    ask("a's image, unless there is any", `manifests/${theirs.image}`, {
      headers: { "if-none-match": "*" },
    }),
    ask("a's index's child", `manifests/${theirs.child}`),
    ask("what refers to a's image", `referrers/${theirs.image}`),
    ask("a tag that is not there", "manifests/v2"),
    ask("a digest that nobody has", `manifests/${ABSENT}`),
    ask("a blob that nobody has", `blobs/${ABSENT}`),
  ];
}

function ownAsks(
  own: TenantImage,
  ask: (how: string, path: string, given?: Partial<Ask>) => Ask,
): readonly Ask[] {
  return [
    ask("its tag", "manifests/v1"),
    ask("HEAD of its tag", "manifests/v1", { method: "HEAD" }),
    ask("its tag, unless it is the same", "manifests/v1", {
      headers: { "if-none-match": `"${own.image}"` },
    }),
    ask("its digest", `manifests/${own.image}`),
    ask("its index", "manifests/multi"),
    ask("its index's child", `manifests/${own.child}`),
    ask("its layer", `blobs/${own.layer}`),
    ask("HEAD of its layer", `blobs/${own.layer}`, { method: "HEAD" }),
    ask("a part of its layer", `blobs/${own.layer}`, { headers: { range: "bytes=3-7" } }),
    ask("its layer, unless it is the same", `blobs/${own.layer}`, {
      headers: { "if-none-match": `"${own.layer}"` },
    }),
    ask("its tags", "tags/list"),
    ask("what refers to its image", `referrers/${own.image}`),
    ask("what refers to nothing", `referrers/${ABSENT}`),
  ];
}

export async function send(
  origin: string,
  ask: Pick<Ask, "path"> & Partial<Ask>,
  authorization?: string,
): Promise<Reply> {
  const headers = { ...ask.headers, ...(authorization === undefined ? {} : { authorization }) };
  const response = await fetch(origin + ask.path, { method: ask.method ?? "GET", headers });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** Headers that say something of what is held. */
const TELLING = ["docker-content-digest", "etag", "content-range", "accept-ranges", "link"];

/**
 * What is wrong with our answer, given what the registry itself answers to the same client: the
 * same bytes, the same absence, or a refusal that tells nothing. Undefined when it is right.
 */
export function problemOf(ask: Ask, theirs: Reply, ours: Reply): string | undefined {
  if (theirs.status === 401 || theirs.status === 403) {
    return problemOfRefusal(ours);
  }
  if (ours.status === 304) {
    const isAllowed = theirs.status === 200 && ask.headers["if-none-match"] !== undefined;
    return isAllowed ? undefined : `304, and the registry ${theirs.status}`;
  }
  if (theirs.status === 404 && isEmptyList(ours)) {
    return; // what refers to something unknown is nothing, and no error (distribution-spec v1.1.1)
  }
  if (ours.status !== theirs.status) {
    return `${ours.status}, and the registry ${theirs.status}`;
  }
  if (ours.status >= 400) {
    return;
  }
  const digest = theirs.headers.get("docker-content-digest");
  if (digest !== null && ours.headers.get("docker-content-digest") !== digest) {
    return "another digest";
  }
  return isSame(ask, theirs.body, ours.body) ? undefined : "another body";
}

function problemOfRefusal({ status, headers, body }: Reply): string | undefined {
  if (status !== 401 && status !== 403) {
    return `${status} in place of a refusal`;
  }
  const told = TELLING.filter((name) => headers.has(name));
  if (told.length > 0) {
    return `a refusal with ${told.join(", ")}`;
  }
  return /layer of|in every repository|schemaVersion/.test(body)
    ? "a refusal with content"
    : undefined;
}

function isEmptyList({ status, body }: Reply): boolean {
  return status === 200 && body.endsWith('"manifests":[]}');
}

/** Lists are written anew: only what is in them is compared. */
function isSame(ask: Ask, theirs: string, ours: string): boolean {
  const key = ["tags", "manifests"].find((_, at) =>
    ask.path.includes(["/tags/", "/referrers/"][at] ?? ""),
  );
  if (key === undefined || theirs === "" || ours === "") {
    return theirs === ours;
  }
  const listOf = (body: string): string =>
    JSON.stringify((JSON.parse(body) as Readonly<Record<string, unknown>>)[key]);
  return listOf(theirs) === listOf(ours);
}

/** What somebody who is refused gets to see, to be compared with what it is at another time. */
export function faceOf({ status, headers, body }: Reply): string {
  const shown = [...headers].filter(([name]) => name !== "date" && name !== "retry-after");
  return JSON.stringify([status, shown.toSorted(), body]);
}
