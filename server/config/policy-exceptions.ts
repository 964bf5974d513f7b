import type { DenySettings, ExceptionSettings } from "../policy-settings.ts";
import { parseUntil } from "./moments.ts";
import type { Path } from "./nodes.ts";
import type { AuthorityReader } from "./policy-authorities.ts";
import type { DenyDraft, ExceptionDraft } from "./policy-draft.ts";
import type { MatchContext } from "./policy-matches.ts";
import { readMatches } from "./policy-matches.ts";
import type { ConfigScope } from "./scope.ts";

const NAME_LENGTH_MAX = 64;
const UNTIL_EXPECTED =
  "a day that there is, such as 2027-01-31, or a time with its zone, such as 2027-01-31T18:00:00Z";

/** The exceptions of a file: each with a name of its own, a reason and an end. */
export function readExceptions(
  context: MatchContext,
  drafts: readonly (ExceptionDraft | undefined)[],
): readonly ExceptionSettings[] {
  const { scope } = context;
  const names = claimNames(scope, drafts);
  return drafts.flatMap((draft, index) => {
    const path = ["policy", "exceptions", index];
    const match = readMatches(context, [...path, "match"], draft?.match, {
      mayMatchAll: draft?.digest !== undefined,
    });
    const untilMs = draft?.until === undefined ? undefined : parseUntil(draft.until);
    if (draft?.until !== undefined && untilMs === undefined) {
      scope.mismatch([...path, "until"], UNTIL_EXPECTED);
    }
    if (draft?.reason === undefined || untilMs === undefined) {
      return [];
    }
    const { name, digest, reason, ticket } = draft;
    return {
      name: name ?? uniqueName(ticket ?? match[0] ?? "exception", names),
      match,
      ...(digest !== undefined && { digest }),
      untilMs,
      reason,
      ...(ticket !== undefined && { ticket }),
    };
  });
}

/** The names that the file itself gives, which those that are made have to avoid. */
function claimNames(
  scope: ConfigScope,
  drafts: readonly (ExceptionDraft | undefined)[],
): Set<string> {
  const names = new Set<string>();
  for (const [index, draft] of drafts.entries()) {
    if (draft?.name === undefined) {
      continue;
    }
    if (names.has(draft.name)) {
      scope.mismatch(["policy", "exceptions", index, "name"], "each name once");
    }
    names.add(draft.name);
  }
  return names;
}

/** A ticket or a glob as a name is spelled, numbered when there is one already. */
function uniqueName(text: string, names: Set<string>): string {
  const spelled = text
    .replaceAll(/[^A-Za-z0-9._-]+/gu, "-")
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/gu, "");
  const base = spelled === "" ? "exception" : spelled.slice(0, NAME_LENGTH_MAX);
  let name = base;
  for (let number = 2; names.has(name); number += 1) {
    const ending = `-${number}`;
    name = base.slice(0, NAME_LENGTH_MAX - ending.length) + ending;
  }
  names.add(name);
  return name;
}

/** The deny list: digests and signers. */
export function readDeny(
  scope: ConfigScope,
  authorities: AuthorityReader,
  drafts: readonly (DenyDraft | undefined)[],
): readonly DenySettings[] {
  const digests = new Set<string>();
  return drafts.flatMap((draft, index): readonly DenySettings[] => {
    const path = ["policy", "deny", index];
    checkSubject(scope, path);
    if (draft?.digest !== undefined && digests.has(draft.digest)) {
      scope.mismatch([...path, "digest"], "each digest once");
    }
    digests.add(draft?.digest ?? "");
    // A stolen key signs without writing to any log: the deny list has to see that, too.
    const signer = authorities.one([...path, "signer"], draft?.signer, "ignore");
    if (draft?.reason === undefined) {
      return [];
    }
    const { digest, reason } = draft;
    if (signer !== undefined) {
      return [{ signer, reason }];
    }
    return digest === undefined ? [] : [{ digest, reason }];
  });
}

function checkSubject(scope: ConfigScope, path: Path): void {
  const isGiven = ["digest", "signer"].filter((key) => scope.has([...path, key]));
  if (isGiven.length !== 1) {
    const found = isGiven.length === 0 ? "neither digest nor signer" : "digest and signer";
    scope.problem(path, `found ${found}, expected one of them`);
  }
}
