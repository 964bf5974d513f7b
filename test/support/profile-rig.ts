import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { RegistryBehaviour } from "./profile-behaviour.ts";
import { ProfileRegistry } from "./profile-registry.ts";
import type { TestProxy } from "./start-proxy.ts";
import { startProxy } from "./start-proxy.ts";
import { bytesOfSize } from "./upstream-rig.ts";

/** Of every fake registry, at first. */
export const GOOD_PASSWORD = "s3cret-at-first";
/** Longer than a tag is believed, and than a refusal is remembered. */
const LATER_MS = 31_000;

export interface ProfileRig {
  readonly fake: ProfileRegistry;
  readonly proxy: TestProxy;
  /** Of the image's manifest. */
  readonly digest: string;
  /** What the proxy logs in with from now on, without being told. */
  configure(password: string): void;
  /** Until nothing is fresh, and no refusal remembered. */
  later(): void;
  get(path: string, method?: "GET" | "HEAD"): Promise<Response>;
  /** Pulls the image as a client does: whatever is not a 200 in there is thrown. */
  pull(): Promise<void>;
}

/** A proxy in front of one registry of a kind, with an image of two layers under the tag `1`. */
export async function openProfile(t: Test, behaviour: RegistryBehaviour): Promise<ProfileRig> {
  const fake = await ProfileRegistry.start(behaviour, GOOD_PASSWORD);
  t.teardown(() => fake[Symbol.asyncDispose]());
  const passwordFile = join(t.testdir({ password: `${GOOD_PASSWORD}\n` }), "password");
  const { repository, username, tokens } = behaviour;
  const image = fake.content.addImage(repository, "1", [bytesOfSize(300_000), bytesOfSize(10, 2)]);
  let nowMs = Date.now();
  const proxy = await startProxy(t, {
    upstreams: [
      {
        urls: [fake.url],
        tokenHosts: tokens?.isElsewhere ? ["localhost"] : [],
        auth: { username, passwordFile },
      },
    ],
    now: () => nowMs,
  });
  const get = (path: string, method = "GET"): Promise<Response> =>
    fetch(`${proxy.url}/v2/${path}`, { method });
  return {
    fake,
    proxy,
    digest: image.digest,
    configure: (password) => writeFileSync(passwordFile, password),
    later: () => {
      nowMs += LATER_MS;
    },
    get,
    pull: async () => {
      await wholeOf(await get(`${repository}/manifests/1`, "HEAD"));
      await verified(await get(`${repository}/manifests/1`), image.digest);
      for (const digest of [image.config, ...image.layers]) {
        await verified(await get(`${repository}/blobs/${digest}`), digest);
      }
    },
  };
}

async function verified(response: Response, digest: string): Promise<void> {
  const bytes = await wholeOf(response);
  const found = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  if (found !== digest) {
    throw new Error(`${response.url} sent ${found}`);
  }
}

async function wholeOf(response: Response): Promise<Buffer> {
  const bytes = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200) {
    throw new Error(`${response.url} answered ${response.status}: ${bytes}`);
  }
  return bytes;
}
