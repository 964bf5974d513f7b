import type { Static, TUnsafe } from "typebox";
import Type from "typebox";
import { CONFIG_LIMITS } from "../limits.ts";
import { AUTHORITIES, AUTHORITY } from "./authority-schema.ts";
import type { PolicyDraft, TrustDraft } from "./policy-draft.ts";

// The policy section of schema.ts. Lists that a template left empty are refused wherever nothing
// in a list would mean nothing that is asked for.
const closed = { additionalProperties: false } as const;
const oneOf = { ...closed, minProperties: 1, maxProperties: 1 } as const;

const DAYS_MAX = 3650;

const Text = Type.String({ minLength: 1 });
const Name = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
  title: "a name of 1 to 64 letters, digits, dots, hyphens and underscores",
});
const Reason = Type.String({
  minLength: 1,
  maxLength: 500,
  title: "a reason, up to 500 characters",
  description: "For people: it stands in decisions and in what a client is told.",
  examples: ["migration"],
});
const Match = Type.Array(Text, {
  minItems: 1,
  maxItems: CONFIG_LIMITS.matchesMax,
  title: `a list of 1 to ${CONFIG_LIMITS.matchesMax} globs such as registry.k8s.io/**`,
  description: "Globs over upstream/repository: * stays inside a segment, ** crosses them.",
  examples: [["registry.k8s.io/**"], ["docker.io/library/*"]],
});
const Globs = Type.Array(Text, { minItems: 1, title: "a list of one glob or more" });
const Digest = Type.String({
  pattern: "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$",
  title: "a digest, sha256: and 64 lower-case hexadecimal digits",
  description: "Of a manifest or an index.",
});
const Tags = Type.Object(
  {
    allow: Type.Optional(
      Type.Array(Text, {
        ...Globs,
        description: "Tags that may be pulled. Digests always may.",
        examples: [["v*"]],
      }),
    ),
    semver: Type.Optional(
      Type.Boolean({
        description: "Only tags that are a semantic version, such as v1.2.3.",
        default: false,
      }),
    ),
    digestOnly: Type.Optional(
      Type.Boolean({ description: "No tags: images are pulled by digest.", default: false }),
    ),
  },
  { ...closed, minProperties: 1, title: "allow, semver or digestOnly", description: "Which tags." },
);

const Vulnerabilities = Type.Object(
  {
    scanner: Type.Optional(
      Type.Array(Text, { ...Globs, description: "Globs over the scanner's uri." }),
    ),
    maxAgeDays: Type.Optional(
      Type.Integer({ minimum: 1, maximum: DAYS_MAX, description: "Since the scan finished." }),
    ),
    refuse: Type.Optional(
      Type.Array(Type.Enum(["critical", "high", "medium", "low", "negligible", "unknown"]), {
        minItems: 1,
        title: "a list of one severity or more",
        description: "An image with a vulnerability of one of these severities is refused.",
        examples: [["critical", "high"]],
      }),
    ),
  },
  {
    ...closed,
    minProperties: 1,
    title: "scanner, maxAgeDays or refuse",
    description: "What a vulnerability scan must say.",
  },
);

const Attestation = Type.Object(
  {
    predicateType: Type.String({
      minLength: 1,
      description: "The in-toto predicate type, exactly.",
      examples: [
        "https://slsa.dev/provenance/v1",
        "https://cosign.sigstore.dev/attestation/vuln/v1",
      ],
    }),
    by: Type.Object(
      { ...AUTHORITY, ...AUTHORITIES },
      {
        ...oneOf,
        title: "exactly one of keyless, key, notation, any, all",
        description: "Who must have signed it.",
      },
    ),
    builder: Type.Optional(
      Type.Array(Text, { ...Globs, description: "Globs over SLSA's builder id." }),
    ),
    source: Type.Optional(
      Type.Array(Text, { ...Globs, description: "Globs over the sources that SLSA names." }),
    ),
    vulnerabilities: Type.Optional(Vulnerabilities),
  },
  { ...closed, title: "predicateType and by" },
);

const Rule = Type.Object(
  {
    name: Type.String({ ...Name, description: "Stands in decisions and metrics. Unique." }),
    match: Match,
    mode: Type.Optional(
      Type.Enum(["enforce", "warn", "off"], {
        description: "warn serves what it would refuse, and says so. off only records.",
        default: "enforce",
      }),
    ),
    tags: Type.Optional(Tags),
    signatures: Type.Optional(
      Type.Object(AUTHORITIES, {
        ...oneOf,
        title: "exactly one of any, all",
        description: "Who must have signed the image.",
      }),
    ),
    attestations: Type.Optional(
      Type.Array(Attestation, {
        minItems: 1,
        maxItems: CONFIG_LIMITS.authoritiesMax,
        title: `a list of 1 to ${CONFIG_LIMITS.authoritiesMax} attestations`,
        description: "Signed statements about the image. Each of them must be there.",
      }),
    ),
    children: Type.Optional(
      Type.Enum(["inherit", "require-own"], {
        description: "Whether a signed index vouches for the images that it names.",
        default: "inherit",
      }),
    ),
    foreignLayers: Type.Optional(
      Type.Enum(["refuse", "allow"], {
        description: "Layers that clients fetch from elsewhere, past this proxy.",
        default: "refuse",
      }),
    ),
  },
  { ...closed, title: "a rule: name, match, and what it asks for" },
);

const Exception = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        ...Name,
        description: "Stands in decisions and metrics. Default: the ticket.",
      }),
    ),
    match: Match,
    digest: Type.Optional(Digest),
    until: Type.String({
      pattern: "^\\d{4}-\\d{2}-\\d{2}([Tt].+)?$",
      title: "a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z",
      description: "A date counts until its end, UTC.",
      examples: ["2027-01-31", "2027-01-31T18:00:00+01:00"],
    }),
    reason: Reason,
    ticket: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: "Where it was agreed on." }),
    ),
  },
  { ...closed, title: "match, until and reason" },
);

const Deny = Type.Object(
  {
    digest: Type.Optional(Digest),
    signer: Type.Optional(
      Type.Object(AUTHORITY, {
        ...oneOf,
        title: "exactly one of keyless, key, notation",
        description: "Whatever it has signed is refused.",
      }),
    ),
    reason: Reason,
  },
  { ...closed, title: "digest or signer, and reason" },
);

const Policy = Type.Object(
  {
    unmatched: Type.Optional(
      Type.Enum(["allow", "warn", "deny"], {
        description: "For repositories that no rule names.",
        default: "allow",
      }),
    ),
    rules: Type.Optional(
      Type.Array(Rule, {
        minItems: 1,
        maxItems: CONFIG_LIMITS.rulesMax,
        title: `a list of 1 to ${CONFIG_LIMITS.rulesMax} rules`,
        description: "The first that matches decides.",
      }),
    ),
    exceptions: Type.Optional(
      Type.Array(Exception, {
        maxItems: CONFIG_LIMITS.exceptionsMax,
        title: `a list of up to ${CONFIG_LIMITS.exceptionsMax} exceptions`,
        description: "Lets pass what a rule would refuse, until a day, with a reason on record.",
      }),
    ),
    deny: Type.Optional(
      Type.Array(Deny, {
        maxItems: CONFIG_LIMITS.denyMax,
        title: `a list of up to ${CONFIG_LIMITS.denyMax} digests and signers`,
        description: "Refused whatever else says. Beats exceptions, warn and off.",
      }),
    ),
  },
  {
    ...closed,
    minProperties: 1,
    title: "unmatched, rules, exceptions or deny",
    description: "Which images may be pulled. Absent: all, and they are counted.",
  },
);

const Trust = Type.Object(
  {
    publicGood: Type.Optional(
      Type.Enum(["bundled", "tuf"], {
        description:
          "The trusted root of Sigstore's public instance: the one we come with, or as TUF says, refreshed in the background.",
        default: "bundled",
      }),
    ),
    tufMirror: Type.Optional(
      Type.String({
        pattern: "^https?://[^\\s]+$",
        title: "a url such as https://tuf.example",
        description: "Another TUF repository than Sigstore's own. Needs tufRootFile.",
      }),
    ),
    tufRootFile: Type.Optional(
      Type.String({
        minLength: 1,
        title: "a file's path",
        description: "The root.json that TUF starts from.",
      }),
    ),
  },
  { ...closed, title: "publicGood", description: "Whom keyless rules trust." },
);

/** Neither compiles when the schema and its draft disagree. */
export const POLICY_SCHEMA: TUnsafe<PolicyDraft> = Type.Unsafe<Static<typeof Policy>>(Policy);
export const TRUST_SCHEMA: TUnsafe<TrustDraft> = Type.Unsafe<Static<typeof Trust>>(Trust);
