import type { Static, TUnsafe } from "typebox";
import Type from "typebox";
import { checkTagGlob } from "../glob.ts";
import { CONFIG_LIMITS, PURGE_LIMITS } from "../limits.ts";
import type { RetentionSettings } from "../settings.ts";
import type { ListDraft, RetentionDraft } from "./draft.ts";
import type { Path } from "./nodes.ts";
import type { MatchContext } from "./policy-matches.ts";
import { readMatches } from "./policy-matches.ts";
import type { ConfigScope } from "./scope.ts";

const closed = { additionalProperties: false } as const;
const EVERYTHING = "**";
const ONLY_WILDCARDS = /^[*/]+$/u;

const Text = Type.String({ minLength: 1 });
const Entry = Type.Object(
  {
    match: Type.Array(Text, {
      minItems: 1,
      maxItems: CONFIG_LIMITS.matchesMax,
      title: `a list of 1 to ${CONFIG_LIMITS.matchesMax} globs such as team.example/dev/**`,
      description:
        "Globs over upstream/repository: * stays inside a segment, ** crosses them, ** alone is all.",
      examples: [["team.example/dev/**"]],
    }),
    unusedDays: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: PURGE_LIMITS.daysMax,
        description: "Tags and blobs that were not used for so long expire.",
        examples: [14],
      }),
    ),
    keepTags: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: PURGE_LIMITS.keepTagsMax,
        description:
          "So many of the tags stay, those that were confirmed last: used or not. The others expire; with unusedDays, once they are unused.",
        examples: [10],
      }),
    ),
    tags: Type.Optional(
      Type.Array(Text, {
        minItems: 1,
        maxItems: CONFIG_LIMITS.matchesMax,
        title: "a list of one glob or more",
        description: "Which tags keepTags counts; without it, all.",
        examples: [["v*"]],
      }),
    ),
  },
  { ...closed, title: "a mapping with match, and unusedDays or keepTags" },
);

const Retention = Type.Array(Entry, {
  maxItems: PURGE_LIMITS.retentionRulesMax,
  title: `a list of at most ${PURGE_LIMITS.retentionRulesMax} entries`,
  description: "What is kept of which repositories. The first entry that matches decides.",
});

/** `storage.retention` of the file. Does not compile when the schema and its draft disagree. */
export const RETENTION_SCHEMA: TUnsafe<readonly RetentionDraft[]> =
  Type.Unsafe<Static<typeof Retention>>(Retention);

/** The entries, each with something to go by. */
export function readRetention(
  context: MatchContext,
  list: readonly (RetentionDraft | undefined)[] | undefined,
): readonly RetentionSettings[] {
  const { scope } = context;
  return (list ?? []).flatMap((draft, index) => {
    const path = ["storage", "retention", index];
    if (draft === undefined) {
      return [];
    }
    const { unusedDays, keepTags } = draft;
    const isWritten = scope.has([...path, "unusedDays"]) || scope.has([...path, "keepTags"]);
    if (!isWritten) {
      scope.problem(path, "found neither unusedDays nor keepTags, expected one or both of them");
    }
    const match = readRepositories(context, [...path, "match"], draft.match);
    const tags = readTags(scope, [...path, "tags"], draft.tags);
    if (tags !== undefined && !scope.has([...path, "keepTags"])) {
      scope.problem([...path, "tags"], "found tags without keepTags, expected both", "key");
    }
    return {
      match,
      ...(unusedDays !== undefined && { unusedDays }),
      ...(keepTags !== undefined && { keepTags }),
      ...(tags !== undefined && { tags }),
    };
  });
}

function readRepositories(
  context: MatchContext,
  path: Path,
  list: ListDraft | undefined,
): readonly string[] {
  const globs = readMatches(context, path, list, { mayMatchAll: true });
  (list ?? []).forEach((glob, index) => {
    if (glob !== undefined && ONLY_WILDCARDS.test(glob) && glob !== EVERYTHING) {
      const expected = `${EVERYTHING} for everything, or globs that each begin with a registry`;
      context.scope.mismatch([...path, index], expected);
    }
  });
  return globs;
}

function readTags(
  scope: ConfigScope,
  path: Path,
  list: ListDraft | undefined,
): readonly string[] | undefined {
  return list?.filter((glob, index): glob is string => {
    const problem = glob === undefined ? undefined : checkTagGlob(glob);
    if (problem !== undefined) {
      const place = [...path, index];
      scope.problem(place, `found ${scope.quote(place)}: ${problem}`);
    }
    return glob !== undefined;
  });
}
