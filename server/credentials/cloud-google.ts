import type { AuthClient, gaxios } from "google-auth-library";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { CloudAuth } from "../settings.ts";
import type { CloudProvider } from "./cloud-provider.ts";
import { isToken, loadLibrary } from "./cloud-provider.ts";
import { CredentialError } from "./credential.ts";

type Library = typeof import("google-auth-library");

/**
 * All that pulling needs, from Artifact Registry as well; with cloud-platform a token would be good
 * for whatever the account may do.
 *
 * @see https://cloud.google.com/artifact-registry/docs/integrate-compute
 */
const SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";
/** The user name that says that the password is an access token. */
const TOKEN_USERNAME = "oauth2accesstoken";
const ANY_URL = [/^/];
/** Where the library asks for tokens, whatever a key file says. */
const TOKEN_ORIGIN = "https://oauth2.googleapis.com";

/**
 * An access token, good for an hour: of a key file, or of what Google calls application default
 * credentials.
 */
export function googleProvider({ keyFile, endpoint }: CloudAuth): CloudProvider {
  const account = keyFile === undefined ? "a service account" : `the account of ${keyFile}`;
  const how =
    keyFile === undefined
      ? "set keyFile or GOOGLE_APPLICATION_CREDENTIALS to a key of a service account, or run as one, and "
      : "";
  return {
    title: "Google Cloud",
    advice: `${how}give ${account} the role roles/artifactregistry.reader`,
    fetch: async (signal) => {
      const library = await loadLibrary("google-auth-library", () => import("google-auth-library"));
      const transporter = transporterOf(library, endpoint, signal);
      const client = await clientOf(library, keyFile, transporter);
      const { token } = await client.getAccessToken();
      if (!isToken(token)) {
        throw new CredentialError(
          "it was answered without a usable access_token: look at what answers in place of Google " +
            "(endpoint, GCE_METADATA_HOST, a proxy)",
        );
      }
      return {
        credential: { kind: "basic", username: TOKEN_USERNAME, password: token },
        expiresAt: client.credentials.expiry_date ?? undefined,
      };
    },
  };
}

/**
 * The library's own search for default credentials starts gcloud to learn a project's name, and
 * believes for ever that there is no metadata server when that is late. Its steps are not like that.
 *
 * A file of workload identity federation names urls and files that are read: it is the operator's,
 * as the key is, or names itself by an environment variable.
 */
async function clientOf(
  { GoogleAuth, Compute }: Library,
  keyFile: string | undefined,
  transporter: gaxios.Gaxios,
): Promise<AuthClient> {
  const auth = new GoogleAuth({ scopes: [SCOPE] });
  if (keyFile !== undefined) {
    return await auth._getApplicationCredentialsFromFilePath(keyFile, { transporter });
  }
  return (
    (await auth._tryGetApplicationCredentialsFromEnvironmentVariable({ transporter })) ??
    (await auth._tryGetApplicationCredentialsFromWellKnownFile({ transporter })) ??
    new Compute({ scopes: [SCOPE] })
  );
}

function transporterOf(
  { gaxios: { Gaxios, instance }, gcpMetadata }: Library,
  endpoint: string | undefined,
  signal: AbortSignal,
): gaxios.Gaxios {
  // The metadata server is asked by an instance of the library's own. Neither uses a proxy that
  // stands in the environment: tokens of the former come by plain http.
  instance.defaults.noProxy = ANY_URL;
  // Where the library believes to be at Google, it waits for that server without an end.
  gcpMetadata.setGCPResidency(false);
  const transporter = new Gaxios({
    timeout: CREDENTIAL_LIMITS.cloudRequestTimeoutMs,
    signal,
    noProxy: ANY_URL,
  });
  if (endpoint !== undefined) {
    transporter.interceptors.request.add({
      resolved: (options) => {
        if (options.url.origin === TOKEN_ORIGIN) {
          options.url = new URL(endpoint);
        }
        return Promise.resolve(options);
      },
    });
  }
  return transporter;
}
