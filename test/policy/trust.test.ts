import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t from "tap";
import { sha256Hex } from "../../server/policy/trust/tuf-last-good.ts";
import { refreshDelayMs } from "../../server/policy/trust/tuf-schedule.ts";
import type { TrustSettings } from "../../server/policy-settings.ts";
import { BUNDLED, openPrivate, openRoots, settingsOf, variant } from "../support/trust-rig.ts";
import { TufRepository } from "../support/tuf-repository.ts";

t.test("a bundled root needs no network, no disk and no timer", async (t) => {
  const folder = join(t.testdir({}), "trust");
  await using opened = openRoots({ settings: { publicGood: "bundled" }, folder });
  t.equal(opened.roots.publicGood, BUNDLED);
  t.equal(opened.roots.revision, sha256Hex(BUNDLED).slice(0, 12));
  t.equal(opened.roots.problem, undefined);
  t.equal(await opened.roots.refreshNow(), "unchanged");
  t.same(
    [opened.scheduled, opened.logged, opened.outcomes, existsSync(folder)],
    [[], [], [], false],
  );
});

t.test("a private repository's root counts from the first refresh on, and is kept", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  await using opened = openPrivate(t, repository);
  const { roots, changes, scheduled } = opened;
  t.match(roots.problem, /the trusted root of http.* has not been fetched yet/);
  t.notMatch(roots.publicGood, /certificateAuthorities/, "and nobody else's stands in for it");
  t.equal(scheduled[0]?.delayMs, 0);

  t.equal(await roots.refreshNow(), "changed");
  t.equal(roots.publicGood, variant(1));
  t.equal(roots.revision, sha256Hex(variant(1)).slice(0, 12));
  t.same(changes, [roots.revision]);
  t.equal(roots.problem, undefined);

  t.equal(await roots.refreshNow(), "unchanged");
  repository.publish(variant(2));
  t.same(await Promise.all([roots.refreshNow(), roots.refreshNow()]), ["changed", "changed"]);
  t.equal(roots.publicGood, variant(2));
  t.same(opened.outcomes, ["changed", "unchanged", "changed"], "two at once were one");

  repository.fault = (_, response) => {
    response.destroy();
    return true;
  };
  await using restarted = openRoots({
    settings: settingsOf(t, repository),
    folder: opened.folder,
  });
  t.equal(restarted.roots.publicGood, variant(2), "the last good one counts after a restart");
  t.equal(await restarted.roots.refreshNow(), "unreachable");
  t.equal(restarted.roots.publicGood, variant(2));
});

t.test("keys that were rotated are followed, step by step", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  await using opened = openPrivate(t, repository);
  repository.rotateRoot();
  repository.rotateRoot();
  repository.publish(variant(2));
  t.equal(await opened.roots.refreshNow(), "changed");
  t.equal(opened.roots.publicGood, variant(2));
  repository.rotateRoot();
  repository.publish(variant(3));
  t.equal(await opened.roots.refreshNow(), "changed");
  t.equal(opened.roots.publicGood, variant(3));
});

t.test("the delay after failures doubles up to an hour, and a day is a day", async (t) => {
  t.same(
    [0, 1, 2, 6, 7, 1000].map((failures) => refreshDelayMs(failures, 0)),
    [86_400_000, 60_000, 120_000, 1_920_000, 3_600_000, 3_600_000],
  );
  t.equal(refreshDelayMs(1, 1), 66_000);
});

t.test("a mirror that never answers delays neither start nor stop", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  const asked = Promise.withResolvers<void>();
  repository.fault = () => {
    asked.resolve();
    return true;
  };
  const opened = openPrivate(t, repository);
  opened.scheduled[0]?.run();
  await asked.promise;
  await opened[Symbol.asyncDispose]();
  t.same([opened.outcomes, opened.logged.length], [[], 1], "what was given up is no news");
  t.equal(await opened.roots.refreshNow(), "unchanged", "and nothing is asked any more");
});

t.test("a refresh under way does not keep the program alive", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  repository.fault = () => true;
  const settings = settingsOf(t, repository);
  const module = fileURLToPath(
    new URL("../../server/policy/trust/trust-roots.ts", import.meta.url),
  );
  const program = `
    import { TrustRoots } from ${JSON.stringify(module)};
    const log = { info() {}, warn() {} };
    const options = ${JSON.stringify({ settings, folder: join(t.testdirName, "data") })};
    const roots = TrustRoots.open({ ...options, log, onChanged() {}, bundled: () => "" });
    void roots.refreshNow();
    console.log("ended");`;
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", program]);
  t.equal(stdout, "ended\n");
});

t.test("two repositories in one folder know nothing of each other", async (t) => {
  await using one = await TufRepository.serve(variant(1));
  await using two = await TufRepository.serve(variant(2));
  const folder = join(t.testdirName, "trust");
  const first = settingsOf(t, one);
  const file = join(t.testdirName, "two.json");
  writeFileSync(file, two.firstRoot);
  const second: TrustSettings = { publicGood: "tuf", tufMirror: two.url, tufRootFile: file };
  {
    await using opened = openRoots({ settings: first, folder });
    await opened.roots.refreshNow();
  }
  await using opened = openRoots({ settings: second, folder });
  t.match(opened.roots.problem, /has not been fetched yet/);
  t.equal(await opened.roots.refreshNow(), "changed");
  t.equal(opened.roots.publicGood, variant(2));
  await using back = openRoots({ settings: first, folder });
  t.equal(back.roots.publicGood, variant(1), "at once, from disk");

  const open = (settings: TrustSettings): unknown => openRoots({ settings, folder });
  t.throws(() => open({ ...second, tufRootFile: `${file}x` }), /tufRootFile/);
  t.throws(() => open({ publicGood: "tuf", tufMirror: two.url }), /needs the root\.json/);
  writeFileSync(`${file}y`, "{}");
  t.throws(() => open({ ...second, tufRootFile: `${file}y` }), /no root of a TUF/);
});
