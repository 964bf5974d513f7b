import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { EvidenceStore } from "../../storage/evidence-store.ts";
import type { Metrics } from "../metrics.ts";
import type {
  AuthoritySettings,
  ExceptionSettings,
  RuleSettings,
  TrustSettings,
} from "../policy-settings.ts";
import type { Settings } from "../settings.ts";
import { Assessor } from "./assessor.ts";
import type { CandidateSource } from "./candidates.ts";
import { Edges } from "./edges.ts";
import { EvidenceJudge } from "./evidence-judge.ts";
import { Policy } from "./policy.ts";
import { bundledPublicGoodRoot } from "./trust/public-good-root.ts";
import type { TrustLog } from "./trust/trust-roots.ts";
import { TrustRoots } from "./trust/trust-roots.ts";
import { VerdictCache } from "./verdict-cache.ts";
import { Verifier } from "./verifier.ts";
import type { Program } from "./verify-protocol.ts";

export interface PolicyEngineOptions {
  readonly registry: CandidateSource;
  readonly evidence: EvidenceStore;
  readonly metrics: Metrics;
  readonly log: PolicyLog;
  /** The folder of all that is kept; what TUF brought is in a folder of its own there. */
  readonly dataPath: string;
  readonly now: () => number;
  /** Another policy or trust is in force. */
  readonly onRevision: (policyRevision: string) => void;
}

export interface PolicyLog extends TrustLog {
  error(details: object, message: string): void;
}

type PolicyParts = Pick<Settings, "policy" | "trust">;

/** Roots, and the settings that they are for. */
interface Trust {
  readonly settings: TrustSettings;
  readonly roots: TrustRoots;
}

const NO_TRUST = "none";

/**
 * The policy in force with all that it stands on: trusted roots, threads that verify, verdicts. A
 * new policy, or a new root, begins without any verdict; evidence stays.
 */
export class PolicyEngine implements AsyncDisposable {
  readonly #options: PolicyEngineOptions;
  readonly #verifier = new Verifier();
  readonly #edges: Edges;
  #trust: Trust | undefined;
  #settings: PolicyParts | undefined;
  #assessor: Assessor;

  /** Begins without a policy: `prepare` brings one. */
  constructor(options: PolicyEngineOptions) {
    this.#options = options;
    this.#edges = new Edges(options.evidence);
    this.#assessor = this.#assessorFor(new Policy(undefined), NO_TRUST);
    const exceptions = (): readonly ExceptionSettings[] =>
      this.#assessor.policy.settings?.exceptions ?? [];
    options.metrics.policy.watchExceptions(exceptions, options.now);
  }

  get assessor(): Assessor {
    return this.#assessor;
  }

  /** Why nothing can be verified that stands on the public-good root. */
  get trustProblem(): string | undefined {
    return this.#trust?.roots.problem;
  }

  /**
   * Makes other settings ready, without taking them yet: the function that it resolves with does,
   * at once and without fail.
   *
   * @throws when the policy cannot be compiled.
   */
  async prepare(settings: PolicyParts): Promise<() => void> {
    const policy = new Policy(settings.policy);
    const trust = this.#trustFor(policy, settings.trust);
    const revision = trust?.roots.revision ?? NO_TRUST;
    const problem = trust?.roots.problem;
    const program = programOf(policy, trust?.roots, revision);
    try {
      await (program && this.#verifier.load(program));
    } catch (error) {
      if (trust !== this.#trust) {
        await trust?.roots[Symbol.asyncDispose]();
      }
      throw error;
    }
    return () => {
      this.#settings = settings;
      if (program !== undefined) {
        this.#verifier.use(program);
      }
      this.#replaceTrust(trust);
      this.#assessor = this.#assessorFor(policy, revision, problem);
      this.#options.onRevision(policy.revision);
      if (trust !== undefined && trust.roots.revision !== revision) {
        this.#onTrustChanged();
      }
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#trust?.roots[Symbol.asyncDispose]();
    await this.#verifier[Symbol.asyncDispose]();
  }

  /** The roots in force when the settings are the same; undefined where nothing asks for them. */
  #trustFor(policy: Policy, settings: TrustSettings): Trust | undefined {
    if (!needsPublicGood(policy, policy.settings?.rules ?? [])) {
      return;
    }
    if (this.#trust !== undefined && isDeepStrictEqual(this.#trust.settings, settings)) {
      return this.#trust;
    }
    const { dataPath, log, metrics } = this.#options;
    const roots = TrustRoots.open({
      settings,
      folder: join(dataPath, "trust"),
      log,
      bundled: bundledPublicGoodRoot,
      onRefreshed: (outcome) => metrics.policy.trustRefreshed(outcome),
      onChanged: () => {
        if (this.#trust?.roots === roots) {
          this.#onTrustChanged();
        }
      },
    });
    return { settings, roots };
  }

  #replaceTrust(trust: Trust | undefined): void {
    const before = this.#trust;
    this.#trust = trust;
    if (before !== undefined && before !== trust) {
      before.roots[Symbol.asyncDispose]().catch((err: unknown) => {
        this.#options.log.error({ err }, "a refresh of the trusted root did not end");
      });
    }
  }

  #onTrustChanged(): void {
    this.#reloadTrust().catch((err: unknown) => {
      const message = "the new trusted root cannot be used: the one before stays in force";
      this.#options.log.error({ err }, message);
    });
  }

  /** The settings may change while their program is compiled: then it is done for the new ones. */
  async #reloadTrust(): Promise<void> {
    const settings = this.#settings;
    if (settings === undefined) {
      return;
    }
    const take = await this.prepare(settings);
    if (settings === this.#settings) {
      take();
    } else {
      await this.#reloadTrust();
    }
  }

  #assessorFor(policy: Policy, trustRevision: string, trustProblem?: string): Assessor {
    const { registry, evidence: store, metrics, now, log } = this.#options;
    const program = programId(policy.revision, trustRevision);
    return new Assessor({
      policy,
      trustRevision,
      registry,
      evidence: new EvidenceJudge({
        registry,
        store,
        verifier: this.#verifier,
        program,
        hasDeniedSigners: policy.hasDeniedSigners,
        problemOf: (rule) =>
          needsPublicGood(policy, rule === undefined ? [] : [rule]) ? trustProblem : undefined,
        metrics,
        now,
      }),
      edges: this.#edges,
      verdicts: new VerdictCache(now),
      now,
      onFault: (err) => log.error({ err }, "an image could not be judged"),
    });
  }
}

/** Undefined when there is nothing to verify: then no thread is started. */
function programOf(
  { revision: policyRevision, settings, deniedSigners: denied }: Policy,
  roots: TrustRoots | undefined,
  revision: string,
): Program | undefined {
  const { rules = [] } = settings ?? {};
  // Where a rule asks for nothing, denied signers are looked for all the same.
  const judged = rules.filter((rule) => denied.length > 0 || authoritiesOf(rule).length > 0);
  if (judged.length === 0 && denied.length === 0) {
    return;
  }
  const publicGood =
    roots?.problem === undefined ? { json: roots?.publicGood ?? "" } : { problem: roots.problem };
  return { id: programId(policyRevision, revision), rules: judged, denied, publicGood };
}

function programId(policyRevision: string, trustRevision: string): string {
  return `${policyRevision} ${trustRevision}`;
}

/** Whether a verdict by any of the rules stands on it: all do where the deny list does. */
function needsPublicGood({ deniedSigners }: Policy, rules: readonly RuleSettings[]): boolean {
  const denied = deniedSigners.map(({ signer }) => signer);
  return [...denied, ...rules.flatMap(authoritiesOf)].some(isPublicGood);
}

/** A key whose log is ignored needs no root. */
function isPublicGood(authority: AuthoritySettings): boolean {
  return (
    (authority.kind === "keyless" || (authority.kind === "key" && authority.log === "require")) &&
    authority.trustedRoot === "public-good"
  );
}

function authoritiesOf({ signatures, attestations }: RuleSettings): AuthoritySettings[] {
  return [...(signatures?.authorities ?? []), ...attestations.flatMap(({ by }) => by.authorities)];
}
