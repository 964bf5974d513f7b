import t from "tap";
import {
  checkRepositoryGlob,
  checkSubjectGlob,
  checkTagGlob,
  compileGlob,
} from "../server/glob.ts";
import { pick, runSeed, seeded } from "./support/seeded.ts";

t.test("a star stays in its segment, two cross, everything else is itself", (t) => {
  const cases: readonly [glob: string, text: string, fits: boolean][] = [
    ["a.b/c", "a.b/c", true],
    ["a.b/c", "a.b/c/d", false],
    ["a.b/c", "axb/c", false],
    ["a.b/*", "a.b/c", true],
    ["a.b/*", "a.b/", true],
    ["a.b/*", "a.b/c/d", false],
    ["a.b/**", "a.b/c/d", true],
    ["a.b/**", "a.b", false],
    ["a.b/**", "a.bc/d", false],
    ["*.b/**", "x.b/c", true],
    ["*.b/**", "x/y.b/c", false],
    ["**/prod/**", "a.b/x/prod/y", true],
    ["**/prod/*", "a.b/prod/x/y", false],
    ["a/*/c*", "a/b/cd", true],
    ["a/*/c*", "a/b/c/d", false],
    ["v*", "v", true],
    ["**a*b", "xx/a/aab", true],
    ["a+(b)?[c]{1}^$|\\d", "a+(b)?[c]{1}^$|\\d", true],
    ["a+", "aa", false],
    [
      "https://github.com/acme/*@refs/heads/main",
      "https://github.com/acme/x@refs/heads/main",
      true,
    ],
    [
      "https://github.com/acme/*@refs/heads/main",
      "https://github.com/acme/x@refs/heads/main-attacker",
      false,
    ],
    ["a/*", "a/b\nc", true],
    ["a/*", "x\na/b", false],
    ["", "", true],
    ["", "a", false],
    ["*😀", "a😀", true],
  ];
  for (const [glob, text, fits] of cases) {
    t.equal(compileGlob(glob)(text), fits, `${glob} and ${JSON.stringify(text)}`);
  }
  t.end();
});

t.test("any glob agrees with the expression that it stands for", (t) => {
  const seed = runSeed();
  t.comment(`seed ${seed}`);
  const random = seeded(seed);
  const draw = (from: readonly string[], count: number): string =>
    Array.from({ length: Math.floor(random() * count) }, () => pick(random, from)).join("");
  for (let round = 0; round < 20_000; round += 1) {
    const glob = draw(["*", "**", "a", "b", "/"], 7);
    const text = draw(["a", "b", "/"], 9);
    const source = glob.replace(/\*+/g, (stars) => (stars === "*" ? "[^/]*" : "[^]*"));
    const expected = new RegExp(`^${source}$`).test(text);
    if (compileGlob(glob)(text) !== expected) {
      t.fail(`${glob} and ${text}: expected ${expected}`);
    }
  }
  t.end();
});

t.test("a long hostile text is only read once", (t) => {
  const text = "a".repeat(65_536);
  // Each of them would take a backtracking matcher for ever.
  for (const glob of ["*a*a*a*a*a*a*b", "**a**a**a**a**b", "**a*a**a*ab", "a**/*/**/a*b"]) {
    t.equal(compileGlob(glob)(text), false, glob);
  }
  t.equal(compileGlob("**a*a**")(text), true);
  t.equal(compileGlob("*/*/**/b")("a/".repeat(32_768)), false);
  t.end();
});

t.test("a glob over repositories that is not what was meant is found", (t) => {
  const problems: readonly [glob: string, says: RegExp][] = [
    ["", /empty/],
    ["**", /every repository/],
    ["*/**", /every repository/],
    ["**/**", /every repository/],
    ["*.*/**", /every repository/],
    ["a.b/***", /\* or \*\*/],
    ["docker.io", /no slash/],
    ["docker.io**", /no slash/],
    ["docker.io/alpine", /library/],
    ["docker.io/*", /library/],
    ["https://docker.io/library/*", /https/],
    ["Team.example/**", /lower-case/],
    ["/team.example/**", /begins with a slash/],
    ["team.example/", /ends with a slash/],
    ["team.example//app", /empty part/],
    ["team.example/app:v1", /tag/],
    ["team.example/**:v1", /tag/],
    [`team.example/app@sha256:${"a".repeat(64)}`, /digest/],
    ["team.example/a b", /space/],
    ["team.example/{a,b}", /wildcards/],
    ["team.example/a?", /wildcards/],
    ["team.example/.hidden", /never match/],
    ["team.example:port/app", /never match/],
    ["team.example/äpp", /character/],
    [`team.example/${"a".repeat(600)}`, /longer/],
  ];
  for (const [glob, says] of problems) {
    t.match(checkRepositoryGlob(glob), says, JSON.stringify(glob));
  }
  for (const glob of [
    "registry.k8s.io/**",
    "docker.io/library/*",
    "docker.io/**",
    "team.example:5000/prod/*",
    "localhost/app",
    "**/prod/**",
    "*.example/prod/app-*",
    "team.example/a__b/c",
  ]) {
    t.equal(checkRepositoryGlob(glob), undefined, glob);
  }
  t.end();
});

t.test("a glob over identities must not let strangers in", (t) => {
  for (const glob of [
    "",
    "*",
    "**",
    "*://**",
    "*@acme.example",
    "https://*/acme/x",
    "https://github.com*/acme/x",
    "https://*.github.com/acme/x",
    "https://github.com/**",
    "https://github.com/*/app/**",
    "https://github.com/acme**",
    "https://github.com/acme*/**",
    "https://gitlab.com/*/x",
    "http**",
    "robot@*.example",
    "robot*",
    "https://github.com/acme/ x",
  ]) {
    t.type(checkSubjectGlob(glob), "string", glob);
  }
  for (const glob of [
    "https://github.com/acme/*/.github/workflows/*@refs/heads/main",
    "https://github.com/acme/**",
    "https://gitlab.acme.example/**",
    "spiffe://acme.example/ci/*",
    "robot-*@acme.example",
    "https://acme.example",
  ]) {
    t.equal(checkSubjectGlob(glob), undefined, glob);
  }
  t.end();
});

t.test("a glob over tags must be able to match one, and not match all", (t) => {
  for (const glob of ["", "*", "**", "a/b", ".x*", "-*", "a:b", "v***", "a b", "x".repeat(129)]) {
    t.type(checkTagGlob(glob), "string", glob);
  }
  for (const glob of ["v*", "*-stable", "1.2.*", "latest"]) {
    t.equal(checkTagGlob(glob), undefined, glob);
  }
  t.end();
});
