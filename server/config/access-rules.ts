import { ACCESS_LIMITS } from "../limits.ts";
import type { AccessRuleSettings } from "../settings.ts";
import type { ClientsDraft, ListDraft } from "./draft.ts";
import { nearest } from "./nearest.ts";
import type { Path } from "./nodes.ts";
import type { MatchContext } from "./policy-matches.ts";
import { readMatches } from "./policy-matches.ts";
import type { ConfigScope } from "./scope.ts";

const EVERYTHING = "**";
const ONLY_WILDCARDS = /^[*/]+$/u;
const EXPECTED = "user:NAME, group:NAME, anonymous or *";
const SHOWN_PATTERN = /^[!-~]{1,60}$/u;
const KINDS = ["user", "group"];

/** Who may pull what; undefined when the file leaves it open to all that are let in. */
export function readAccessRules(
  context: MatchContext,
  { rules, anonymous }: ClientsDraft,
): readonly AccessRuleSettings[] | undefined {
  const names = { scope: context.scope, isAnonymousKnown: anonymous === true };
  return rules?.flatMap((draft, index) => {
    const path = ["clients", "rules", index];
    if (draft === undefined) {
      return [];
    }
    return { who: readWho(names, path, draft.who), pull: readPull(context, path, draft.pull) };
  });
}

interface Names {
  readonly scope: ConfigScope;
  readonly isAnonymousKnown: boolean;
}

function readWho(names: Names, path: Path, list: ListDraft | undefined): readonly string[] {
  return presentOf(list, (who, index) => {
    const place = [...path, "who", index];
    const expected = refuseWho(names, place, who);
    if (expected !== undefined) {
      names.scope.mismatch(place, expected);
    }
  });
}

function readPull(
  context: MatchContext,
  path: Path,
  list: ListDraft | undefined,
): readonly string[] {
  const globs = readMatches(context, [...path, "pull"], list, { mayMatchAll: true });
  presentOf(list, (glob, index) => {
    if (ONLY_WILDCARDS.test(glob) && glob !== EVERYTHING) {
      const expected = `${EVERYTHING} for everything, or globs that each begin with a registry`;
      context.scope.mismatch([...path, "pull", index], expected);
    }
  });
  return globs;
}

function presentOf(
  list: ListDraft | undefined,
  check: (text: string, index: number) => void,
): readonly string[] {
  return (list ?? []).filter((text, index): text is string => {
    if (text !== undefined) {
      check(text, index);
    }
    return text !== undefined;
  });
}

/** What is expected of one of `who` instead of what it is; undefined when it will do. */
function refuseWho(
  { scope, isAnonymousKnown }: Names,
  place: Path,
  text: string,
): string | undefined {
  if (text === "anonymous" && !isAnonymousKnown) {
    return "clients.anonymous: true for that: without it nobody is anonymous";
  }
  if (text === "*" || text === "anonymous") {
    return undefined;
  }
  const [, kind = "", name = ""] = /^([A-Za-z]*):(.*)$/su.exec(text) ?? [];
  if (!KINDS.includes(kind)) {
    // What a variable stands for is not repeated, nor what would not fit a line.
    const isShown = scope.written(place) === text && SHOWN_PATTERN.test(text);
    const hint = isShown ? `: did you mean ${meantBy(text)}?` : "";
    return `${EXPECTED}${hint}`;
  }
  return refuseName(name);
}

function meantBy(text: string): string {
  if (ONLY_WILDCARDS.test(text)) {
    return "*";
  }
  const [, kind = "", name = ""] = /^([A-Za-z]*):(.*)$/su.exec(text) ?? [];
  const near = nearest(kind, KINDS);
  return near === undefined ? (nearest(text, ["anonymous"]) ?? `user:${text}`) : `${near}:${name}`;
}

function refuseName(name: string): string | undefined {
  if (name.trim() !== name || name === "" || /\p{Cc}/u.test(name)) {
    return "a name behind the colon, without spaces around it";
  }
  if (name.length > ACCESS_LIMITS.nameCharactersMax) {
    return `a name of at most ${ACCESS_LIMITS.nameCharactersMax} characters`;
  }
  return name.includes("***") ? "a name in which a wildcard is * or **" : undefined;
}
