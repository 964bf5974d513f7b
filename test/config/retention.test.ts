import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { loadConfig } from "../../server/config/config.ts";
import { effectiveValues } from "../../server/config/effective.ts";
import { ConfigError } from "../../server/config/errors.ts";
import type { Settings } from "../../server/settings.ts";

function read(t: Test, retention: string): Settings {
  const text = `upstreams: { team.example: { aliases: [team.alias] } }\nstorage:\n  retention: ${retention}\n`;
  return loadConfig(join(t.testdir({ f: text }), "f"), {});
}

function problemOf(t: Test, retention: string): string {
  try {
    read(t, retention);
    return "";
  } catch (error) {
    t.ok(error instanceof ConfigError);
    return error instanceof ConfigError
      ? error.problems.map(({ line, message }) => `${line}: ${message}`).join("\n")
      : "";
  }
}

t.test("retention is taken as it is written, and shown as what is in effect", async (t) => {
  const settings = read(
    t,
    '[{ match: ["team.example/dev/**"], unusedDays: 14, keepTags: 10, tags: ["v*"] }, { match: ["**"], keepTags: 1 }]',
  );
  const expected = [
    { match: ["team.example/dev/**"], unusedDays: 14, keepTags: 10, tags: ["v*"] },
    { match: ["**"], keepTags: 1 },
  ];
  t.same(settings.storage.retention, expected);
  t.match(effectiveValues(settings), { storage: { retention: expected } });
  t.equal(loadConfig(undefined, {}).storage.retention, undefined);
});

t.test("retention that could not be meant is refused", async (t) => {
  const cases: readonly [string, RegExp][] = [
    ["{}", /expected a list of at most 200 entries/],
    ["[{}]", /match/],
    ["[{ match: [], unusedDays: 1 }]", /expected a list of 1 to 500 globs/],
    ['[{ match: ["team.example/**"] }]', /found neither unusedDays nor keepTags/],
    ['[{ match: ["team.example/**"], unusedDays: 0 }]', /expected a whole number from 1 to 3650/],
    ['[{ match: ["team.example/**"], keepTags: -1 }]', /expected a whole number from 1 to 10000/],
    ['[{ match: ["team.example/**"], unusedDays: 14d }]', /expected a whole number/],
    ['[{ match: ["team.example/**"], keepDays: 14 }]', /unknown key "keepDays"/],
    ['[{ match: ["*"], unusedDays: 1 }]', /expected \*\* for everything/],
    ['[{ match: ["other.example/**"], unusedDays: 1 }]', /begins with a configured upstream/],
    ['[{ match: ["team.alias/**"], unusedDays: 1 }]', /the upstream's own name, team\.example/],
    ['[{ match: ["team.example/App"], unusedDays: 1 }]', /repositories are lower-case/],
    [
      '[{ match: ["team.example/**"], unusedDays: 1, tags: ["v*"] }]',
      /found tags without keepTags/,
    ],
    ['[{ match: ["team.example/**"], keepTags: 1, tags: ["*"] }]', /would match every tag/],
    ['[{ match: ["team.example/**"], keepTags: 1, tags: [] }]', /a list of one glob or more/],
  ];
  for (const [text, expected] of cases) {
    t.match(problemOf(t, text), expected, text);
  }
});
