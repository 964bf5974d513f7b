import type { Test } from "tap";
import type { PolicySettings } from "../../server/policy-settings.ts";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";
import { IDENTITY, ISSUER } from "./policies.ts";
import type { PrivateSigstore } from "./private-sigstore.ts";
import { createPrivateSigstore } from "./private-sigstore.ts";
import { asBundle, asSignatureTag } from "./sign-placements.ts";
import type { KeySigner } from "./sign-with.ts";
import { keyless, keySigner } from "./sign-with.ts";
import type { AddedImage, Sign } from "./signed-images.ts";
import { addSignedImage } from "./signed-images.ts";
import type { ProxyOptions, TestProxy } from "./start-proxy.ts";
import { startProxy } from "./start-proxy.ts";

export const REPOSITORY = "team/app";
export const PLATFORMS: readonly string[] = ["linux/amd64", "linux/arm64"];
export const sigstore: PrivateSigstore = await createPrivateSigstore();
export const key: KeySigner = keySigner();
export const otherKey: KeySigner = keySigner();

export const byIdentity: Sign = async ({ digest }) =>
  asBundle(await sigstore.bundle({ digest, by: keyless(IDENTITY, ISSUER) }));
export const byKey: Sign = async ({ digest }) =>
  asBundle(await sigstore.bundle({ digest, by: key }));
export const byOtherKey: Sign = async ({ digest }) =>
  asBundle(await sigstore.bundle({ digest, by: otherKey }));
export const bySignatureTag: Sign = async ({ digest }) =>
  asSignatureTag([await sigstore.legacySignature({ digest, by: key })]);

/** A proxy with a policy in front of a registry that has images, signed or not. */
export interface PolicyRig {
  readonly upstream: FakeUpstream;
  readonly proxy: TestProxy;
  /** A manifest, by tag or digest. */
  ask(reference: string, init?: RequestInit): Promise<Response>;
  image(tag: string, ...signatures: readonly Sign[]): Promise<AddedImage>;
  index(tag: string, ...signatures: readonly Sign[]): Promise<AddedImage>;
}

/** `team.example`, also called `mirror.example`. Closed when the test ends. */
export async function startPolicyRig(
  t: Test,
  policy: PolicySettings,
  options: Partial<ProxyOptions> = {},
): Promise<PolicyRig> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [upstream.url], aliases: ["mirror.example"] }],
    policy,
    ...options,
  });
  const repository = REPOSITORY;
  return {
    upstream,
    proxy,
    ask: (reference, init) =>
      fetch(`${proxy.url}/v2/${REPOSITORY}/manifests/${reference}`, init ?? {}),
    image: (tag, ...signatures) => addSignedImage(upstream, { repository, tag, signatures }),
    index: (tag, ...signatures) =>
      addSignedImage(upstream, { repository, tag, platforms: PLATFORMS, signatures }),
  };
}

/** What a refused client is told. */
export async function messageOf(response: Response): Promise<string> {
  const body = (await response.json()) as { errors: { code: string; message: string }[] };
  return body.errors[0]?.message ?? "";
}
