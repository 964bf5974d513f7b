import { Agent } from "node:http";
import { Agent as TlsAgent } from "node:https";
import type { AccessToken, TokenCredential } from "@azure/identity";
import type { CloudAuth } from "../settings.ts";
import { postForm } from "./cloud-post.ts";
import { describeProblem, withoutSecrets } from "./cloud-problem.ts";
import type { CloudGrant, CloudProvider, CloudUpstream } from "./cloud-provider.ts";
import { isToken, loadLibrary } from "./cloud-provider.ts";
import { CredentialError } from "./credential.ts";

/** Good for container registries only, in every cloud; one for management would be good for all. */
const SCOPE = "https://containerregistry.azure.net/.default";
/** The user name that says that the password is a token. */
const TOKEN_USERNAME = "00000000-0000-0000-0000-000000000000";
/** Where identities are known, by the end of the registry's name; elsewhere AZURE_AUTHORITY_HOST decides. */
const AUTHORITY_HOSTS: readonly (readonly [string, string])[] = [
  [".azurecr.cn", "https://login.chinacloudapi.cn"],
  [".azurecr.us", "https://login.microsoftonline.us"],
];
const ANSWER_TEXT_MAX = 200;

/**
 * A refresh token of one registry, good for some hours: what Entra ID says of who we are is
 * exchanged for it, at the registry.
 *
 * @see https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
 */
export function acrProvider(upstream: CloudUpstream, auth: CloudAuth): CloudProvider {
  const base = auth.endpoint ?? upstream.urls[0] ?? `https://${upstream.name}`;
  return {
    title: "Azure",
    advice:
      "give this process an Azure identity (AZURE_TENANT_ID, AZURE_CLIENT_ID and " +
      "AZURE_CLIENT_SECRET, a workload identity, or a managed identity, named by clientId when " +
      "there are several) that has the role AcrPull on the registry",
    fetch: async (signal) => {
      const { token } = await identityToken(base, auth, signal);
      return await exchange({ base, token, caFile: upstream.caFile, signal });
    },
  };
}

/**
 * Of the chain that Azure's DefaultAzureCredential has, the part for machines: the other part
 * starts developers' command line tools.
 */
async function identityToken(
  base: string,
  { clientId }: CloudAuth,
  signal: AbortSignal,
): Promise<AccessToken> {
  const azure = await loadLibrary("@azure/identity", () => import("@azure/identity"));
  const host = new URL(base).hostname;
  const authorityHost = AUTHORITY_HOSTS.find(([end]) => host.endsWith(end))?.[1];
  // With an agent of its own, the library does not look for a proxy in the environment.
  const common = {
    agent: new TlsAgent(),
    retryOptions: { maxRetries: 1 },
    ...(authorityHost !== undefined && { authorityHost }),
  };
  const own = { ...common, ...(clientId !== undefined && { clientId }) };
  // The probe is as in that chain: a machine without an identity is found out in a second.
  const managed = { ...own, agent: new Agent(), sendProbeRequest: true };
  const chain = new azure.ChainedTokenCredential(
    orUnavailable(() => new azure.EnvironmentCredential(common)),
    orUnavailable(() => new azure.WorkloadIdentityCredential(own)),
    orUnavailable(() => new azure.ManagedIdentityCredential(managed)),
  );
  return await chain.getToken(SCOPE, { abortSignal: signal });
}

/** Some of them refuse to be made where they are of no use: that must not end the chain. */
function orUnavailable(make: () => TokenCredential): TokenCredential {
  try {
    return make();
  } catch (error) {
    return { getToken: () => Promise.reject(error) };
  }
}

interface Exchange {
  readonly base: string;
  readonly token: string;
  readonly caFile: string | undefined;
  readonly signal: AbortSignal;
}

async function exchange({ base, token, caFile, signal }: Exchange): Promise<CloudGrant> {
  const url = new URL(`${base.replace(/\/+$/, "")}/oauth2/exchange`);
  const form = new URLSearchParams({
    grant_type: "access_token",
    service: url.host,
    access_token: token,
  });
  const answer = await postForm({ url, form, caFile, signal }).catch(
    (error: unknown): CredentialError => {
      const why = error instanceof CredentialError ? error.message : describeProblem(error);
      return new CredentialError(
        `${url.host} cannot be asked to exchange Azure's token for one of its own: ${why}; ` +
          "look whether it can be reached from here",
      );
    },
  );
  if (answer instanceof CredentialError) {
    throw answer;
  }
  if (answer.status !== 200) {
    throw refusal(url, answer.status, answer.body);
  }
  const refreshToken = parseObject(answer.body)["refresh_token"];
  if (!isToken(refreshToken)) {
    throw new CredentialError(
      `${url.host} answered the exchange of Azure's token without a usable refresh_token: ` +
        "look whether it is a registry of Azure",
    );
  }
  return {
    credential: { kind: "identity", username: TOKEN_USERNAME, token: refreshToken },
    expiresAt: expiryOf(refreshToken),
  };
}

function refusal(url: URL, status: number, body: string): CredentialError {
  const text = withoutSecrets(messageIn(body)).slice(0, ANSWER_TEXT_MAX);
  const quoted = text === "" ? "" : `: ${text}`;
  return new CredentialError(
    `${url.host} answered ${status} when Azure's token was to be exchanged for one of its own` +
      `${quoted}; give the identity the role AcrPull on the registry, and look whether its ` +
      "network rules let this machine in",
  );
}

/** Of an error in the form that registries send. */
function messageIn(body: string): string {
  const { errors } = parseObject(body);
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const message: unknown =
    typeof first === "object" && first !== null ? Reflect.get(first, "message") : undefined;
  return typeof message === "string" ? message : "";
}

/** Read without a check of its signature, so that it may only shorten or, within bounds, prolong. */
function expiryOf(token: string): number | undefined {
  const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8");
  const { exp } = parseObject(payload);
  return typeof exp === "number" ? exp * 1000 : undefined;
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Readonly<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}
