import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { digestOf } from "../../storage/digest.ts";
import { compileGlob } from "../glob.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type {
  DenySettings,
  ExceptionSettings,
  PolicyMode,
  PolicySettings,
  RuleSettings,
} from "../policy-settings.ts";

/** What a policy has to say about a repository. */
export interface MatchedRule {
  /** The rule's; `unmatched` when no rule names the repository, `none` without a policy. */
  readonly name: string;
  readonly mode: PolicyMode;
  readonly settings: RuleSettings | undefined;
}

const NO_POLICY: MatchedRule = { name: "none", mode: "off", settings: undefined };
const UNMATCHED_MODES: Readonly<Record<PolicySettings["unmatched"], PolicyMode>> = {
  allow: "off",
  warn: "warn",
  deny: "enforce",
};
const REVISION_LENGTH = 12;

interface Compiled<T> {
  readonly entry: T;
  readonly fits: (name: string) => boolean;
}

/** What is configured, ready to be asked at every pull. Names are canonical `upstream/repository`. */
export class Policy {
  readonly settings: PolicySettings | undefined;
  /** `none` without a policy, else 12 hex digits of SHA-256 over its settings in canonical JSON. */
  readonly revision: string;
  /** Those whose signature is a reason to refuse. */
  readonly deniedSigners: readonly Extract<DenySettings, { readonly signer: unknown }>[];
  readonly #rules: readonly Compiled<MatchedRule>[];
  readonly #unmatched: MatchedRule;
  readonly #exceptions: readonly Compiled<ExceptionSettings>[];
  readonly #deniedDigests: ReadonlyMap<string, { readonly reason: string }>;
  readonly #matches = new LRUCache<string, MatchedRule>({ max: POLICY_LIMITS.matchesMax });

  constructor(settings: PolicySettings | undefined) {
    const { rules = [], exceptions = [], deny = [] } = settings ?? {};
    this.settings = settings;
    this.revision = revisionOf(settings);
    this.deniedSigners = deny.flatMap((entry) => ("signer" in entry ? [entry] : []));
    this.#rules = rules.map((rule) => ({
      entry: { name: rule.name, mode: rule.mode, settings: rule },
      fits: anyOf(rule.match),
    }));
    this.#unmatched =
      settings === undefined
        ? NO_POLICY
        : { name: "unmatched", mode: UNMATCHED_MODES[settings.unmatched], settings: undefined };
    this.#exceptions = exceptions.map((entry) => ({ entry, fits: anyOf(entry.match) }));
    this.#deniedDigests = new Map(
      deny.flatMap((entry) =>
        "digest" in entry ? [[entry.digest, { reason: entry.reason }] as const] : [],
      ),
    );
  }

  /** Whether a signature can be a reason to refuse. */
  get hasDeniedSigners(): boolean {
    return this.deniedSigners.length > 0;
  }

  /** The first rule that names the repository. */
  ruleFor(name: string): MatchedRule {
    const known = this.#matches.get(name);
    if (known !== undefined) {
      return known;
    }
    const found = this.#rules.find(({ fits }) => fits(name))?.entry ?? this.#unmatched;
    this.#matches.set(name, found);
    return found;
  }

  /** Beats everything else that this policy says. */
  deniedDigest(digest: string): { readonly reason: string } | undefined {
    return this.#deniedDigests.get(digest);
  }

  /** As `deniedDigest`, whichever algorithm the list has the bytes by: they are served by both. */
  deniedBytes(bytes: Uint8Array): { readonly reason: string } | undefined {
    if (this.#deniedDigests.size === 0) {
      return;
    }
    return (
      this.deniedDigest(digestOf(bytes, "sha256")) ?? this.deniedDigest(digestOf(bytes, "sha512"))
    );
  }

  /** The first exception that lets this manifest of the repository pass now. */
  exceptionFor(name: string, digest: string, nowMs: number): ExceptionSettings | undefined {
    return this.#exceptions.find(
      ({ entry, fits }) =>
        isActive(entry, nowMs) &&
        (entry.digest === undefined || entry.digest === digest) &&
        fits(name),
    )?.entry;
  }
}

function isActive({ untilMs }: ExceptionSettings, nowMs: number): boolean {
  return nowMs < untilMs;
}

function anyOf(globs: readonly string[]): (name: string) => boolean {
  const tests = globs.map(compileGlob);
  return (name) => tests.some((fits) => fits(name));
}

function revisionOf(settings: PolicySettings | undefined): string {
  if (settings === undefined) {
    return "none";
  }
  const canonical = JSON.stringify(settings, withSortedKeys);
  return createHash("sha256").update(canonical).digest("hex").slice(0, REVISION_LENGTH);
}

/** For JSON.stringify: the same settings are the same text, in whatever order they were built. */
function withSortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return value;
  }
  const entries = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(entries);
}
