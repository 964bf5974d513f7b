import type { Digest } from "../../storage/digest.ts";
import type { RepositoryName } from "../../storage/metadata-store.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import { SingleFlight } from "../cache/single-flight.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import type { Decision } from "../decision.ts";
import { RegistryError } from "../errors.ts";
import { POLICY_LIMITS } from "../limits.ts";
import { isListOfReferrers, isReferrersTag, isSignatureArtefact } from "../oci/artefacts.ts";
import type { Inspection } from "../oci/strict-manifest.ts";
import { inspectManifest } from "../oci/strict-manifest.ts";
import type { RuleSettings } from "../policy-settings.ts";
import { within } from "../within.ts";
import type { CandidateSource } from "./candidates.ts";
import type { Edges } from "./edges.ts";
import type { EvidenceJudge, Judged } from "./evidence-judge.ts";
import type { Case, Finding } from "./finding.ts";
import { decisionOf, excepted, findingOf, unasked } from "./finding.ts";
import { hasScans, refuseHidden } from "./hidden-scans.ts";
import { findAtOnce } from "./immediate-finding.ts";
import { hasInertLayers } from "./inert-layers.ts";
import { Inheritance } from "./inheritance.ts";
import type { Policy } from "./policy.ts";
import { tagProblem } from "./tag-rules.ts";
import type { VerdictCache } from "./verdict-cache.ts";
import { VerificationFailed } from "./verifier.ts";

export interface AssessorOptions {
  readonly policy: Policy;
  readonly trustRevision: string;
  /** Where parents and signatures are read from: nothing of it has been judged. */
  readonly registry: CandidateSource;
  readonly evidence: EvidenceJudge;
  readonly edges: Edges;
  readonly verdicts: VerdictCache;
  readonly now: () => number;
  /** A fault of ours kept an image from being judged. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Says of a manifest whether it may be served, and why: by one policy and one trust, for as long as
 * both are in force. One assessment for all who wait.
 */
export class Assessor {
  readonly policy: Policy;
  readonly #options: AssessorOptions;
  readonly #inheritance: Inheritance;
  readonly #flights = new SingleFlight<Decision>();
  /** Of denied manifests that were asked for by the tag of a list of referrers. */
  readonly #lists = new WeakMap<Manifest, boolean>();

  constructor(options: AssessorOptions) {
    const { registry, edges, verdicts } = options;
    this.policy = options.policy;
    this.#options = options;
    this.#inheritance = new Inheritance({
      registry,
      edges,
      verdicts,
      assess: (source, manifest, depth) => this.#assess(source, manifest, depth),
    });
  }

  /** What is known already, at once. */
  peek(source: Source, manifest: Manifest): Decision | undefined {
    return this.#options.verdicts.peek(source, manifest);
  }

  /** Never rejects: what goes wrong is a decision, too. What takes too long goes on by itself. */
  async assess(source: Source, manifest: Manifest): Promise<Decision> {
    const assessed = this.#assess(source, manifest, 0);
    const decision = await within(assessed, POLICY_LIMITS.assessTimeoutMs);
    if (decision !== undefined) {
      return decision;
    }
    const problem = `it takes longer than ${POLICY_LIMITS.assessTimeoutMs} ms`;
    const finding = { verdict: "indeterminate", reason: "timeout", problem } as const;
    return decisionOf(this.#caseOf(nameOf(source), manifest.digest), finding);
  }

  /** As `assess`, with what the rule says of tags. */
  async assessTag(source: Source, tag: string, manifest: Manifest): Promise<Decision> {
    const decision = this.peek(source, manifest) ?? (await this.assess(source, manifest));
    const { rule, ...about } = this.#caseOf(nameOf(source), manifest.digest);
    if (rule.mode === "off" || rule.settings === undefined || !mayChange(decision)) {
      return decision;
    }
    if (decision.verdict === "deny" && isReferrersTag(tag) && this.#listsReferrers(manifest)) {
      return decisionOf({ rule, ...about }, { verdict: "allow", reason: "artefact" });
    }
    const problem = tagProblem(rule.settings.tags, tag);
    return problem === undefined
      ? decision
      : decisionOf({ rule, ...about, tag }, { verdict: "deny", reason: "tag", problem });
  }

  /** The deny list's word on any digest, of a layer as well; undefined when it has none. */
  denied(name: RepositoryName, digest: Digest): Decision | undefined {
    const listed = this.policy.deniedDigest(digest);
    if (listed === undefined) {
      return;
    }
    const finding = { verdict: "deny", reason: "denied_digest", problem: listed.reason } as const;
    return decisionOf(this.#caseOf(name, digest), finding);
  }

  /** Whether blobs of the repository are looked into, in case one is a manifest. */
  looksInto(source: Source): boolean {
    return this.policy.hasDeniedSigners || this.policy.ruleFor(nameOf(source)).mode !== "off";
  }

  /** An index as `sha256-<hex>` tags name it: nobody runs it, and it vouches for nothing in it. */
  #listsReferrers(manifest: Manifest): boolean {
    const known =
      this.#lists.get(manifest) ??
      isListOfReferrers(inspectManifest(manifest.bytes, manifest.mediaType));
    this.#lists.set(manifest, known);
    return known;
  }

  async #assess(source: Source, manifest: Manifest, depth: number): Promise<Decision> {
    const known = this.peek(source, manifest);
    if (known !== undefined) {
      return known;
    }
    const key = `${nameOf(source)}@${manifest.digest} ${manifest.mediaType}`;
    return await this.#flights.run(key, () => this.#decide(source, manifest, depth));
  }

  async #decide(source: Source, manifest: Manifest, depth: number): Promise<Decision> {
    const about = this.#caseOf(nameOf(source), manifest.digest);
    const inspect = onceFor(manifest);
    let finding: Finding;
    try {
      const atOnce = findAtOnce(this.policy, about, manifest, inspect);
      finding =
        atOnce === undefined
          ? ((await this.#findArtefact(about, source, inspect)) ??
            (await this.#findSlowly(about, source, manifest, depth)))
          : ((await this.#findWorse(about, source, manifest, atOnce)) ?? atOnce);
    } catch (error) {
      finding = this.#fault(error);
    }
    const decision = decisionOf(about, finding);
    this.#options.verdicts.put(about.name, manifest, {
      decision,
      validUntilMs: finding.validUntilMs,
    });
    await this.#inheritance.note(about, inspect, decision);
    return decision;
  }

  /** A signature or an attestation itself: its media types say so, and its bytes do not deny it. */
  async #findArtefact(
    { rule }: Case,
    source: Source,
    inspect: () => Inspection,
  ): Promise<Finding | undefined> {
    const isArtefact =
      rule.mode !== "off" &&
      isSignatureArtefact(inspect()) &&
      (await hasInertLayers(this.#options.registry, source, inspect()));
    return isArtefact ? { verdict: "allow", reason: "artefact" } : undefined;
  }

  async #findSlowly(
    about: Case,
    source: Source,
    manifest: Manifest,
    depth: number,
  ): Promise<Finding> {
    const { name, digest, rule } = about;
    const exception =
      rule.mode === "off" ? undefined : this.policy.exceptionFor(name, digest, this.#options.now());
    const settings = rule.mode === "off" || exception !== undefined ? undefined : rule.settings;
    const inherited =
      settings?.children === "inherit"
        ? await this.#inheritance.find(source, digest, depth)
        : undefined;
    if (inherited?.verdict === "allow") {
      return (await this.#findDenied(source, manifest)) ?? inherited;
    }
    const judged = await this.#judge(source, manifest, settings);
    const finding = findingOf(refuseHidden(judged, settings), this.#mayBeWorse(settings));
    if (settings !== undefined || finding.reason === "denied_signer") {
      // An index that cannot be judged for now may vouch for it in a moment.
      return finding.verdict === "deny" && inherited !== undefined ? inherited : finding;
    }
    if (finding.verdict === "indeterminate") {
      return rule.mode === "off" ? { ...unasked(rule), validUntilMs: this.#soon() } : finding;
    }
    return exception === undefined ? unasked(rule) : excepted(exception);
  }

  /** What is refused at once, but served with a warning, is not served when a denied signer made it. */
  async #findWorse(
    { rule }: Case,
    source: Source,
    manifest: Manifest,
    { verdict, reason }: Finding,
  ): Promise<Finding | undefined> {
    const isServed = verdict === "deny" && reason !== "denied_digest" && rule.mode === "warn";
    const worse = isServed ? await this.#findDenied(source, manifest) : undefined;
    return worse?.reason === "denied_signer" ? worse : undefined;
  }

  /** What a signer on the deny list has signed, or may have: no other reason lets it pass. */
  async #findDenied(source: Source, manifest: Manifest): Promise<Finding | undefined> {
    if (!this.policy.hasDeniedSigners) {
      return;
    }
    const finding = findingOf(await this.#judge(source, manifest, undefined), true);
    return finding.verdict === "allow" ? undefined : finding;
  }

  async #judge(
    source: Source,
    { digest, mediaType, bytes }: Manifest,
    rule: RuleSettings | undefined,
  ): Promise<Judged> {
    const subject = { digest, mediaType, sizeBytes: bytes.byteLength };
    return await this.#options.evidence.judge(source, subject, rule);
  }

  /**
   * Whether what was not looked at may speak against an image: by a signer on the deny list, or as a
   * scan that is later than the one that was found.
   */
  #mayBeWorse(rule: RuleSettings | undefined): boolean {
    return this.policy.hasDeniedSigners || hasScans(rule);
  }

  /** What is said without having looked everywhere is said for a moment. */
  #soon(): number {
    return this.#options.now() + POLICY_LIMITS.denyMs;
  }

  #fault(error: unknown): Finding {
    if (error instanceof VerificationFailed && error.isTimeout) {
      return { verdict: "indeterminate", reason: "timeout", problem: error.message };
    }
    if (error instanceof RegistryError) {
      const reason = error.code === "overloaded" ? "failed" : "lookup_failed";
      return { verdict: "indeterminate", reason, problem: error.message };
    }
    this.#options.onFault(error);
    const problem = "something went wrong in the proxy; its log says what";
    return { verdict: "indeterminate", reason: "failed", problem };
  }

  #caseOf(name: RepositoryName, digest: Digest): Case {
    const { policy, trustRevision, now } = this.#options;
    const rule = policy.ruleFor(name);
    return { name, digest, rule, policyRevision: policy.revision, trustRevision, nowMs: now() };
  }
}

/** What a tag may change about it: not the deny list's word, nor what an exception lets pass. */
function mayChange({ reason }: Decision): boolean {
  return !["denied_digest", "denied_signer", "exception", "artefact"].includes(reason);
}

/** Reading a large one takes a tenth of a second. */
function onceFor({ bytes, mediaType }: Manifest): () => Inspection {
  let inspection: Inspection | undefined;
  return () => {
    inspection ??= inspectManifest(bytes, mediaType);
    return inspection;
  };
}
