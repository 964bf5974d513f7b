import type { Static, TUnsafe } from "typebox";
import Type from "typebox";
import type { AuthDraft, CredentialsDraft } from "./draft.ts";

// How we log in to registries: the parts of schema.ts about it.
const closed = { additionalProperties: false } as const;

const FilePath = Type.String({ minLength: 1, title: "a file's path" });

/** One mapping for both forms, so that a key of the wrong one can be told from a slip. */
const Auth = Type.Object(
  {
    username: Type.Optional(
      Type.String({ minLength: 1, description: "The user that we log in as." }),
    ),
    passwordFile: Type.Optional(
      Type.String({ ...FilePath, description: "A file that holds the password." }),
    ),
    password: Type.Optional(
      Type.String({
        title: `a variable such as \${TEAM_PASSWORD}`,
        description: "From the environment only; otherwise passwordFile.",
        examples: [`\${TEAM_PASSWORD}`],
        writeOnly: true,
      }),
    ),
    provider: Type.Optional(
      Type.Enum(["ecr", "ecr-public", "acr", "google"], {
        description: "Instead of username: the cloud whose short-lived log-ins are fetched.",
      }),
    ),
    region: Type.Optional(
      Type.String({
        pattern: "^[a-z0-9-]{1,64}$",
        title: "a region such as eu-central-1",
        description: "AWS: of the registry, when its name does not say.",
        examples: ["eu-central-1"],
      }),
    ),
    endpoint: Type.Optional(
      Type.String({
        pattern: "^https?://[^\\s]+$",
        title: "a url such as https://vpce.example",
        description: "Instead of the cloud's own: ECR's API, ACR's exchange, Google's tokens.",
      }),
    ),
    keyFile: Type.Optional(
      Type.String({
        ...FilePath,
        description: "Google: a service account's key. Absent: who the machine is.",
      }),
    ),
    clientId: Type.Optional(
      Type.String({
        pattern: "^[0-9A-Za-z-]{1,64}$",
        title: "a client id such as 11111111-2222-3333-4444-555555555555",
        description: "Azure: which identity of the machine, when it has several.",
      }),
    ),
  },
  {
    ...closed,
    title: "username, and passwordFile or password; or provider",
    description: "How we log in to it. It is looked up under credentials when absent.",
    writeOnly: true, // what stands here by mistake may be a secret: errors never quote it
  },
);

const KubeletProviders = Type.Object(
  {
    configFile: Type.String({
      ...FilePath,
      description: "A CredentialProviderConfig of kubelet.config.k8s.io/v1, YAML or JSON.",
    }),
    binDir: Type.String({
      minLength: 1,
      title: "a folder's path",
      description: "The folder of the plugins that it names.",
    }),
  },
  {
    ...closed,
    title: "configFile and binDir",
    description: "The kubelet's credential provider plugins. Asked after dockerConfigFile.",
  },
);

const Credentials = Type.Object(
  {
    dockerConfigFile: Type.Optional(
      Type.String({
        ...FilePath,
        description: "A Docker config.json: auths, credsStore, credHelpers.",
        examples: ["/root/.docker/config.json"],
      }),
    ),
    kubeletProviders: Type.Optional(KubeletProviders),
  },
  { ...closed, description: "Where log-ins are looked up when an upstream has no auth." },
);

/** Neither compiles when the schema and its draft disagree. */
export const AUTH_SCHEMA: TUnsafe<AuthDraft> = Type.Unsafe<Static<typeof Auth>>(Auth);
export const CREDENTIALS_SCHEMA: TUnsafe<CredentialsDraft> =
  Type.Unsafe<Static<typeof Credentials>>(Credentials);
