import type { Static, TArray, TOptional, TUnsafe } from "typebox";
import Type from "typebox";
import { CONFIG_LIMITS } from "../limits.ts";
import type { AuthorityDraft, KeyDraft, KeylessDraft, NotationDraft } from "./policy-draft.ts";

// Who may sign, as policy-schema.ts has it in several places.
const closed = { additionalProperties: false } as const;

const FilePath = Type.String({ minLength: 1, title: "a file's path" });
const Text = Type.String({ minLength: 1 });
const TrustedRootFile = Type.String({
  ...FilePath,
  description: "A Sigstore trusted root (JSON). Absent: the public good instance's.",
  examples: ["trusted_root.json"],
});

const Keyless = Type.Object(
  {
    issuer: Type.String({
      pattern: "^https?://[^\\s*]+$",
      title: "the url of an OIDC issuer, compared as it is, without *",
      description: "Who vouched for the signer's identity.",
      examples: ["https://token.actions.githubusercontent.com", "https://accounts.google.com"],
    }),
    subject: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The identity in the certificate, exactly: an e-mail address or a url.",
        examples: ["krel-trust@k8s-releng-prod.iam.gserviceaccount.com"],
      }),
    ),
    subjectGlob: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The same with * (anything but /) and ** (anything). Keep it narrow.",
        examples: ["https://github.com/acme/*/.github/workflows/release.yml@refs/tags/v*"],
      }),
    ),
    trustedRootFile: Type.Optional(TrustedRootFile),
    log: Type.Optional(
      Type.Enum(["require", "ignore"], {
        description: "The transparency log. ignore needs a timestamp authority in the root.",
        default: "require",
      }),
    ),
  },
  {
    ...closed,
    title: "issuer, and subject or subjectGlob",
    description: "A short-lived certificate from Fulcio. Issuer and subject are both compared.",
  },
);

const Key = Type.Object(
  {
    file: Type.String({
      ...FilePath,
      description: "The public key, PEM, as cosign generate-key-pair writes it.",
      examples: ["cosign.pub"],
    }),
    log: Type.Optional(
      Type.Enum(["require", "ignore"], {
        description:
          "Whether the signature must be in a transparency log. Default: require; for a signer on the deny list, ignore.",
      }),
    ),
    trustedRootFile: Type.Optional(TrustedRootFile),
  },
  { ...closed, title: "file, a public key", description: "A key pair of your own." },
);

const Notation = Type.Object(
  {
    trustStoreDir: Type.String({
      minLength: 1,
      title: "a folder's path",
      description: "A folder of certificates, PEM or DER, and nothing else.",
      examples: ["./ca"],
    }),
    subjects: Type.Array(Text, {
      minItems: 1,
      title: "a list of one distinguished name or more",
      description: 'Whose certificates count: all attributes must be there. "*" is any.',
      examples: [["C=US, O=acme"]],
    }),
  },
  { ...closed, title: "trustStoreDir and subjects", description: "A Notary Project signature." },
);

/** The keys of an authority, of which each has one. */
export const AUTHORITY: {
  readonly keyless: TOptional<TUnsafe<KeylessDraft>>;
  readonly key: TOptional<TUnsafe<KeyDraft>>;
  readonly notation: TOptional<TUnsafe<NotationDraft>>;
} = {
  keyless: Type.Optional(Type.Unsafe<Static<typeof Keyless>>(Keyless)),
  key: Type.Optional(Type.Unsafe<Static<typeof Key>>(Key)),
  notation: Type.Optional(Type.Unsafe<Static<typeof Notation>>(Notation)),
};

const Authority = Type.Unsafe<AuthorityDraft>(
  Type.Object(AUTHORITY, {
    ...closed,
    minProperties: 1,
    maxProperties: 1,
    title: "exactly one of keyless, key, notation",
  }),
);
const list = {
  minItems: 1,
  maxItems: CONFIG_LIMITS.authoritiesMax,
  title: `a list of 1 to ${CONFIG_LIMITS.authoritiesMax}, each one of keyless, key, notation`,
};

/** The keys of several authorities, of which each place has one. */
export const AUTHORITIES: {
  readonly any: TOptional<TArray<TUnsafe<AuthorityDraft>>>;
  readonly all: TOptional<TArray<TUnsafe<AuthorityDraft>>>;
} = {
  any: Type.Optional(Type.Array(Authority, { ...list, description: "One is enough." })),
  all: Type.Optional(
    Type.Array(Authority, { ...list, description: "Each of them must have signed." }),
  ),
};
