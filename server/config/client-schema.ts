import type { Static, TUnsafe } from "typebox";
import Type from "typebox";
import { CONFIG_LIMITS } from "../limits.ts";
import type { ClientsDraft } from "./draft.ts";

// The clients section of schema.ts. Lists that a template left empty are refused: they would shut
// everybody out, or let nobody be known, without saying so.
const closed = { additionalProperties: false } as const;

/** Each has keys in memory, which may have to be fetched. */
const ISSUERS_MAX = 32;

const FilePath = Type.String({ minLength: 1, title: "a file's path" });
const Text = Type.String({ minLength: 1 });

const Token = Type.Object(
  {
    issuer: Type.String({
      pattern: "^[^\\s]+$",
      title: "the iss of its tokens, without spaces",
      description: "Who signs the tokens: their iss, to the letter.",
      examples: ["https://kubernetes.default.svc.cluster.local"],
    }),
    audience: Type.String({
      minLength: 1,
      description: "Must be in a token's aud. A name that no other service has.",
      examples: ["sluice"],
    }),
    jwksFile: Type.Optional(
      Type.String({ ...FilePath, description: "The issuer's public keys, a JWK set (RFC 7517)." }),
    ),
    jwksUrl: Type.Optional(
      Type.String({
        pattern: "^https?://[^\\s]+$",
        title: "a url such as https://issuer.example/keys",
        description: "Where the issuer publishes them, instead of jwksFile.",
        examples: ["https://kubernetes.default.svc/openid/v1/jwks"],
      }),
    ),
    caFile: Type.Optional(
      Type.String({
        ...FilePath,
        description: "PEM: the authorities that the certificate of jwksUrl is from.",
      }),
    ),
    tokenFile: Type.Optional(
      Type.String({
        ...FilePath,
        description: "Holds a token that is sent to jwksUrl: a Kubernetes API server wants one.",
        examples: ["/var/run/secrets/kubernetes.io/serviceaccount/token"],
      }),
    ),
    nameClaim: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The claim that is the client's name.",
        default: "sub",
      }),
    ),
    groupsClaim: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The claim that lists the client's groups.",
        default: "groups",
      }),
    ),
  },
  { ...closed, title: "issuer, audience, and jwksFile or jwksUrl" },
);

const AccessRule = Type.Object(
  {
    who: Type.Array(Text, {
      minItems: 1,
      maxItems: CONFIG_LIMITS.matchesMax,
      title: `a list of 1 to ${CONFIG_LIMITS.matchesMax}, each user:NAME, group:NAME, anonymous or *`,
      description:
        "user:NAME and group:NAME (* stays inside a segment, ** crosses them), anonymous, or *: all that are let in.",
      examples: [["user:alice", "group:team-a"], ["*"]],
    }),
    pull: Type.Array(Text, {
      minItems: 1,
      maxItems: CONFIG_LIMITS.matchesMax,
      title: `a list of 1 to ${CONFIG_LIMITS.matchesMax} globs such as docker.io/library/*`,
      description: "Globs over upstream/repository. ** alone is everything.",
      examples: [["team.example/a/**"], ["docker.io/library/*"]],
    }),
  },
  { ...closed, title: "a rule: who and pull" },
);

const Clients = Type.Object(
  {
    htpasswdFile: Type.Optional(
      Type.String({
        ...FilePath,
        description: "Lines of user:bcrypt, as htpasswd -B writes them.",
        examples: ["users.htpasswd"],
      }),
    ),
    tokens: Type.Optional(
      Type.Array(Token, {
        minItems: 1,
        maxItems: ISSUERS_MAX,
        title: `a list of 1 to ${ISSUERS_MAX} issuers of tokens`,
        description: "JWTs that are taken, as a Bearer or as the password of Basic.",
      }),
    ),
    certificates: Type.Optional(
      Type.Object(
        {
          name: Type.Enum(["subject", "san"], {
            description: "Which part of a certificate is the client's name.",
          }),
        },
        {
          ...closed,
          title: "name: subject or san",
          description: "Certificates from an authority of tls.clientCaFile.",
        },
      ),
    ),
    anonymous: Type.Optional(
      Type.Boolean({
        description: "Whether clients that show nothing are let in.",
        default: false,
      }),
    ),
    rules: Type.Optional(
      Type.Array(AccessRule, {
        minItems: 1,
        maxItems: CONFIG_LIMITS.rulesMax,
        title: `a list of 1 to ${CONFIG_LIMITS.rulesMax} rules: with none, nobody could pull anything`,
        description:
          "Who may pull what; anything else is refused. Absent: all that are let in pull everything.",
      }),
    ),
  },
  {
    ...closed,
    minProperties: 1,
    title: "htpasswdFile, tokens, certificates or anonymous: true",
    description: "Who may pull. Absent: whoever can connect.",
  },
);

/** Does not compile when the schema and its draft disagree. */
export const CLIENTS_SCHEMA: TUnsafe<ClientsDraft> = Type.Unsafe<Static<typeof Clients>>(Clients);
