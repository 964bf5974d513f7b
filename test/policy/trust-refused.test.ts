import { globSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { EMPTY_ROOT } from "../../server/policy/trust/tuf-repository.ts";
import { openPrivate, openRoots, settingsOf, variant } from "../support/trust-rig.ts";
import { TufRepository } from "../support/tuf-repository.ts";

const PAST = "2020-01-01T00:00:00Z";

const REFUSALS: readonly [what: string, spoil: (repository: TufRepository) => void][] = [
  ["an expired timestamp", (r) => r.publish(variant(3), { expires: { timestamp: PAST } })],
  ["an expired snapshot", (r) => r.publish(variant(3), { expires: { snapshot: PAST } })],
  ["expired targets", (r) => r.publish(variant(3), { expires: { targets: PAST } })],
  ["an expired root", (r) => r.rotateRoot({ expires: PAST })],
  ["another's timestamp", (r) => r.publish(variant(3), { forged: ["timestamp"] })],
  ["another's snapshot", (r) => r.publish(variant(3), { forged: ["snapshot"] })],
  ["another's targets", (r) => r.publish(variant(3), { forged: ["targets"] })],
  ["another's root", (r) => r.rotateRoot({ isForged: true })],
  ["a target of another length", (r) => r.publish(variant(3), { length: 20 })],
  ["a target that leaves the repository", (r) => r.publish(variant(3), { hash: "../../../x" })],
  ["a target that is no trusted root", (r) => r.publish("<html>")],
  ["a trusted root that trusts nobody", (r) => r.publish(EMPTY_ROOT)],
  ["a target of 2 MiB", (r) => r.publish(" ".repeat(2_097_152))],
  ["a timestamp that is no JSON", (r) => answerAll(r, "timestamp.json", "<html>")],
  ["a timestamp of 2 MiB", (r) => answerAll(r, "timestamp.json", " ".repeat(2_097_152))],
  ["a timestamp with a prototype", (r) => answerAll(r, "timestamp.json", '{"__proto__":{"x":1}}')],
];

function answerAll(repository: TufRepository, name: string, body: string): void {
  repository.fault = (path, response) => {
    if (path.endsWith(name)) {
      response.end(body);
      return true;
    }
    return undefined;
  };
}

for (const [what, spoil] of REFUSALS) {
  t.test(`${what} is refused, and the last good root stays`, async (t) => {
    await using repository = await TufRepository.serve(variant(1));
    await using opened = openPrivate(t, repository);
    await opened.roots.refreshNow();
    spoil(repository);
    t.equal(await opened.roots.refreshNow(), "refused");
    t.equal(opened.roots.publicGood, variant(1));
    t.equal(opened.changes.length, 1);
    t.ok(repository.requests.every((path) => path.startsWith("/tuf/")));
    await using restarted = openRoots({
      settings: settingsOf(t, repository),
      folder: opened.folder,
    });
    t.equal(restarted.roots.publicGood, variant(1));
  });
}

t.test("what was served before is a rollback, even after a restart", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  await using opened = openPrivate(t, repository);
  await opened.roots.refreshNow();
  const rollBack = repository.snapshot();
  repository.publish(variant(2));
  t.equal(await opened.roots.refreshNow(), "changed");
  rollBack();
  t.equal(await opened.roots.refreshNow(), "refused");
  await using restarted = openRoots({ settings: settingsOf(t, repository), folder: opened.folder });
  t.equal(await restarted.roots.refreshNow(), "refused");
  t.equal(restarted.roots.publicGood, variant(2));
});

t.test("a delegated role's name is no path", async (t) => {
  await using repository = await TufRepository.serve(variant(1));
  await using opened = openPrivate(t, repository);
  repository.publish(variant(2), { delegatesTo: "../../../../evil" });
  t.equal(await opened.roots.refreshNow(), "changed");
  const outside = globSync("**/*evil*", { cwd: t.testdirName });
  t.ok(
    outside.every((path) => path.startsWith(join("data", "trust"))),
    String(outside),
  );
});

const TROUBLES: readonly [what: string, fault: TufRepository["fault"]][] = [
  ["fails", (_, response) => status(response.writeHead(503).end())],
  ["hangs up", (_, response) => status(response.socket?.destroy())],
  ["hangs up midway", (path, response) => midway(path, response)],
  ["redirects", (_, response) => status(response.writeHead(302, { location: "/x" }).end())],
];

function status(_: unknown): true {
  return true;
}

function midway(path: string, response: Parameters<NonNullable<TufRepository["fault"]>>[1]) {
  if (!path.endsWith("timestamp.json")) {
    return undefined;
  }
  response.writeHead(200, { "content-length": "1000" }).write("{", () => response.destroy());
  return true;
}

for (const [what, fault] of TROUBLES) {
  t.test(`a mirror that ${what} is told once, and asked again until it is back`, async (t) => {
    await using repository = await TufRepository.serve(variant(1));
    await using opened = openPrivate(t, repository);
    await opened.roots.refreshNow();
    opened.logged.length = 0;
    repository.fault = fault;
    t.equal(await opened.roots.refreshNow(), "unreachable");
    t.equal(await opened.roots.refreshNow(), "unreachable");
    t.equal(opened.roots.publicGood, variant(1));
    t.match(opened.logged, [/^warn the trusted root could not be refreshed/]);
    t.ok(repository.requests.every((path) => path.startsWith("/tuf/")));
    repository.fault = undefined;
    t.equal(await opened.roots.refreshNow(), "unchanged");
    t.match(opened.logged.slice(1), [/^info the trusted root can be refreshed again/]);
    const delays = opened.scheduled.filter((one) => !one.isCalledOff).map((one) => one.delayMs);
    t.same(delays, [90_720_000], "only the next day's is left");
    const [, , first, second] = opened.scheduled.map((one) => one.delayMs);
    t.same([first, second], [63_000, 126_000]);
  });
}
