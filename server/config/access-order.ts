import type { AccessRuleSettings } from "../settings.ts";

/** Rules that never decide, as one before them matches all that they match: both by index. */
export function shadowedRules(
  rules: readonly AccessRuleSettings[],
): readonly (readonly [rule: number, before: number])[] {
  const sets = rules.map(({ who, pull }) => ({ who: new Set(who), pull: new Set(pull) }));
  return rules.flatMap(({ who, pull }, index) => {
    const before = sets.findIndex(
      (earlier, at) =>
        at < index &&
        who.every((one) => widerNames(one).some((name) => earlier.who.has(name))) &&
        pull.every((glob) => widerGlobs(glob).some((wider) => earlier.pull.has(wider))),
    );
    return before < 0 ? [] : [[index, before] as const];
  });
}

/** What matches all that `who` does: the plain cases, which are those that people write. */
function widerNames(who: string): readonly string[] {
  const [kind] = who.split(":");
  return [who, "*", ...(who.includes(":") ? [`${kind}:**`] : [])];
}

/** The same glob, everything, and whatever ends in `**` where this one goes on. */
function widerGlobs(glob: string): readonly string[] {
  const prefixes = [...glob.matchAll(/\//gu)].map(({ index }) => `${glob.slice(0, index)}/**`);
  return [glob, "**", ...prefixes];
}
