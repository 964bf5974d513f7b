import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { EcrRegistry } from "./cloud-hosts.ts";
import type { CloudGrant, CloudProvider } from "./cloud-provider.ts";
import { isToken, loadLibrary } from "./cloud-provider.ts";
import { CredentialError } from "./credential.ts";

const HOW =
  "give this process AWS credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, " +
  "a web identity, or the role of its pod or machine) that may ";
/** Where ECR Public has its API, wherever one asks from. */
const PUBLIC_REGION = "us-east-1";

interface ClientPlace {
  readonly region: string;
  readonly endpoint?: string | undefined;
}

/** What both of AWS's registries hand out. */
interface AuthorizationData {
  readonly authorizationToken?: string | undefined;
  readonly expiresAt?: Date | undefined;
}

/**
 * A log-in to private registries, good for 12 hours in all of a region that one may read.
 *
 * @see https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
 */
export function ecrProvider(registry: EcrRegistry, endpoint: string | undefined): CloudProvider {
  return {
    title: "Amazon ECR",
    advice: `${HOW}ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer`,
    fetch: async (signal) => {
      const { ECRClient, GetAuthorizationTokenCommand } = await loadLibrary(
        "@aws-sdk/client-ecr",
        () => import("@aws-sdk/client-ecr"),
      );
      const client = new ECRClient({
        ...clientOptions({ region: registry.region, endpoint }),
        ...(endpoint === undefined && {
          useFipsEndpoint: registry.isFips,
          useDualstackEndpoint: registry.isDualStack,
        }),
      });
      try {
        const command = new GetAuthorizationTokenCommand({});
        const { authorizationData } = await client.send(command, { abortSignal: signal });
        return grantOf(authorizationData?.[0]);
      } finally {
        client.destroy();
      }
    },
  };
}

/** The same for public.ecr.aws, which limits whoever is not logged in more. */
export function ecrPublicProvider(endpoint: string | undefined): CloudProvider {
  return {
    title: "Amazon ECR Public",
    advice: `${HOW}ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken`,
    fetch: async (signal) => {
      const { ECRPUBLICClient, GetAuthorizationTokenCommand } = await loadLibrary(
        "@aws-sdk/client-ecr-public",
        () => import("@aws-sdk/client-ecr-public"),
      );
      const client = new ECRPUBLICClient(clientOptions({ region: PUBLIC_REGION, endpoint }));
      try {
        const command = new GetAuthorizationTokenCommand({});
        const { authorizationData } = await client.send(command, { abortSignal: signal });
        return grantOf(authorizationData);
      } finally {
        client.destroy();
      }
    },
  };
}

/** The SDK's own timeouts are none at all, and a breach of them only a line on the console. */
function clientOptions({ region, endpoint }: ClientPlace): {
  readonly region: string;
  readonly endpoint?: string;
  readonly maxAttempts: number;
  readonly requestHandler: {
    readonly connectionTimeout: number;
    readonly requestTimeout: number;
    readonly throwOnRequestTimeout: boolean;
  };
} {
  const { cloudRequestTimeoutMs } = CREDENTIAL_LIMITS;
  return {
    region,
    ...(endpoint !== undefined && { endpoint }),
    maxAttempts: 2,
    requestHandler: {
      connectionTimeout: cloudRequestTimeoutMs,
      requestTimeout: cloudRequestTimeoutMs,
      throwOnRequestTimeout: true,
    },
  };
}

/** The token is base64 of `AWS:password`. */
function grantOf(data: AuthorizationData | undefined): CloudGrant {
  const given = data?.authorizationToken;
  const text = isToken(given) ? Buffer.from(given, "base64").toString("utf8") : "";
  const colon = text.indexOf(":");
  const username = text.slice(0, Math.max(colon, 0));
  const password = text.slice(colon + 1);
  if (!isToken(username) || !isToken(password)) {
    throw new CredentialError(
      "it was answered without an authorizationToken that holds a log-in: look at what answers " +
        "in place of AWS (endpoint, AWS_ENDPOINT_URL, a proxy)",
    );
  }
  return {
    credential: { kind: "basic", username, password },
    expiresAt: data?.expiresAt?.getTime(),
  };
}
