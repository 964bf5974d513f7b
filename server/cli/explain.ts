import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import { openDisk } from "../../storage/disk.ts";
import type { EvidenceStore } from "../../storage/evidence-store.ts";
import { readParents } from "../../storage/sqlite-evidence.ts";
import { Cache } from "../cache/cache.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import { loadConfig, processEnvironment } from "../config/config.ts";
import type { Decision } from "../decision.ts";
import { isServed } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { routeTo } from "../http/routing.ts";
import type { Reference } from "../http/target.ts";
import { POLICY_LIMITS } from "../limits.ts";
import { Metrics } from "../metrics.ts";
import { explainLines } from "../policy/denial.ts";
import { PolicyEngine } from "../policy/engine.ts";
import { PolicyGate } from "../policy/gate.ts";
import { PolicyError } from "../policy/policy-error.ts";
import type { Settings } from "../settings.ts";
import { UpstreamSet } from "../upstream/upstream-set.ts";
import { parseImage } from "./image-reference.ts";

export interface ExplainOptions {
  readonly config?: string;
  readonly json?: true;
}

/** What is held while one image is looked at. */
const SCRATCH_BYTES_MAX = 268_435_456;
const NOTHING = (): void => undefined;

/**
 * Says of an image what the policy would, and why: which rule, which signatures, by whom. It asks
 * the registries itself, beside a proxy that may be running. Returns the exit code: 0 when the image
 * would be served, 1 when it would not.
 */
export async function explain(image: string, options: ExplainOptions): Promise<number> {
  const settings = loadConfig(options.config, processEnvironment());
  const scratch = await mkdtemp(join(tmpdir(), "sluice-explain-"));
  try {
    const decision = await decide(image, settings, scratch);
    const text = options.json
      ? `${JSON.stringify({ image, served: isServed(decision), ...decision }, undefined, 2)}\n`
      : explainLines(decision, image)
          .map((line) => `${line}\n`)
          .join("");
    process.stdout.write(text);
    return isServed(decision) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof RegistryError)) {
      throw error;
    }
    process.stderr.write(`sluice: ${error.message}\n`);
    return 1;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** @throws RegistryError when there is no such image, or the registry could not be asked. */
async function decide(image: string, settings: Settings, scratch: string): Promise<Decision> {
  const metrics = new Metrics();
  const { upstreams, defaultUpstream, credentials } = settings;
  const { version } = packageJson;
  const set = new UpstreamSet(upstreams, { defaultUpstream, credentials, metrics, version });
  const events = { evicted: NOTHING, corruption: NOTHING, failed: NOTHING };
  await using disk = await openDisk({
    path: scratch,
    maxBytes: SCRATCH_BYTES_MAX,
    verifyReads: "always",
    events,
  });
  const { blobs: store, metadata, evidence } = disk;
  await using cache = new Cache({ store, metadata, metrics, onStoreFailed: NOTHING });
  await using engine = new PolicyEngine({
    registry: cache,
    evidence,
    metrics,
    log: pino({ level: "error" }, process.stderr),
    dataPath: settings.storage.disk.path,
    now: Date.now,
    onRevision: NOTHING,
  });
  try {
    const { name, ns, reference } = parseImage(image);
    const source = routeTo({ kind: "manifest", name, ns }, set);
    (await engine.prepare(settings))();
    await takeParents(evidence, source, { reference, dataPath: settings.storage.disk.path });
    return await ask(new PolicyGate(cache, () => engine.assessor), source, reference);
  } finally {
    await set.destroy();
  }
}

/** A child is what its index is, and only the proxy itself can tell which index that was. */
async function takeParents(
  evidence: EvidenceStore,
  source: Source,
  { reference, dataPath }: { readonly reference: Reference; readonly dataPath: string },
): Promise<void> {
  const child = reference.digest;
  if (child === undefined) {
    return;
  }
  const repository = nameOf(source);
  const countMax = POLICY_LIMITS.parentsMax;
  const parents = readParents(dataPath, { repository, child, countMax });
  for (const parent of parents.toReversed()) {
    await evidence.putChildren(repository, parent, [child]);
  }
}

async function ask(gate: PolicyGate, source: Source, reference: Reference): Promise<Decision> {
  try {
    const { decision } =
      reference.tag === undefined
        ? await gate.manifestByDigest(source, reference.digest)
        : await gate.manifestByTag(source, reference.tag);
    if (decision === undefined) {
      throw new Error(`${nameOf(source)} came without a decision`);
    }
    return decision;
  } catch (error) {
    if (error instanceof PolicyError) {
      return error.decision;
    }
    throw error;
  }
}
