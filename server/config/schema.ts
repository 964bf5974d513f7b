import type { Static, TSchema } from "typebox";
import Type from "typebox";
import { CONFIG_LIMITS } from "../limits.ts";
import { REGISTRY_NAME_PATTERN } from "./addresses.ts";
import { CLIENTS_SCHEMA } from "./client-schema.ts";
import { AUTH_SCHEMA, CREDENTIALS_SCHEMA } from "./credentials-schema.ts";
import type { ConfigDraft } from "./draft.ts";
import { POLICY_SCHEMA, TRUST_SCHEMA } from "./policy-schema.ts";
import { BYTES_PATTERN } from "./quantities.ts";
import { RETENTION_SCHEMA } from "./retention.ts";
import { S3_SCHEMA } from "./s3.ts";

// The configuration file. A title completes "expected …" in an error; descriptions, defaults and
// examples are what editors show.
const closed = { additionalProperties: false } as const;

/** A year: longer is a slip of the unit. */
const SECONDS_MAX = 31_536_000;

const FilePath = Type.String({ minLength: 1, title: "a file's path" });
const RegistryName = Type.String({
  pattern: REGISTRY_NAME_PATTERN,
  title: "a lower-case host, with :port if it has one, such as team.example:5000",
});
const ListenAddress = Type.String({
  pattern: ":[0-9]{1,5}$",
  title: "an address such as 127.0.0.1:5000, [::1]:5000 or :5000",
});
const RegistryUrl = Type.String({
  pattern: "^https?://[^\\s]+$",
  title: "a url such as https://registry.example",
});

const Tls = Type.Object(
  {
    certFile: Type.String({ ...FilePath, description: "PEM: the certificate, then its chain." }),
    keyFile: Type.String({ ...FilePath, description: "PEM: the certificate's private key." }),
    clientCaFile: Type.Optional(
      Type.String({
        ...FilePath,
        description:
          "PEM: who may sign client certificates. They are required, unless clients.certificates is one way in among others.",
      }),
    ),
  },
  { ...closed, title: "certFile and keyFile", description: "Serves the registry API over TLS." },
);

const Bytes = Type.Union([Type.Integer({ minimum: 0 }), Type.String({ pattern: BYTES_PATTERN })], {
  title: "a size such as 50GiB or 512MiB, or a whole number of bytes",
});

const Storage = Type.Object(
  {
    disk: Type.Optional(
      Type.Object(
        {
          path: Type.Optional(
            Type.String({
              minLength: 1,
              title: "a folder's path",
              description: "Where blobs are kept. SLUICE_DATA overrides it.",
              default: "./data",
            }),
          ),
          maxBytes: Type.Optional(
            Type.Union(Bytes.anyOf, {
              ...Bytes,
              description: "The least recently used blobs go when it is nearly reached.",
              default: "50GiB",
              examples: ["50GiB", "512MiB"],
            }),
          ),
        },
        { ...closed, description: "The cache on disk." },
      ),
    ),
    verifyReads: Type.Optional(
      Type.Enum(["first", "always", "never"], {
        description: "Whether what is read is hashed again: at a blob's first full read, or not.",
        default: "first",
      }),
    ),
    s3: Type.Optional(S3_SCHEMA),
    retention: Type.Optional(RETENTION_SCHEMA),
  },
  { ...closed, description: "Where what was pulled is kept." },
);

const Upstream = Type.Object(
  {
    url: Type.Optional(
      Type.Union(
        [RegistryUrl, Type.Array(RegistryUrl, { minItems: 1, title: "a list of one url or more" })],
        {
          title: "a url such as https://registry.example, or a list of them",
          description: "Default: https:// and the name. Several are tried healthiest first.",
          examples: ["https://registry-1.docker.io"],
        },
      ),
    ),
    aliases: Type.Optional(
      Type.Array(RegistryName, {
        description: "Other names that clients use for it.",
        examples: [["index.docker.io"]],
      }),
    ),
    insecure: Type.Optional(
      Type.Boolean({
        description: "Allows plain http where a url says http. Loopback needs no permission.",
        default: false,
      }),
    ),
    caFile: Type.Optional(
      Type.String({
        ...FilePath,
        description: "PEM: the authorities that its certificate is from.",
      }),
    ),
    auth: Type.Optional(AUTH_SCHEMA),
    tokenHosts: Type.Optional(
      Type.Array(RegistryName, {
        description: "Hosts beside its own that may be sent its credentials for a token.",
        examples: [["auth.docker.io"]],
      }),
    ),
    redirectHosts: Type.Optional(
      Type.Array(RegistryName, {
        description: "Hosts that it may redirect to although they are private addresses.",
        examples: [["storage.internal:9000"]],
      }),
    ),
    tagFreshSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: SECONDS_MAX,
        description: "How long a tag is believed before the registry is asked again.",
        default: 30,
      }),
    ),
    serveStaleSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: SECONDS_MAX,
        description: "How long after that it is still served when the registry fails.",
        default: 86_400,
      }),
    ),
    access: Type.Optional(
      Type.Enum(["shared", "per-client"], {
        description:
          "shared: what we hold of it is for all who may pull. per-client: for whoever may read it there, with a log-in of his own.",
        default: "shared",
      }),
    ),
  },
  { ...closed, title: "a mapping; {} takes the defaults", description: "A registry to pull from." },
);

const Audit = Type.Union(
  [
    Type.Literal("stdout"),
    Type.Object(
      {
        file: Type.String({ ...FilePath, description: "Where it is written." }),
        maxBytes: Type.Optional(
          Type.Union(Bytes.anyOf, {
            ...Bytes,
            description: "A file that reaches it is put aside as FILE.1 and a new one begun.",
            default: "100MiB",
          }),
        ),
        keep: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: CONFIG_LIMITS.auditFilesMax,
            description: "How many files that were put aside are kept.",
            default: 10,
          }),
        ),
      },
      { ...closed, title: "stdout, or { file: path }" },
    ),
  ],
  {
    title: "stdout, or { file: path }",
    description: "One JSON line a decision. Default with a policy: audit.jsonl in the data folder.",
  },
);

const ConfigFile = Type.Object(
  {
    listen: Type.Optional(
      Type.String({
        ...ListenAddress,
        description: "The registry API. SLUICE_LISTEN overrides it.",
        default: "127.0.0.1:5000",
        examples: ["127.0.0.1:5000", "[::1]:5000", ":5000"],
      }),
    ),
    admin: Type.Optional(
      Type.String({
        ...ListenAddress,
        description: "Metrics and probes. SLUICE_ADMIN overrides it.",
        default: "127.0.0.1:5001",
      }),
    ),
    adminTokenFile: Type.Optional(
      Type.String({
        ...FilePath,
        description:
          "Holds the token that the admin port wants of whoever changes something. Health and metrics need none.",
        examples: ["admin.token"],
      }),
    ),
    tls: Type.Optional(Tls),
    storage: Type.Optional(Storage),
    defaultUpstream: Type.Optional(
      Type.String({
        ...RegistryName,
        description: "Where images without a registry come from: docker.io when it is configured.",
      }),
    ),
    upstreams: Type.Optional(
      Type.Record(Type.String({ pattern: REGISTRY_NAME_PATTERN }), Upstream, {
        ...closed,
        minProperties: 1,
        title: "one registry or more",
        description: "By name. Nothing else is pulled from; absent, the public registries are.",
      }),
    ),
    credentials: Type.Optional(CREDENTIALS_SCHEMA),
    clients: Type.Optional(CLIENTS_SCHEMA),
    policy: Type.Optional(POLICY_SCHEMA),
    trust: Type.Optional(TRUST_SCHEMA),
    audit: Type.Optional(Audit),
    accessLog: Type.Optional(
      Type.Union(
        [
          Type.Literal("stdout"),
          Type.Object(
            { file: Type.String({ ...FilePath, description: "Where it is written." }) },
            { ...closed, title: "stdout, or { file: path }" },
          ),
        ],
        {
          title: "stdout, or { file: path }",
          description: "One JSON line a request.",
          default: "stdout",
        },
      ),
    ),
  },
  { ...closed, title: "a mapping of settings", description: "Configuration of Sluice." },
);

/** The whole file. Published as deploy/sluice.schema.json. */
export const CONFIG_SCHEMA: TSchema = ConfigFile;

/** Takes what CONFIG_SCHEMA passes; does not compile when the schema and ConfigDraft disagree. */
export function toDraft(conforming: unknown): ConfigDraft {
  return conforming as Static<typeof ConfigFile>;
}

/** deploy/sluice.schema.json, to the byte. */
export function publishedSchema(): string {
  const orVariable = (key: string, value: unknown) =>
    key === "pattern" ? `${value}|\\$\\{` : value; // editors see variables, the check their values
  const schema = { $schema: "https://json-schema.org/draft/2020-12/schema", ...ConfigFile };
  return `${JSON.stringify(schema, orVariable, 2)}\n`;
}
