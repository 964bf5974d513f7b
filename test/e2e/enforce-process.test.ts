import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { EnforcedFolder } from "../support/enforce-process.ts";
import {
  configOf,
  enforcedFolder,
  linesOf,
  manifestUrl,
  POLICY,
  REPOSITORY,
  reloaded,
  reloadsBecome,
  statusOf,
} from "../support/enforce-process.ts";
import { byKey, byOtherKey, key, otherKey } from "../support/policy-rig.ts";
import { run } from "../support/processes.ts";
import { addSignedImage } from "../support/signed-images.ts";
import type { SluiceProcess } from "../support/sluice-process.ts";
import { runSluice } from "../support/sluice-process.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(120_000);

t.test("each decision is one line of the audit file", async (t) => {
  const rig = await enforcedFolder(t);
  const signed = await rig.image("signed", byKey);
  const unsigned = await rig.image("unsigned");
  const sluice = await rig.start();
  const asked = [
    { reference: "signed", status: 200, verdict: "allow", reason: "signed" },
    { reference: signed.digest, status: 200, verdict: "allow", reason: "signed" },
    { reference: "unsigned", status: 403, verdict: "deny", reason: "unsigned" },
    { reference: unsigned.digest, status: 403, verdict: "deny", reason: "unsigned" },
  ];
  const times = 25;
  const statuses: number[] = [];
  const wanted: number[] = [];
  for (let time = 0; time < times; time += 1) {
    const method = time % 2 === 0 ? "GET" : "HEAD";
    const answers = asked.map(({ reference }) =>
      statusOf(manifestUrl(sluice, reference), { method }),
    );
    statuses.push(...(await Promise.all(answers)));
    wanted.push(...asked.map(({ status }) => status));
  }
  t.same(statuses, wanted);
  const blob = `${sluice.registry}/v2/team.example/${REPOSITORY}/blobs/${unsigned.digest}`;
  t.equal(await statusOf(blob), 403, "a manifest that is asked for as a blob");
  t.equal(await statusOf(manifestUrl(sluice, "signed", "stage/app")), 404, "nothing to judge");
  const count = times * asked.length + 1;
  for (let look = 0; look < 1000 && rig.audit().length < count; look += 1) {
    await sluice.metrics(); // lines are collected for a moment
  }
  const lines = rig.audit();
  t.equal(lines.length, count, "one a decision");
  t.equal(await sluice.metric("sluice_verdicts_total"), count, "as many as are counted");
  t.equal(await sluice.metric("sluice_audit_lines_lost_total"), 0);
  t.equal(new Set(lines.map(({ id }) => id)).size, lines.length, "none is there twice");
  for (const { reference, verdict, reason } of asked) {
    const about = lines.filter((line) => line["reference"] === reference);
    const isAllowed = verdict === "allow";
    const expected = {
      time: /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
      client: "127.0.0.1",
      upstream: "team.example",
      repository: REPOSITORY,
      digest: isAllowed ? signed.digest : unsigned.digest,
      rule: "production",
      mode: "enforce",
      verdict,
      served: isAllowed,
      reason,
      message: isAllowed ? null : / denies .*not signed by key cosign\.pub/,
      signer: isAllowed ? /^key sha256:[0-9a-f]{64}$/ : null,
      exception: null,
      evidence: /^sha256:[0-9a-f]{64}$/,
      policyRevision: /^[0-9a-f]+$/,
      trustRevision: String,
    };
    const fields = [...Object.keys(expected), "id", "reference", "signers", "user"].sort();
    const once = Number(reference === unsigned.digest);
    t.equal(about.length, times + once, reference);
    for (const line of about) {
      t.match(line, expected);
      t.same(Object.keys(line).sort(), fields);
    }
  }
  const requests = linesOf(readFileSync(join(rig.folder, "access.jsonl"), "utf8"));
  const ids = new Set(requests.map(({ id }) => id));
  t.ok(
    lines.every(({ id }) => ids.has(id)),
    "the same request stands in the access log",
  );
});

t.test("a changed key and a changed policy count for the next pull", async (t) => {
  const rig = await enforcedFolder(t);
  await rig.image("ours", byKey);
  await rig.image("theirs", byOtherKey);
  const sluice = await rig.start();
  const pulls = async (): Promise<readonly number[]> =>
    await Promise.all(["ours", "theirs"].map((tag) => statusOf(manifestUrl(sluice, tag))));
  t.same(await pulls(), [200, 403]);

  const keyFile = join(rig.folder, "cosign.pub");
  writeFileSync(keyFile, otherKey.publicKeyPem);
  await reloadsBecome(sluice, "applied", 1); // nobody has to say so
  t.same(await pulls(), [403, 200], "the key in the file is another one");
  await rig.upstream.stop();
  writeFileSync(keyFile, key.publicKeyPem);
  await reloaded(sluice, "applied", 2);
  t.same(await pulls(), [200, 403], "and back, without the upstream");

  const write = (policy: string): void =>
    writeFileSync(rig.configFile, configOf(rig.upstream, rig.folder, policy));
  write(POLICY.replace("mode: enforce", "mode: warn"));
  await reloaded(sluice, "applied", 3);
  t.same(await pulls(), [200, 200]);
  write(POLICY);
  await reloaded(sluice, "applied", 4);
  t.same(await pulls(), [200, 403]);
  const revisions = rig.audit().map(({ policyRevision }) => policyRevision);
  t.equal(new Set(revisions).size, 3, "each line names the policy that was in force");
});

t.test("an invalid policy is refused, and the old one goes on", async (t) => {
  const rig = await enforcedFolder(t);
  await rig.image("signed", byKey);
  await rig.image("unsigned");
  const sluice = await rig.start();
  const wrong = [
    POLICY.replace("mode: enforce", "mode: enfroce"),
    POLICY.replace(/any:\n.*\n/, "any: []\n"),
    POLICY.replace("cosign.pub", "no-such.pub"),
    POLICY.replace("signatures:", "signature:"),
    POLICY.replace("policy:", "polcy:"),
    "policy: {",
  ];
  const files = wrong.map((policy) => configOf(rig.upstream, rig.folder, policy));
  for (const [at, text] of [...files, ""].entries()) {
    writeFileSync(rig.configFile, text);
    await reloaded(sluice, "refused", at + 1);
    const checked = await runSluice(["check", rig.configFile]);
    t.equal(checked.code, 1, checked.output);
    t.match(checked.output, /sluice\.yaml:/, "says where");
    t.equal(await statusOf(manifestUrl(sluice, "unsigned")), 403, text);
    t.equal(await statusOf(manifestUrl(sluice, "signed")), 200, text);
  }
  t.equal(await sluice.metric("sluice_config_reloads_total", { outcome: "applied" }), 0);
});

t.test("explain says what would be, and why, beside a proxy that runs", async (t) => {
  const rig = await enforcedFolder(t);
  const signed = await rig.image("signed", byKey);
  await rig.image("unsigned");
  await rig.image("theirs", byOtherKey);
  const sluice = await rig.start();
  t.equal(await statusOf(manifestUrl(sluice, "signed")), 200);
  const explain = (image: string, ...flags: string[]): ReturnType<typeof runSluice> =>
    runSluice(["explain", image, "--config", rig.configFile, ...flags]);

  const name = `team.example/${REPOSITORY}`;
  const allowed = await explain(`${name}:signed`);
  t.equal(allowed.code, 0, allowed.output);
  t.match(allowed.stdout, /verdict +allow \(signed\)\n +rule +production, enforce\n/);
  t.match(allowed.stdout, `digest    ${signed.digest}`);
  t.match(allowed.stdout, /signer +key sha256:/);
  const denied = await explain(`${name}:theirs`);
  t.equal(denied.code, 1, denied.output);
  t.match(denied.stdout, /verdict +deny \(untrusted\)/);
  t.match(denied.stdout, /does not +bundle sha256:/);

  const json = await explain(`${name}@${signed.digest}`, "--json");
  t.equal(json.code, 0, json.output);
  t.match(JSON.parse(json.stdout), { served: true, verdict: "allow", rule: "production" });
  const refused = await explain(`${name}:unsigned`, "--json");
  t.equal(refused.code, 1, refused.output);
  t.match(JSON.parse(refused.stdout), { served: false, verdict: "deny", reason: "unsigned" });
  const absent = await explain(`${name}:no-such-tag`);
  t.equal(absent.code, 1);
  t.match(absent.output, /^sluice: .*no-such-tag/);
  const other = await explain("other.example/app:v1");
  t.equal(other.code, 1);
  t.match(other.output, /^sluice: .*other\.example/);
  t.equal((await runSluice(["explain"])).code, 2);

  const index = await rig.index("multi", byKey);
  const child = `${name}@${index.children[0]?.digest}`;
  t.match((await explain(child)).stdout, /verdict +deny \(unsigned\)/, "before its index came by");
  t.equal(await statusOf(manifestUrl(sluice, "multi")), 200);
  t.match((await explain(child)).stdout, /verdict +allow \(inherited\)/, "and after it did");

  t.equal(rig.audit().length, 2, "what was only asked about is not written down as pulled");
  t.equal(await statusOf(manifestUrl(sluice, "signed")), 200, "and the proxy goes on");
});

t.test("killed, it says the same again without the upstream", async (t) => {
  const rig = await enforcedFolder(t);
  const signed = await rig.image("signed", byKey);
  const unsigned = await rig.image("unsigned");
  const index = await rig.index("index", byKey);
  const child = digestsOf(index)[0] ?? "";
  const allowed = ["signed", signed.digest, "index", child];
  const refused = ["unsigned", unsigned.digest];
  const pulls = async (sluice: SluiceProcess): Promise<Record<string, number>> => {
    const statuses: Record<string, number> = {};
    for (const reference of [...allowed, ...refused]) {
      statuses[reference] = await statusOf(manifestUrl(sluice, reference));
    }
    return statuses;
  };
  const wanted = Object.fromEntries([
    ...allowed.map((reference) => [reference, 200]),
    ...refused.map((reference) => [reference, 403]),
  ]);
  const first = await rig.start();
  t.same(await pulls(first), wanted);
  const running = Promise.allSettled([pulls(first), pulls(first)]);
  await first.kill();
  await running;
  await rig.upstream.stop();
  const again = await rig.start();
  t.equal(await statusOf(manifestUrl(again, child)), 200, "before its index is asked for");
  t.same(await pulls(again), wanted);
  await again.kill();

  rmSync(join(rig.folder, "data"), { recursive: true });
  const empty = await rig.start();
  const left = Object.values(await pulls(empty)).filter((status) => status < 400);
  t.same(left, [], "what is held nowhere is not served");
});

t.test("nothing unsigned passes while what it keeps is deleted", async (t) => {
  const rig = await enforcedFolder(t);
  const signed = await rig.image("signed", byKey);
  const unsigned = await rig.image("unsigned");
  const index = await rig.index("index", byKey);
  const bad = await rig.index("bad", byOtherKey);
  const sluice = await rig.start();
  const good = ["signed", signed.digest, "index"];
  const refused = ["unsigned", unsigned.digest, "bad", ...digestsOf(bad)];
  const seen = { good: new Set<number>(), child: new Set<number>(), refused: new Set<number>() };
  const pull = async (kind: keyof typeof seen, url: string): Promise<void> => {
    seen[kind].add(await statusOf(url));
  };
  const base = `${sluice.registry}/v2/team.example/${REPOSITORY}`;
  const round = (): readonly Promise<void>[] => [
    ...good.map((reference) => pull("good", manifestUrl(sluice, reference))),
    ...digestsOf(index).map((digest) => pull("child", manifestUrl(sluice, digest))),
    ...refused.map((reference) => pull("refused", manifestUrl(sluice, reference))),
    ...[unsigned.digest, ...digestsOf(bad)].map((digest) => {
      return pull("refused", `${base}/blobs/${digest}`);
    }),
  ];
  t.equal(await statusOf(manifestUrl(sluice, "index")), 200, "before its children are asked for");
  await Promise.all(round());
  for (let time = 0; time < 20; time += 1) {
    const running = round();
    rmSync(join(rig.folder, "data"), { recursive: true, force: true, maxRetries: 10 });
    await Promise.all([...running, ...round()]);
  }
  const passed = [...seen.refused].filter((status) => status < 400 || status === 500);
  t.same(passed, [], "never, whatever is missing");
  t.same([...seen.good], [200], "and what is signed is served all the while");
  t.same([...seen.child], [200], "and so is what an index vouches for");
});

t.test("a pull that is only warned about", toolOptions("crane", "oras", "regctl"), async (t) => {
  const rig = await enforcedFolder(t);
  const repository = "dev/app";
  await addSignedImage(rig.upstream, { repository, tag: "unsigned" });
  await addSignedImage(rig.upstream, { repository, tag: "signed", signatures: [byKey] });
  const sluice = await rig.start();
  const clients: readonly (readonly [string, (image: string) => readonly string[]])[] = [
    ["crane", (image) => ["manifest", image]],
    ["oras", (image) => ["manifest", "fetch", "--plain-http", image]],
    ["regctl", (image) => ["--host", `reg=${sluice.host},tls=disabled`, "manifest", "get", image]],
  ];
  for (const [client, args] of clients) {
    const pulled = await runFor(
      rig,
      client,
      args(`${sluice.host}/team.example/${repository}:unsigned`),
    );
    t.equal(pulled.code, 0, pulled.output);
    t.match(pulled.output, /policy rule 'development' would deny team\.example\/dev\/app/, client);
    const quiet = await runFor(
      rig,
      client,
      args(`${sluice.host}/team.example/${repository}:signed`),
    );
    t.equal(quiet.code, 0, quiet.output);
    t.notMatch(quiet.output, /policy rule/, client);
  }
  const labels = { rule: "development", verdict: "deny", reason: "unsigned" };
  t.ok((await sluice.metric("sluice_verdicts_total", labels)) >= clients.length);
});

function digestsOf({ children }: Awaited<ReturnType<EnforcedFolder["index"]>>): readonly string[] {
  return children.map(({ digest }) => digest);
}

/** With a home of its own, where it finds no configuration. */
function runFor(
  { folder: HOME }: EnforcedFolder,
  client: string,
  args: readonly string[],
): ReturnType<typeof run> {
  return run(client, args, { env: { HOME, DOCKER_CONFIG: HOME } });
}
