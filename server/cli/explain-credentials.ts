import { loadConfig, processEnvironment } from "../config/config.ts";
import type { CredentialSource, FoundCredential } from "../credentials/credential.ts";
import { CredentialError } from "../credentials/credential.ts";
import { sharedSources, sourcesFor } from "../credentials/sources.ts";
import { RegistryError } from "../errors.ts";
import { routeTo } from "../http/routing.ts";
import { Metrics } from "../metrics.ts";
import type { Settings } from "../settings.ts";
import { UpstreamSet } from "../upstream/upstream-set.ts";
import { parseImage } from "./image-reference.ts";

export interface ExplainCredentialsOptions {
  readonly config?: string;
  readonly json?: true;
}

/** One place that was looked into, without anything secret. */
interface Looked {
  readonly source: string;
  readonly logIns: readonly {
    readonly from: string;
    readonly kind: string;
    readonly user?: string;
  }[];
  /** Why it could not be looked into. */
  readonly problem?: string;
}

interface Explanation {
  readonly image: string;
  readonly upstream: string;
  readonly repository: string;
  readonly access: "shared" | "per-client";
  /** In the order in which they are asked. */
  readonly sources: readonly Looked[];
  /** What the first request would be sent with; null is nobody. */
  readonly used: string | null;
}

/**
 * Says of an image which of the configured log-ins its registry would be asked with: it looks into
 * all places that the proxy would, helpers and plugins included, and asks no registry. Returns the
 * exit code: 1 when a place could not be looked into.
 */
export async function explainCredentials(
  image: string,
  options: ExplainCredentialsOptions,
): Promise<number> {
  const settings = loadConfig(options.config, processEnvironment());
  try {
    const explanation = await explanationOf(image, settings);
    const text = options.json
      ? JSON.stringify(explanation, undefined, 2)
      : linesOf(explanation).join("\n");
    process.stdout.write(`${text}\n`);
    return explanation.sources.some(({ problem }) => problem !== undefined) ? 1 : 0;
  } catch (error) {
    if (!(error instanceof RegistryError)) {
      throw error;
    }
    process.stderr.write(`sluice: ${error.message}\n`);
    return 1;
  }
}

async function explanationOf(image: string, settings: Settings): Promise<Explanation> {
  const { upstreams, defaultUpstream, credentials } = settings;
  const set = new UpstreamSet(upstreams, {
    defaultUpstream,
    credentials: {},
    metrics: new Metrics(),
    version: "0",
  });
  const { name, ns } = parseImage(image);
  const { upstream, repository } = routeTo({ kind: "manifest", name, ns }, set);
  const configured = upstreams.find((one) => one.name === upstream.name);
  const places = configured ? sourcesFor(configured, sharedSources(credentials)) : [];
  const sources: Looked[] = [];
  for (const place of places) {
    sources.push(await lookInto(place, upstream.name, repository));
  }
  const isBroken = sources.findIndex(({ problem }) => problem !== undefined);
  const first = sources.findIndex(({ logIns }) => logIns.length > 0);
  const isReached = first >= 0 && (isBroken < 0 || first < isBroken);
  return {
    image,
    upstream: upstream.name,
    repository,
    access: upstream.access,
    sources,
    used: isReached ? (sources[first]?.logIns[0]?.from ?? null) : null,
  };
}

async function lookInto(
  place: CredentialSource,
  registry: string,
  repository: string,
): Promise<Looked> {
  const source = place.description;
  try {
    const found = await place.find({ registry, repository });
    return { source, logIns: found.map(shown) };
  } catch (error) {
    const isOurs = error instanceof CredentialError || (error instanceof Error && "code" in error);
    if (!isOurs) {
      throw error;
    }
    return { source, logIns: [], problem: error.message };
  }
}

function shown({ credential, from }: FoundCredential): Looked["logIns"][number] {
  const { kind } = credential;
  return kind === "registry" ? { from, kind } : { from, kind, user: credential.username };
}

const KINDS: Readonly<Record<string, string>> = {
  basic: "user and password",
  identity: "identity token",
  registry: "registry token",
};

function linesOf({ upstream, repository, access, sources, used }: Explanation): string[] {
  const lines = [`${upstream}/${repository}`];
  for (const { source, logIns, problem } of sources) {
    if (problem !== undefined) {
      lines.push(`  ${source}: cannot be looked into: ${problem}`);
    } else if (logIns.length === 0) {
      lines.push(`  ${source}: nothing for this image`);
    }
    for (const { from, kind, user } of logIns) {
      const whose = user === undefined ? "" : `, user ${JSON.stringify(user)}`;
      lines.push(`  ${from}: ${KINDS[kind]}${whose}`);
    }
  }
  if (sources.length === 0) {
    lines.push("  nothing is configured: neither an auth of its own nor credentials");
  }
  lines.push(verdictOf(upstream, used, sources));
  if (access === "per-client") {
    lines.push(
      `access is per-client: whoever pulls must show a log-in that ${upstream} lets read it; ` +
        "where none of ours is found, that one is used",
    );
  }
  return lines;
}

function verdictOf(upstream: string, used: string | null, sources: readonly Looked[]): string {
  if (used !== null) {
    return `used: ${used}; the next ones are tried when ${upstream} refuses it`;
  }
  return sources.some(({ problem }) => problem !== undefined)
    ? "used: none, since a place that comes first cannot be looked into: pulls are answered 503"
    : `used: none: ${upstream} is asked as nobody, which is enough for public images`;
}
