import type { CloudAuth, UpstreamSettings } from "../settings.ts";
import type { CredentialSource, FoundCredential } from "./credential.ts";
import { CredentialError } from "./credential.ts";

/** An upstream's `auth` with a provider: the vendor's own library fetches short-lived log-ins. */
export class CloudLogin implements CredentialSource {
  readonly description: string;

  constructor(upstream: Pick<UpstreamSettings, "name" | "urls">, auth: CloudAuth) {
    this.description = `auth of upstream ${upstream.name}, with provider ${auth.provider}`;
  }

  find(): Promise<readonly FoundCredential[]> {
    return Promise.reject(new CredentialError(`${this.description} is not there yet`));
  }
}
