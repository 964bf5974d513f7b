import {
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { saveLastGood, sha256Hex } from "../../server/policy/trust/tuf-last-good.ts";
import { tufSourceOf } from "../../server/policy/trust/tuf-source.ts";
import type { TrustSettings } from "../../server/policy-settings.ts";
import { BUNDLED, openPrivate, openRoots, settingsOf, variant } from "../support/trust-rig.ts";
import { TufRepository } from "../support/tuf-repository.ts";

const PAST = "2020-01-01T00:00:00Z";
const SIGSTORE: TrustSettings = { publicGood: "tuf" };

/** As BUNDLED, but its newest log came at another time. */
function dated(start: string): string {
  const root = JSON.parse(BUNDLED);
  for (const entry of [...root.tlogs, ...root.ctlogs]) {
    entry.publicKey.validFor = { start: PAST };
  }
  for (const entry of [...root.certificateAuthorities, ...(root.timestampAuthorities ?? [])]) {
    entry.validFor = { start: PAST };
  }
  root.tlogs[0].publicKey.validFor = { start };
  return JSON.stringify(root);
}

const DAMAGES: readonly [what: string, damage: (file: string) => void][] = [
  ["cut off", (file) => truncateSync(file, 100)],
  ["empty", (file) => truncateSync(file, 0)],
  ["endless", (file) => truncateSync(file, 100_000_000)],
  ["no object", (file) => writeFileSync(file, "null")],
  ["edited", (file) => writeFileSync(file, readFileSync(file, "utf8").replace("tlogs", "tlog5"))],
  ["no root", (file) => writeFileSync(file, JSON.stringify(kept("{}")))],
];

function kept(trustedRoot: string): object {
  return { trustedRoot, bundled: "", sha256: sha256Hex(trustedRoot) };
}

for (const [what, damage] of DAMAGES) {
  t.test(`a last good root that is ${what} is ignored with a warning`, async (t) => {
    const folder = t.testdir({});
    const source = tufSourceOf(SIGSTORE);
    const home = join(folder, source?.id ?? "");
    await saveLastGood(home, { trustedRoot: variant(1), bundled: sha256Hex(BUNDLED) });
    damage(join(home, "trusted-root.json"));
    await using opened = openRoots({ settings: SIGSTORE, folder });
    t.equal(opened.roots.publicGood, BUNDLED);
    t.match(opened.logged, [/^warn the last good trusted root on disk cannot be used: /]);
  });
}

t.test("TUF metadata that was damaged on disk are begun anew", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  await using opened = openPrivate(t, repository);
  repository.rotateRoot();
  repository.publish(variant(1));
  await opened.roots.refreshNow();
  const [cache = ""] = globSync(join(opened.folder, "*", "tuf", "127*"));
  for (const name of ["root.json", "timestamp.json", "snapshot.json", "targets.json"]) {
    truncateSync(join(cache, name), 20);
  }
  repository.publish(variant(2));
  t.equal(await opened.roots.refreshNow(), "changed");
  t.match(opened.logged.at(-1), /^warn the TUF metadata on disk was damaged/);
  t.equal(await opened.roots.refreshNow(), "unchanged");
});

t.test("a root that cannot be kept on disk is in force all the same", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  const settings = settingsOf(t, repository);
  const folder = join(t.testdirName, "trust");
  // A folder in the file's place: no file can be renamed over it, whoever asks.
  const inTheWay = join(folder, tufSourceOf(settings)?.id ?? "", "trusted-root.json");
  mkdirSync(inTheWay, { recursive: true });
  await using opened = openRoots({ settings, folder });
  t.equal(await opened.roots.refreshNow(), "changed");
  t.equal(opened.roots.publicGood, variant(1));
  t.match(opened.logged.at(-1), /^warn the trusted root could not be kept on disk/);
  t.same(
    readdirSync(dirname(inTheWay)).sort(),
    ["trusted-root.json", "tuf"],
    "nothing is left over",
  );
});

t.test("when the program is replaced, the later of both roots counts", async (t) => {
  const settings = SIGSTORE;
  const id = tufSourceOf(settings)?.id ?? "";
  const older = dated("2023-01-01T00:00:00Z");
  const newer = dated("2024-01-01T00:00:00Z");
  const cases: readonly [name: string, kept: string, before: string, now: string, won: string][] = [
    ["the same program: TUF had the last word", older, newer, newer, older],
    ["a later one brings a later root", older, BUNDLED, newer, newer],
    ["a later one brings an older root", newer, BUNDLED, older, newer],
  ];
  for (const [name, trustedRoot, before, bundled, won] of cases) {
    const folder = t.testdir({});
    await saveLastGood(join(folder, id), { trustedRoot, bundled: sha256Hex(before) });
    await using opened = openRoots({ settings, folder, bundled });
    t.equal(opened.roots.publicGood, won, name);
    t.equal(opened.scheduled[0]?.delayMs, 3000);
  }
});
