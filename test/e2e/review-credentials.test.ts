import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { KeptLogIn } from "../../server/credentials/cloud-kept.ts";
import type { CloudProvider } from "../../server/credentials/cloud-provider.ts";
import type { Credential } from "../../server/credentials/credential.ts";
import { CREDENTIAL_LIMITS } from "../../server/limits.ts";
import type { CredentialSettings } from "../../server/settings.ts";
import { toolOptions } from "../support/tools.ts";
import { errorOf, openFake, openUpstream } from "../support/upstream-rig.ts";

/** A plugin that has another password each time, and lets none of them be kept. */
function eagerPlugin(t: Test, extra = ""): CredentialSettings {
  const response = {
    apiVersion: "credentialprovider.kubelet.k8s.io/v1",
    kind: "CredentialProviderResponse",
    cacheKeyType: "Image",
    cacheDuration: "0s",
    auth: { "127.0.0.1:*": {}, "team.example": { username: "robot", password: "PASSWORD" } },
  };
  const folder = t.testdir({
    eager: `#!/bin/sh
${extra}
cat > /dev/null
printf '%s' '${JSON.stringify(response)}' | sed "s/PASSWORD/$$/"
`,
    "providers.yaml": JSON.stringify({
      apiVersion: "kubelet.config.k8s.io/v1",
      kind: "CredentialProviderConfig",
      providers: [
        {
          name: "eager",
          matchImages: ["team.example"],
          defaultCacheDuration: "0s",
          apiVersion: "credentialprovider.kubelet.k8s.io/v1",
        },
      ],
    }),
  });
  chmodSync(join(folder, "eager"), 0o755);
  const configFile = join(folder, "providers.yaml");
  return { kubeletProviders: { configFile, binDir: folder } };
}

t.test("log-ins that are always new are tried a few times only", async (t) => {
  const fake = await openFake(t);
  await fake.requireAuth({ scheme: "basic", username: "robot", password: "another" });
  const { upstream } = openUpstream(t, [fake.url], { credentials: eagerPlugin(t) });
  const aborter = new AbortController();
  fake.waitFor({}).catch(() => undefined);
  const timer = setTimeout(() => aborter.abort(new Error("it goes on and on")), 4000);
  const error = await errorOf(
    upstream.headManifest({ repository: "a/app", reference: "v1", signal: aborter.signal }),
  );
  clearTimeout(timer);
  t.match(error, { code: "upstream-refused" });
  const logIns = new Set(fake.requests.map(({ headers }) => headers.authorization));
  t.ok(logIns.size <= CREDENTIAL_LIMITS.candidatesMax + 1, `${logIns.size} log-ins were tried`);
});

t.test(
  "a slow credential helper is not held against the registry",
  toolOptions("sleep"),
  async (t) => {
    const fake = await openFake(t);
    await fake.requireAuth({ scheme: "basic", may: () => true });
    const marker = join(t.testdir(), "has-run");
    // As if the plugin had taken so long.
    const now = (): number => performance.now() + (existsSync(marker) ? 29_000 : 0);
    const { set, upstream } = openUpstream(t, [fake.url], {
      credentials: eagerPlugin(t, `touch ${marker}`),
      surroundings: { now },
    });
    const asked = Array.from({ length: 12 }, (_, index) =>
      errorOf(upstream.headManifest({ repository: `a/app-${index}`, reference: "v1" })),
    );
    for (const error of await Promise.all(asked)) {
      t.match(error, { message: /log-in|credential/ });
    }
    t.same(set.health(), [{ name: "team.example", isUp: true }]);
    const error = await errorOf(upstream.headManifest({ repository: "a/app", reference: "v1" }));
    t.match(error, { code: "manifest-unknown" }, "the registry is asked as before");
  },
);

t.test("a broken credential helper says nothing of a registry that is down", async (t) => {
  const fake = await openFake(t);
  const marker = join(t.testdir(), "is-broken");
  const { set, upstream } = openUpstream(t, [fake.url], {
    credentials: eagerPlugin(t, `test ! -e ${marker} || exit 1`),
  });
  await fake.stop();
  await errorOf(upstream.headManifest({ repository: "a/app", reference: "v1" }));
  t.match(set.health(), [{ isUp: false }]);
  writeFileSync(marker, "");
  const error = await errorOf(upstream.headManifest({ repository: "b/app", reference: "v1" }));
  t.match(error, { message: /cannot be looked up/ });
  t.match(set.health(), [{ isUp: false }]);
});

t.test("a kept log-in survives that it cannot be renewed", async (t) => {
  let nowMs = 0;
  let isDown = false;
  const credential: Credential = { kind: "basic", username: "AWS", password: "secret" };
  const provider: CloudProvider = {
    title: "A cloud",
    advice: "wait",
    fetch: () =>
      isDown
        ? Promise.reject(new Error("down"))
        : Promise.resolve({ credential, expiresAt: nowMs + 43_200_000 }),
  };
  const logIn = new KeptLogIn({ description: "auth", provider, now: () => nowMs });
  t.same(await logIn.get(), credential);
  nowMs += 3_600_000;
  isDown = true;
  logIn.refused(credential); // of an image that is not there: ECR, Artifact Registry say 403
  t.same(await logIn.get(), credential, "it is good for all other images");
});
