import { checkTagGlob } from "../glob.ts";
import type { PolicySettings, RuleSettings, TagSettings } from "../policy-settings.ts";
import type { UpstreamSettings } from "../settings.ts";
import type { Path } from "./nodes.ts";
import { readAttestation } from "./policy-attestations.ts";
import { AuthorityReader } from "./policy-authorities.ts";
import type { PolicyDraft, RuleDraft, TagsDraft } from "./policy-draft.ts";
import { readDeny, readExceptions } from "./policy-exceptions.ts";
import { PolicyFiles } from "./policy-files.ts";
import { RuleOrder, readMatches } from "./policy-matches.ts";
import type { ConfigScope } from "./scope.ts";

/** Decisions without a rule carry these. */
const RESERVED_NAMES = ["unmatched", "none"];

/** The policy section, with what its files hold; undefined when there is none. */
export function readPolicy(
  scope: ConfigScope,
  draft: PolicyDraft | undefined,
  upstreams: readonly UpstreamSettings[],
): PolicySettings | undefined {
  if (draft === undefined) {
    return undefined;
  }
  const authorities = new AuthorityReader(scope, new PolicyFiles(scope));
  const context = { scope, upstreams, authorities };
  return {
    unmatched: draft.unmatched ?? "allow",
    rules: readRules(context, draft.rules ?? []),
    exceptions: readExceptions(context, draft.exceptions ?? []),
    deny: readDeny(scope, authorities, draft.deny ?? []),
  };
}

interface RuleContext {
  readonly scope: ConfigScope;
  readonly upstreams: readonly UpstreamSettings[];
  readonly authorities: AuthorityReader;
}

function readRules(
  context: RuleContext,
  drafts: readonly (RuleDraft | undefined)[],
): readonly RuleSettings[] {
  const { scope } = context;
  const names = new Set<string>(RESERVED_NAMES);
  const order = new RuleOrder();
  return drafts.flatMap((draft, index) => {
    const path = ["policy", "rules", index];
    const rule = draft && readRule(context, path, draft);
    if (rule === undefined) {
      return [];
    }
    if (names.has(rule.name)) {
      const isReserved = RESERVED_NAMES.includes(rule.name);
      const expected = isReserved ? "another name: this one is for no rule" : "each name once";
      scope.mismatch([...path, "name"], expected);
    }
    names.add(rule.name);
    const earlier = order.shadows(rule.match)?.map((name) => JSON.stringify(name));
    if (earlier !== undefined) {
      const message = `found a rule that no image reaches, expected it before ${earlier.join(", ")}`;
      scope.problem([...path, "match"], `${message}, which matches all of it`, "key");
    }
    order.add(rule.name, rule.match);
    return rule;
  });
}

function readRule(context: RuleContext, path: Path, draft: RuleDraft): RuleSettings | undefined {
  const { scope, authorities } = context;
  const { name, mode = "enforce" } = draft;
  const mayBeOff = mode === "off" || (draft.mode === undefined && scope.has([...path, "mode"]));
  const match = readMatches(context, [...path, "match"], draft.match, { mayMatchAll: false });
  const tags = readTags(scope, [...path, "tags"], draft.tags);
  const signatures = authorities.several([...path, "signatures"], draft.signatures);
  const attestations = (draft.attestations ?? []).flatMap((one, index) => {
    const place = [...path, "attestations", index];
    return (one && readAttestation(context, place, one)) ?? [];
  });
  const asks = ["tags", "signatures", "attestations"].some((key) => scope.has([...path, key]));
  if (!asks && !mayBeOff) {
    const expected = "expected signatures, attestations or tags, or mode: off";
    scope.problem(path, `found a rule that asks for nothing, ${expected}`);
  }
  return name === undefined
    ? undefined
    : {
        name,
        match,
        mode,
        ...(tags && { tags }),
        ...(signatures && { signatures }),
        attestations,
        children: draft.children ?? "inherit",
        foreignLayers: draft.foreignLayers ?? "refuse",
      };
}

function readTags(
  scope: ConfigScope,
  path: Path,
  draft: TagsDraft | undefined,
): TagSettings | undefined {
  if (draft === undefined) {
    return undefined;
  }
  const { semver = false, digestOnly = false } = draft;
  const allow = draft.allow?.filter((glob, index): glob is string => {
    const place = [...path, "allow", index];
    const problem = glob === undefined ? undefined : checkTagGlob(glob);
    if (problem !== undefined) {
      scope.problem(place, `found ${scope.quote(place)}: ${problem}`);
    }
    return glob !== undefined;
  });
  const asksOfTags = semver || scope.has([...path, "allow"]);
  if (digestOnly && asksOfTags) {
    const message = "found digestOnly beside what tags must be, expected one of them";
    scope.problem([...path, "digestOnly"], message, "key");
  } else if (!digestOnly && !asksOfTags) {
    scope.problem(path, "found tags that allow all, expected allow, semver or digestOnly", "key");
  }
  return { ...(allow && { allow }), semver, digestOnly };
}
