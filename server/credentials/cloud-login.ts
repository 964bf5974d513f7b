import type { CloudAuth } from "../settings.ts";
import { acrProvider } from "./cloud-acr.ts";
import { checkCloudAuth, ecrRegistryOf } from "./cloud-check.ts";
import { ecrProvider, ecrPublicProvider } from "./cloud-ecr.ts";
import { googleProvider } from "./cloud-google.ts";
import { KeptLogIn } from "./cloud-kept.ts";
import type { CloudProvider, CloudUpstream } from "./cloud-provider.ts";
import type { Credential, CredentialSource, FoundCredential } from "./credential.ts";
import { CredentialError } from "./credential.ts";

/** An upstream's `auth` with a provider: the vendor's own library fetches short-lived log-ins. */
export class CloudLogin implements CredentialSource {
  readonly description: string;
  readonly #logIn: KeptLogIn;

  /** @param now - the wall clock in milliseconds. */
  constructor(upstream: CloudUpstream, auth: CloudAuth, now: () => number = Date.now) {
    this.description = `auth of upstream ${upstream.name}, with provider ${auth.provider}`;
    const problem = checkCloudAuth(upstream.name, upstream.urls, auth);
    const provider = problem === undefined ? providerOf(upstream, auth) : refusing(problem);
    this.#logIn = new KeptLogIn({ description: this.description, provider, now });
  }

  async find(): Promise<readonly FoundCredential[]> {
    const credential: Credential = await this.#logIn.get();
    return [{ credential, from: this.description }];
  }

  refused({ credential }: FoundCredential): void {
    this.#logIn.refused(credential);
  }
}

function providerOf(upstream: CloudUpstream, auth: CloudAuth): CloudProvider {
  switch (auth.provider) {
    case "ecr": {
      const named = ecrRegistryOf(upstream.name, upstream.urls);
      const other = { region: auth.region ?? "", isFips: false, isDualStack: false };
      return ecrProvider(named ?? other, auth.endpoint);
    }
    case "ecr-public":
      return ecrPublicProvider(auth.endpoint);
    case "acr":
      return acrProvider(upstream, auth);
    case "google":
      return googleProvider(auth);
  }
}

/** The configuration's reader says this first; whoever comes another way gets no log-in either. */
function refusing(problem: string): CloudProvider {
  return {
    title: "the configuration",
    advice: "",
    fetch: () => Promise.reject(new CredentialError(problem)),
  };
}
