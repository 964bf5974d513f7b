import type { Test } from "tap";
import t from "tap";
import { CredentialError } from "../../server/credentials/credential.ts";
import type { KubeletOptions } from "../../server/credentials/kubelet-providers.ts";
import { KubeletProviders } from "../../server/credentials/kubelet-providers.ts";
import { runPlugin } from "../../server/credentials/run-plugin.ts";
import type { FakePlugin, KubeletRig } from "../support/kubelet-plugins.ts";
import { kubeletRig, PROVIDER_API } from "../support/kubelet-plugins.ts";

const MINUTE_MS = 60_000;

interface Opened extends KubeletRig {
  readonly providers: KubeletProviders;
  /** Users and passwords, `user:password`, in the order in which they are tried. */
  find(image: string): Promise<readonly string[]>;
  /** The message of the failure. */
  fails(image: string): Promise<string>;
  later(ms: number): void;
}

function open(
  t: Test,
  plugins: Readonly<Record<string, FakePlugin>>,
  options: Partial<KubeletOptions> = {},
): Opened {
  let now = 1_000_000;
  const rig = kubeletRig(t, plugins);
  const providers = new KubeletProviders(rig.settings, {
    now: () => now,
    run: (run) => runPlugin(run),
    ...options,
  });
  const ask = (image: string): ReturnType<KubeletProviders["find"]> => {
    const [registry = "", ...path] = image.split("/");
    return providers.find({ registry, repository: path.join("/") });
  };
  return {
    ...rig,
    providers,
    find: async (image) =>
      (await ask(image)).map(({ credential }) =>
        credential.kind === "basic" ? `${credential.username}:${credential.password}` : "",
      ),
    fails: async (image) => {
      const error: unknown = await ask(image).catch((reason: unknown) => reason);
      if (!(error instanceof CredentialError)) {
        throw new Error("expected a CredentialError", { cause: error });
      }
      return error.message;
    },
    later: (ms) => {
      now += ms;
    },
  };
}

const ANSWERS_WITH_RUN =
  'answer({ auth: { "*.example": { username: "u", password: String(run) } } });';

t.test("a plugin is asked as the kubelet asks it", async (t) => {
  const rig = open(t, {
    team: {
      script: 'answer({ auth: { "a.example": { username: "u", password: "p" } } });',
      args: ["get-credentials", "--flag=a b"],
      env: [{ name: "TEAM_PROFILE", value: "from the configuration" }],
    },
  });
  t.same(await rig.find("a.example/group/app"), ["u:p"]);
  t.same(await rig.find("other.test/app"), [], "of a registry that nobody is configured for");
  const [seen, ...more] = rig.runs("team");
  t.same(more, []);
  t.same(seen?.request, {
    apiVersion: PROVIDER_API,
    kind: "CredentialProviderRequest",
    image: "a.example/group/app",
  });
  t.same(seen?.args, ["get-credentials", "--flag=a b"]);
  t.equal(seen?.env["TEAM_PROFILE"], "from the configuration");
  t.equal(seen?.env["PATH"], process.env["PATH"], "the process's own environment is there, too");
});

t.test("Docker Hub goes by its name", async (t) => {
  const rig = open(t, {
    hub: {
      script: 'answer({ auth: { "docker.io": { username: "u", password: "p" } } });',
      matchImages: ["docker.io"],
    },
  });
  t.same(await rig.find("docker.io/library/alpine"), ["u:p"]);
  t.match(rig.runs("hub")[0]?.request, { image: "docker.io/library/alpine" });
});

t.test("an answer is kept for what it says it is good for", async (t) => {
  const images = ["a.example/x", "a.example/y", "b.example/x"];
  const expected = { Image: 3, Registry: 2, Global: 1 };
  for (const [cacheKeyType, runs] of Object.entries(expected)) {
    const auth = '{ "*.example": { username: "u", password: "p" } }';
    const script = `answer({ cacheKeyType: "${cacheKeyType}", auth: ${auth} });`;
    const rig = open(t, { team: { script } });
    for (const image of [...images, ...images]) {
      t.same(await rig.find(image), ["u:p"], `${cacheKeyType}: ${image}`);
    }
    t.equal(rig.runs("team").length, runs, cacheKeyType);
  }
});

t.test("an answer is kept for as long as it says, or else as configured", async (t) => {
  const rows = [
    { duration: '"5m0s"', configured: "1h0m0s", keptMinutes: 5 },
    { duration: "null", configured: "10m0s", keptMinutes: 10 },
    { duration: '"1000h"', configured: "1h0m0s", keptMinutes: 24 * 60 },
    { duration: "undefined", configured: "1000h", keptMinutes: 24 * 60 },
    { duration: '"0s"', configured: "1h0m0s", keptMinutes: 0 },
    { duration: "0", configured: "1h0m0s", keptMinutes: 0 },
    { duration: '"-5m0s"', configured: "1h0m0s", keptMinutes: 0 },
    { duration: "null", configured: "0s", keptMinutes: 0 },
  ];
  for (const { duration, configured, keptMinutes } of rows) {
    const auth = '{ "*.example": { username: "u", password: String(run) } }';
    const script = `answer({ cacheDuration: ${duration}, auth: ${auth} });`;
    const rig = open(t, { team: { script, defaultCacheDuration: configured } });
    const row = `${duration}, ${configured}`;
    t.same(await rig.find("a.example/x"), ["u:1"]);
    if (keptMinutes > 0) {
      rig.later(keptMinutes * MINUTE_MS - 1);
      t.same(await rig.find("a.example/x"), ["u:1"], `${row}: just before`);
      rig.later(1);
    }
    t.same(await rig.find("a.example/x"), ["u:2"], `${row}: afterwards`);
  }
});

t.test("those who wait together are answered by one run", async (t) => {
  const rig = open(t, { team: { script: ANSWERS_WITH_RUN } });
  const images = Array.from({ length: 100 }, (_, at) => `a.example/app${at % 10}`);
  const all = await Promise.all(images.map((image) => rig.find(image)));
  t.same(new Set(all.flat()), new Set(["u:1"]));
  t.equal(rig.runs("team").length, 1);
});

t.test("one run an image, when answers are good for that image only", async (t) => {
  const auth = '{ [request.image]: { username: "u", password: request.image } }';
  const rig = open(t, { team: { script: `answer({ cacheKeyType: "Image", auth: ${auth} });` } });
  const images = ["a.example/x", "a.example/y", "a.example/z"];
  const all = await Promise.all([...images, ...images].map((image) => rig.find(image)));
  t.same(
    all.flat(),
    [...images, ...images].map((image) => `u:${image}`),
  );
  t.equal(rig.runs("team").length, 3);
});

t.test("the most specific key is tried first, whoever said it", async (t) => {
  const rig = open(t, {
    first: {
      script: `answer({ auth: {
        "*.example": { username: "any", password: "1" },
        "a.example/group/app": { username: "app", password: "1" },
        "a.example/other": { username: "other", password: "1" },
        "a.example/group": { username: "none", password: "" },
        "b.example": { username: "elsewhere", password: "1" },
        "a.example": {},
      } });`,
    },
    second: {
      script: `answer({ auth: {
        "https://a.example/group": { username: "group", password: "2" },
        "a.example/group/app": { username: "app", password: "2" },
      } });`,
    },
  });
  const tried = ["app:1", "app:2", "none:", "group:2", "any:1"];
  t.same(await rig.find("a.example/group/app"), tried);
});

t.test("a provider that fails does not hide another's log-ins", async (t) => {
  const rig = open(t, {
    broken: { script: "process.exit(3);" },
    team: { script: ANSWERS_WITH_RUN, matchImages: ["a.example"] },
  });
  t.same(await rig.find("a.example/x"), ["u:1"]);
  t.match(await rig.fails("b.example/x"), /provider broken of .*exit code 3/);
});

t.test("each failure says which provider, what happened and what to do", async (t) => {
  const rows: readonly (readonly [script: string, expected: RegExp])[] = [
    ['console.error("no role is attached"); process.exit(1);', /exit code 1.*no role is attached/],
    ["process.exit(2);", /failed for a\.example\/x with exit code 2; it said nothing; run it/],
    ["", /it printed nothing, expected a JSON object/],
    ['console.log("Password: s3cret-s3cret");', /it printed what is not a JSON object/],
    ['console.log("[]");', /it printed what is not a JSON object/],
    [
      'process.stdout.write("s3cret-s3cret".repeat(800_000));',
      /wrote more than \d+ bytes and was killed/,
    ],
    [`answer({ apiVersion: "${PROVIDER_API}beta1" });`, /its apiVersion is .*v1beta1, expected /],
    ['answer({ apiVersion: "s3cret-s3cret" });', /its apiVersion is something else, expected /],
    ['answer({ kind: "Secret" });', /its kind is Secret, expected CredentialProviderResponse/],
    [
      'answer({ cacheKeyType: "Node" });',
      /its cacheKeyType is Node, expected Image, Registry or Global/,
    ],
    ["answer({ cacheKeyType: undefined });", /its cacheKeyType is not there/],
    ['answer({ cacheDuration: "soon" });', /cacheDuration is no duration such as "5m0s"/],
    ["answer({ cacheDuration: 300 });", /cacheDuration is no duration/],
    ["answer({ auth: [] });", /auth is not an object/],
    ['answer({ auth: { "a.example": "s3cret-s3cret" } });', /an entry of auth is not an object/],
    [
      'answer({ auth: { "a.example": { username: "u", password: ["s3cret-s3cret"] } } });',
      /a password in auth is not text/,
    ],
    [
      'answer({ auth: { "a.example": { username: "u\\r\\nx", password: "s3cret-s3cret" } } });',
      /a username in auth is not text/,
    ],
    [
      'answer({ auth: { "a.example": { username: "u:v", password: "s3cret-s3cret" } } });',
      /a username in auth has a colon/,
    ],
    ['answer({ auth: { "a b": { username: "u", password: "p" } } });', /a key of auth is not host/],
    [
      "answer({ auth: Object.fromEntries(Array.from({ length: 300 }, (_, at) => [at, {}])) });",
      /auth has more than 256 keys/,
    ],
  ];
  for (const [script, expected] of rows) {
    const rig = open(t, { team: { script } });
    const message = await rig.fails("a.example/x");
    t.match(message, expected, script);
    t.match(message, `provider team of ${rig.settings.configFile}`, script);
    t.notMatch(message, "s3cret-s3cret", script);
  }
});

t.test("a plugin that hangs is given up", async (t) => {
  const script = 'setInterval(() => undefined, 1e6); console.error("waiting for the cloud");';
  const rig = open(
    t,
    { team: { script } },
    { run: (run) => runPlugin(run, { deadline: AbortSignal.timeout(300) }) },
  );
  t.match(await rig.fails("a.example/x"), /provider team of .* did not end within/);
});

t.test("what a plugin says of its environment is taken out", async (t) => {
  const env = [{ name: "KEY", value: "s3cret-s3cret" }];
  const talks = open(t, {
    team: {
      script: 'console.error("cannot use", process.env.KEY); console.log("x".repeat(2_000_000));',
      env,
    },
  });
  const tooMuch = await talks.fails("a.example/x");
  t.match(tooMuch, "and was killed");
  t.notMatch(tooMuch, "s3cret");
  const rig = open(t, {
    team: {
      script: 'console.error("cannot use", process.env.KEY); process.exit(1);',
      env,
    },
  });
  const message = await rig.fails("a.example/x");
  t.match(message, "cannot use [KEY]");
  t.notMatch(message, "s3cret");
});

t.test("a failure is not tried again for a moment", async (t) => {
  const script = `if (run === 1) process.exit(1);\n${ANSWERS_WITH_RUN}`;
  const rig = open(t, { team: { script } });
  const images = Array.from({ length: 100 }, (_, at) => `a.example/app${at}`);
  const all = await Promise.allSettled(images.map((image) => rig.find(image)));
  t.ok(all.every(({ status }) => status === "rejected"));
  t.equal(rig.runs("team").length, 1);
  rig.later(4999);
  t.match(await rig.fails("a.example/x"), /exit code 1/);
  rig.later(1);
  t.same(await rig.find("a.example/x"), ["u:2"]);
});

t.test("one image's failure is its own, when answers are good for an image", async (t) => {
  const auth = '{ "a.example": { username: "u", password: "p" } }';
  const script = `if (request.image.endsWith("/y")) process.exit(1);
    answer({ cacheKeyType: "Image", auth: ${auth} });`;
  const rig = open(t, { team: { script } });
  t.same(await rig.find("a.example/x"), ["u:p"]);
  t.match(await rig.fails("a.example/y"), /failed for a\.example\/y/);
  t.same(await rig.find("a.example/z"), ["u:p"]);
});

t.test("a log-in that was refused is fetched anew, unless it is new", async (t) => {
  const rig = open(t, { team: { script: ANSWERS_WITH_RUN } });
  const image = { registry: "a.example", repository: "x" };
  const [found] = await rig.providers.find(image);
  t.ok(found);
  if (found !== undefined) {
    rig.later(29_999);
    rig.providers.refused(found);
    t.same(await rig.find("a.example/x"), ["u:1"], "a new one is kept");
    rig.later(1);
    rig.providers.refused(found);
    t.same(await rig.find("a.example/x"), ["u:2"], "an older one is not");
    rig.later(30_000);
    rig.providers.refused(found);
    t.same(await rig.find("a.example/x"), ["u:2"], "what was refused before was another one");
  }
});

t.test("a changed file counts at once, and forgets only what changed", async (t) => {
  const same = { script: ANSWERS_WITH_RUN, matchImages: ["same.example"] };
  const team = { script: ANSWERS_WITH_RUN, matchImages: ["team.example"] };
  const rig = open(t, { same, team });
  t.same(await rig.find("same.example/x"), ["u:1"]);
  t.same(await rig.find("team.example/x"), ["u:1"]);
  rig.write({ same, team: { ...team, args: ["--other"] } });
  t.same(await rig.find("same.example/x"), ["u:1"]);
  t.same(await rig.find("team.example/x"), ["u:2"]);
  rig.write({ same });
  t.same(await rig.find("team.example/x"), []);
});
