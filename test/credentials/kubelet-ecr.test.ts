import { dirname, join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import {
  checkKubeletProviders,
  KubeletProviders,
} from "../../server/credentials/kubelet-providers.ts";
import type { KubeletProviderSettings } from "../../server/settings.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { motoEnvironment, startMoto } from "../support/moto.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";
import { findTool, toolOptions } from "../support/tools.ts";

const ACCOUNT = "123456789012";
const REGISTRY = `${ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com`;
const REPOSITORY = "team/app";
/** What moto makes of an account. */
const PASSWORD = `${ACCOUNT}-auth-token`;
const PLUGIN = "ecr-credential-provider";

/** The configuration that AWS documents for nodes, with moto's address in its environment. */
function settingsFor(t: Test, motoUrl: string): KubeletProviderSettings {
  const variables = Object.entries(motoEnvironment(motoUrl)).map(
    ([name, value]) => `      - { name: ${name}, value: ${JSON.stringify(value)} }\n`,
  );
  const config = `
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ${PLUGIN}
    matchImages:
      - "*.dkr.ecr.*.amazonaws.com"
      - "*.dkr.ecr.*.amazonaws.com.cn"
    defaultCacheDuration: 12h0m0s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials]
    env:
${variables.join("")}`;
  const folder = t.testdir({ "config.yaml": config });
  return { configFile: join(folder, "config.yaml"), binDir: dirname(findTool(PLUGIN) ?? "") };
}

interface Rig {
  readonly upstream: FakeUpstream;
  readonly proxy: TestProxy;
  readonly settings: KubeletProviderSettings;
  readonly manifestUrl: string;
}

async function rig(t: Test, motoUrl: string): Promise<Rig> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  await upstream.requireAuth({ scheme: "basic", username: "AWS", password: PASSWORD });
  upstream.addImage(REPOSITORY, "v1", []);
  const settings = settingsFor(t, motoUrl);
  const proxy = await startProxy(t, {
    upstreams: [{ name: REGISTRY, urls: [upstream.url] }],
    credentials: { kubeletProviders: settings },
  });
  return { upstream, proxy, settings, manifestUrl: `${proxy.url}/v2/${REPOSITORY}/manifests/v1` };
}

t.test("the real ECR provider logs a pull in", toolOptions(PLUGIN, "moto_server"), async (t) => {
  const { upstream, settings, manifestUrl } = await rig(t, await startMoto(t));
  t.same(checkKubeletProviders(settings), []);
  const response = await fetch(manifestUrl);
  t.equal(response.status, 200);
  await response.arrayBuffer();
  const expected = `Basic ${Buffer.from(`AWS:${PASSWORD}`).toString("base64")}`;
  t.ok(upstream.requests.some(({ headers }) => headers.authorization === expected));
});

t.test("when AWS cannot be reached, the pull says so", toolOptions(PLUGIN), async (t) => {
  // The discard port: nothing listens there.
  const { upstream, settings, manifestUrl } = await rig(t, "http://127.0.0.1:9");
  const response = await fetch(manifestUrl);
  t.equal(response.status, 503);
  const text = await response.text();
  t.match(text, `kubeletProviders ${settings.configFile} failed`);
  t.notMatch(text, "test-secret");
  const asked = new KubeletProviders(settings).find({ registry: REGISTRY, repository: REPOSITORY });
  const failed = new RegExp(
    `provider ${PLUGIN} of .* failed for ${REGISTRY}/${REPOSITORY} with exit`,
  );
  await t.rejects(asked, { name: "CredentialError", message: failed });
  t.same(upstream.requests, [], "to go on without a log-in would only end in a refusal");
});
