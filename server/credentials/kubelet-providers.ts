import type { KubeletProviderSettings } from "../settings.ts";
import type { CredentialSource, FoundCredential } from "./credential.ts";
import { CredentialError } from "./credential.ts";

/** The kubelet's credential provider plugins. */
export class KubeletProviders implements CredentialSource {
  readonly description: string;

  constructor({ configFile }: KubeletProviderSettings) {
    this.description = `kubeletProviders ${configFile}`;
  }

  find(): Promise<readonly FoundCredential[]> {
    return Promise.reject(new CredentialError(`${this.description} is not there yet`));
  }
}
