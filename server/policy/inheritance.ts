import type { Digest } from "../../storage/digest.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import type { Decision } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { Inspection } from "../oci/strict-manifest.ts";
import { inspectManifest } from "../oci/strict-manifest.ts";
import type { CandidateSource } from "./candidates.ts";
import type { Edges } from "./edges.ts";
import type { Case, Finding } from "./finding.ts";
import { openFinding } from "./finding.ts";
import type { VerdictCache } from "./verdict-cache.ts";

export interface InheritanceOptions {
  readonly registry: CandidateSource;
  readonly edges: Edges;
  readonly verdicts: VerdictCache;
  /** Says of a parent what it says of any manifest. */
  readonly assess: (source: Source, manifest: Manifest, depth: number) => Promise<Decision>;
}

/** Reasons of an allow that a child inherits. What a rule permits, it permits of the child as well. */
const HEREDITARY: ReadonlySet<string> = new Set(["signed", "inherited", "exception"]);

/** What an index vouches for: the manifests that it names, in its repository, while it is allowed. */
export class Inheritance {
  readonly #options: InheritanceOptions;

  constructor(options: InheritanceOptions) {
    this.#options = options;
  }

  /** From an index that contains it and is allowed now; open when that cannot be said for now. */
  async find(source: Source, child: Digest, depth: number): Promise<Finding | undefined> {
    const { edges, verdicts, assess } = this.#options;
    const name = nameOf(source);
    let open: Finding | undefined;
    const parents = depth < POLICY_LIMITS.nestingMax ? await edges.parentsOf(name, child) : [];
    for (const digest of parents) {
      const found = await this.#parent(source, digest);
      if (found.manifest === undefined || !childrenOf(found.manifest).includes(child)) {
        open ??= found.finding;
        continue;
      }
      const decision = await assess(source, found.manifest, depth + 1);
      if (decision.verdict === "allow" && HEREDITARY.has(decision.reason)) {
        const { signers } = decision;
        const validUntilMs = verdicts.untilMs(name, found.manifest);
        return { verdict: "allow", reason: "inherited", parent: digest, signers, validUntilMs };
      }
      if (decision.verdict === "indeterminate") {
        open ??= openFinding(`the index ${digest} cannot be judged: ${decision.message}`);
      }
    }
    return open;
  }

  /** A parent that the registry no longer has vouches for nothing; one that cannot be read might. */
  async #parent(
    source: Source,
    digest: Digest,
  ): Promise<{ readonly manifest?: Manifest; readonly finding?: Finding }> {
    try {
      return await this.#options.registry.manifestByDigest(source, digest);
    } catch (error) {
      if (!(error instanceof RegistryError)) {
        throw error;
      }
      const isGone = error.code === "manifest-unknown" || error.code === "name-unknown";
      return isGone ? {} : { finding: openFinding(error.message) };
    }
  }

  /** An index that is allowed vouches for what it names; one that no longer is does not. */
  async note(about: Case, inspect: () => Inspection, decision: Decision): Promise<void> {
    const { edges, verdicts } = this.#options;
    if (about.rule.settings?.children !== "inherit" || decision.verdict === "indeterminate") {
      return;
    }
    const { children } = inspect();
    const digests = children.map(({ digest }) => digest);
    if (digests.length === 0) {
      return;
    }
    if (decision.verdict === "deny") {
      await edges.forget(about.name, about.digest, digests);
    } else if (HEREDITARY.has(decision.reason)) {
      await edges.put(about.name, about.digest, digests);
      verdicts.forgetDenials(about.name, children);
    }
  }
}

function childrenOf({ bytes, mediaType }: Manifest): readonly Digest[] {
  const { problem, children } = inspectManifest(bytes, mediaType);
  return problem === undefined ? children.map(({ digest }) => digest) : [];
}
