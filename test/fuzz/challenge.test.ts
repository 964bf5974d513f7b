import t from "tap";
import { parseChallenges } from "../../server/upstream/challenge.ts";

const PIECES = [
  "Bearer ",
  'realm="a"',
  "scope=b,",
  "Basic",
  "realm",
  "scope",
  "=",
  ",",
  " ",
  "\t",
  '"',
  "\\",
  "\\\\",
  '\\"',
  "abc==",
  "https://auth.example/token",
  "repository:a/b:pull,push",
  "\u00ff",
  "\0",
  ";",
  "(",
];
const ROUNDS = 20_000;
const SEEDS = [1, 42, 20_260_801];

/** A small linear congruential generator: what failed once can be run again. */
function generatorOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

for (const seed of SEEDS) {
  t.test(`no header whatever breaks the parser or its bounds (seed ${seed})`, (t) => {
    const pick = generatorOf(seed);
    let longest = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const header = Array.from({ length: pick(24) }, () => PIECES[pick(PIECES.length)]).join("");
      for (const { scheme, parameters } of parseChallenges(header)) {
        longest = Math.max(longest, parameters.size);
        const isWellFormed = scheme !== "" && scheme === scheme.toLowerCase();
        if (!isWellFormed || [...parameters.keys()].some((name) => name !== name.toLowerCase())) {
          t.fail(JSON.stringify(header));
        }
      }
    }
    t.ok(longest > 1 && longest <= 16);
    t.end();
  });

  t.test(`what was written is what is read (seed ${seed})`, (t) => {
    const pick = generatorOf(seed);
    for (let round = 0; round < ROUNDS / 10; round += 1) {
      const value = Array.from({ length: pick(12) }, () => PIECES[pick(PIECES.length)]).join("");
      const quoted = `"${value.replaceAll(/["\\]/g, "\\$&")}"`;
      const [first, second] = parseChallenges(`Bearer a=${quoted}, b=c, Basic d=${quoted}`);
      if (first?.parameters.get("a") !== value || second?.parameters.get("d") !== value) {
        t.fail(JSON.stringify(value));
      }
    }
    t.pass("every value came back");
    t.end();
  });
}
