import type { CredentialSettings, UpstreamSettings } from "../settings.ts";
import { CloudLogin } from "./cloud-login.ts";
import { ConfiguredLogin } from "./configured-login.ts";
import type { CredentialSource } from "./credential.ts";
import { DockerConfig } from "./docker-config.ts";
import { KubeletProviders } from "./kubelet-providers.ts";

/** What all upstreams without an `auth` of their own look into, in this order. */
export function sharedSources(settings: CredentialSettings): readonly CredentialSource[] {
  const { dockerConfigFile, kubeletProviders } = settings;
  return [
    ...(dockerConfigFile === undefined ? [] : [new DockerConfig(dockerConfigFile)]),
    ...(kubeletProviders === undefined ? [] : [new KubeletProviders(kubeletProviders)]),
  ];
}

/** Where one upstream's log-in is looked up. */
export function sourcesFor(
  upstream: Pick<UpstreamSettings, "name" | "urls" | "auth" | "caFile">,
  shared: readonly CredentialSource[],
): readonly CredentialSource[] {
  const { name, auth } = upstream;
  if (auth === undefined) {
    return shared;
  }
  return "provider" in auth ? [new CloudLogin(upstream, auth)] : [new ConfiguredLogin(name, auth)];
}
