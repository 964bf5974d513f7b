import { registerHooks } from "node:module";
import { mock } from "node:test";
import t from "tap";
import { checkCloudAuth } from "../../server/credentials/cloud-check.ts";
import { KeptLogIn } from "../../server/credentials/cloud-kept.ts";
import { CloudLogin } from "../../server/credentials/cloud-login.ts";
import { describeProblem } from "../../server/credentials/cloud-problem.ts";
import type { CloudGrant, CloudProvider } from "../../server/credentials/cloud-provider.ts";
import type { Credential } from "../../server/credentials/credential.ts";
import { CredentialError } from "../../server/credentials/credential.ts";
import type { CloudAuth } from "../../server/settings.ts";

const HOUR_MS = 3_600_000;

/** A cloud by script, on a clock that stands still. */
function rig(): {
  logIn: KeptLogIn;
  clock: { ms: number };
  asked: () => number;
  answers: (answer: () => Promise<CloudGrant>) => void;
} {
  const clock = { ms: 1_000_000 };
  let count = 0;
  let answer = (): Promise<CloudGrant> => Promise.resolve(grant(count, clock.ms + HOUR_MS));
  const provider: CloudProvider = {
    title: "Cloud",
    advice: "grant something",
    fetch: () => {
      count += 1;
      return answer();
    },
  };
  return {
    logIn: new KeptLogIn({ description: "auth of x", provider, now: () => clock.ms }),
    clock,
    asked: () => count,
    answers: (next) => {
      answer = next;
    },
  };
}

function grant(number: number, expiresAt: number | undefined): CloudGrant {
  return { credential: basic(number), expiresAt };
}

function basic(number: number): Credential {
  return { kind: "basic", username: "AWS", password: `password-${number}` };
}

t.test("a log-in is fetched once for all who wait, and kept", async (t) => {
  const { logIn, asked } = rig();
  const all = await Promise.all([logIn.get(), logIn.get(), logIn.get()]);
  t.same(all, [basic(1), basic(1), basic(1)]);
  t.same(await logIn.get(), basic(1));
  t.equal(asked(), 1);
});

t.test("it is renewed while it is still good, and nobody waits for that", async (t) => {
  const { logIn, clock, asked, answers } = rig();
  await logIn.get();
  clock.ms += 0.81 * HOUR_MS;
  const renewal = Promise.withResolvers<CloudGrant>();
  answers(() => renewal.promise);
  t.same(await logIn.get(), basic(1));
  t.same(await logIn.get(), basic(1));
  t.equal(asked(), 2, "one renewal at a time");
  renewal.resolve(grant(2, clock.ms + HOUR_MS));
  await new Promise(setImmediate);
  t.same(await logIn.get(), basic(2));
});

t.test("a renewal that fails is tried again a minute later, and the old one used on", async (t) => {
  const { logIn, clock, asked, answers } = rig();
  await logIn.get();
  clock.ms += 0.81 * HOUR_MS;
  answers(() => Promise.reject(new Error("down")));
  await logIn.get();
  await new Promise(setImmediate);
  clock.ms += 59_000;
  t.same(await logIn.get(), basic(1));
  t.equal(asked(), 2);
  clock.ms += 1000;
  t.same(await logIn.get(), basic(1));
  t.equal(asked(), 3);
});

t.test("it is not used any more shortly before its end", async (t) => {
  const { logIn, clock } = rig();
  await logIn.get();
  clock.ms += HOUR_MS - 60_000;
  t.same(await logIn.get(), basic(2));
});

t.test("what it says of its end is believed within bounds", async (t) => {
  const cases: [said: number | undefined, lastsMs: number][] = [
    [undefined, 240_000],
    [Number.NaN, 240_000],
    [Number.POSITIVE_INFINITY, 240_000],
    [9e15, 12 * HOUR_MS - 60_000],
    [0, 2500],
  ];
  for (const [said, lastsMs] of cases) {
    const { logIn, clock, answers } = rig();
    let number = 0;
    answers(() => Promise.resolve(grant(++number, said)));
    await logIn.get();
    clock.ms += lastsMs - 1;
    t.same(await logIn.get(), basic(1), `${said}`);
    await new Promise(setImmediate);
    const { logIn: other, clock: later, answers: answersLater } = rig();
    number = 0;
    answersLater(() => Promise.resolve(grant(++number, said)));
    await other.get();
    later.ms += lastsMs;
    t.same(await other.get(), basic(2), `${said}, later`);
  }
});

t.test("a failure is remembered for some seconds, and says what to do", async (t) => {
  const { logIn, clock, asked, answers } = rig();
  answers(() => Promise.reject(new Error("no route")));
  const message = "auth of x: Cloud gave no log-in: no route; grant something";
  await t.rejects(logIn.get(), new CredentialError(message));
  await t.rejects(logIn.get(), { message });
  t.equal(asked(), 1);
  clock.ms += 5000;
  answers(() => Promise.resolve(grant(2, undefined)));
  t.same(await logIn.get(), basic(2));
});

t.test("a failure carries nothing of the library's error with it", async (t) => {
  const { logIn, answers } = rig();
  answers(() => Promise.reject(Object.assign(new Error("bad"), { config: { secret: "hidden" } })));
  const error: unknown = await logIn.get().catch((caught: unknown) => caught);
  t.ok(error instanceof CredentialError);
  t.equal((error as CredentialError).cause, undefined);
  t.notMatch(JSON.stringify(error), /hidden/);
});

t.test("a cloud that does not answer is given up", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const { logIn, answers } = rig();
  answers(() => new Promise<never>(() => undefined));
  const refused = t.rejects(logIn.get(), { message: /gave no log-in within 10 s: look whether/ });
  mock.timers.tick(10_000);
  await refused;
});

t.test("one that a registry refused is fetched anew, unless it is new", async (t) => {
  const { logIn, clock, asked } = rig();
  const first = await logIn.get();
  logIn.refused(first);
  t.same(await logIn.get(), basic(1), "another one would be refused as well");
  clock.ms += 60_000;
  logIn.refused({ kind: "registry", token: "somebody else's" });
  t.same(await logIn.get(), basic(1));
  logIn.refused(first);
  t.same(await logIn.get(), basic(2));
  t.equal(asked(), 2);
});

t.test("a library that was left out is named, with how to install it", async (t) => {
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      if (specifier === "@azure/identity") {
        throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
      }
      return next(specifier, context);
    },
  });
  t.teardown(() => hooks.deregister());
  const upstream = { name: "team.azurecr.io", urls: ["https://team.azurecr.io"] };
  await t.rejects(new CloudLogin(upstream, { provider: "acr" }).find(), {
    message:
      "auth of upstream team.azurecr.io, with provider acr: it needs the package " +
      "@azure/identity, which is not installed: run npm ci in Sluice's folder, and start it again",
  });
});

t.test("a registry of the provider gets its log-ins, another one does not", async (t) => {
  const fine: [name: string, url: string, auth: CloudAuth][] = [
    ["123456789012.dkr.ecr.eu-west-1.amazonaws.com", "", { provider: "ecr" }],
    ["123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "", { provider: "ecr" }],
    ["123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "", { provider: "ecr" }],
    ["123456789012.dkr-ecr.eu-west-1.on.aws", "", { provider: "ecr" }],
    ["team.example", "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", { provider: "ecr" }],
    ["team.example", "", { provider: "ecr", region: "eu-west-1" }],
    ["public.ecr.aws", "", { provider: "ecr-public" }],
    ["team.azurecr.io", "", { provider: "acr" }],
    ["team.germanywestcentral.geo.azurecr.io", "", { provider: "acr" }],
    ["team.azurecr.cn", "", { provider: "acr" }],
    ["team.example", "", { provider: "acr", endpoint: "https://team.azurecr.io" }],
    ["127.0.0.1:5000", "http://127.0.0.1:5000", { provider: "acr" }],
    ["europe-docker.pkg.dev", "", { provider: "google" }],
    ["eu.gcr.io", "", { provider: "google" }],
    ["gcr.io", "https://mirror.example", { provider: "google" }],
  ];
  for (const [name, url, auth] of fine) {
    t.equal(checkCloudAuth(name, [url === "" ? `https://${name}` : url], auth), undefined, name);
  }
  const wrong: [name: string, url: string, auth: CloudAuth, problem: RegExp][] = [
    [
      "team.azurecr.io.evil.example",
      "",
      { provider: "acr" },
      /team\.azurecr\.io\.evil\.example would get/,
    ],
    ["evil-azurecr.io", "", { provider: "acr" }, /would get log-ins of provider acr/],
    ["azurecr.io.", "https://azurecr.io.evil.example", { provider: "acr" }, /would get/],
    ["team.azurecr.io", "https://mirror.example", { provider: "acr" }, /mirror.*set endpoint/],
    ["gcr.io.evil.example", "", { provider: "google" }, /would get/],
    ["evilgcr.io", "", { provider: "google" }, /would get/],
    ["x.example", "", { provider: "google", endpoint: "https://x.example" }, /would get/],
    ["public.ecr.aws.example", "", { provider: "ecr-public" }, /would get/],
    [
      "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
      "",
      { provider: "ecr" },
      /would get log-ins of provider ecr.*ACCOUNT\.dkr\.ecr\.REGION/,
    ],
    ["12345678901.dkr.ecr.eu-west-1.amazonaws.com", "", { provider: "ecr" }, /would get/],
    ["127.0.0.1:5000", "http://127.0.0.1:5000", { provider: "ecr" }, /set region/],
    ["team.azurecr.io", "http://team.azurecr.io", { provider: "acr" }, /plain http/],
    ["team.azurecr.io", "", { provider: "acr", endpoint: "http://team.azurecr.io" }, /plain http/],
    ["team.azurecr.io", "", { provider: "acr", endpoint: "https://a:b@x.example" }, /password/],
    ["team.azurecr.io", "", { provider: "acr", endpoint: "nowhere" }, /has to be a url/],
    ["team.azurecr.io", "", { provider: "acr", region: "x" }, /region is for provider ecr/],
    ["public.ecr.aws", "", { provider: "ecr-public", keyFile: "x" }, /for provider google/],
    ["gcr.io", "", { provider: "google", clientId: "x" }, /clientId is for provider acr/],
  ];
  for (const [name, url, auth, problem] of wrong) {
    const urls = [url === "" ? `https://${name}` : url];
    t.match(checkCloudAuth(name, urls, auth), problem, name);
    await t.rejects(new CloudLogin({ name, urls }, auth).find(), { message: problem });
  }
});

t.test("what a library says is told without its secrets", (t) => {
  const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJlMTIzNDU2Nzg5MDEy";
  const arn =
    "arn:aws:sts::123456789012:assumed-role/NodeInstanceRole-1XK3J5A7Q9P2/i-0a1b2c3d4e5f6";
  const guid = "8f14e45f-ceea-467f-a0e6-1f3b5c7d9e0a";
  const hidden = [
    `token was ${jwt}`,
    `x-amz-security-token:${"IQoJb3JpZ2luX2VjE".repeat(3)}`,
    `the form was client_secret=correct-horse&grant_type=x`,
    `body {"refresh_token": "correct-horse"}`,
    `Authorization: Bearer correct-horse`,
    `key wJalrXUtnFEMI/K7MDENG/bPxRfiCY1234567890`,
  ];
  for (const text of hidden) {
    t.notMatch(describeProblem(new Error(text)), /correct-horse|eyJ|c2ln|IQoJ|wJal|bPxR/, text);
  }
  for (const kept of [arn, guid, "AADSTS7000215: Invalid client secret provided", "ECONNREFUSED"]) {
    t.match(describeProblem(new Error(`User: ${kept} failed`)), kept, kept);
  }
  const azure = [
    "EnvironmentCredential authentication failed. To troubleshoot, visit https://aka.ms/x.",
    "Status code: 401",
    "More details:",
    "AADSTS7000215: Invalid client secret provided. Headers: {x-ms: secret}",
  ].join("\n");
  t.equal(
    describeProblem(new Error(azure)),
    "EnvironmentCredential authentication failed. Status code: 401 More details: " +
      "AADSTS7000215: Invalid client secret provided.",
  );
  const parsed = new SyntaxError(`Unexpected token 'c', "correct-horse" is not valid JSON`);
  t.notMatch(describeProblem(parsed), /correct-horse/);
  t.equal(describeProblem("text"), "an error without a message");
  const long = describeProblem(new Error(`\u001b[31m${"word ".repeat(5000)}`));
  t.equal(long.length, 500);
  t.match(long, /^[\x20-\x7e]*$/);
  const denied = Object.assign(new Error("not authorized"), {
    name: "AccessDeniedException",
    $metadata: { httpStatusCode: 400 },
  });
  t.equal(describeProblem(denied), "AccessDeniedException: not authorized (status 400)");
  t.end();
});
