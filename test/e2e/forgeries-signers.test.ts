import t from "tap";
import { startForger } from "../support/forger.ts";
import { issuedByLeaf } from "../support/forger-chain.ts";
import {
  EMAIL,
  GOOGLE_ISSUER,
  mallory,
  OTHER_DIGEST,
  release,
  rows,
  rulesOf,
  stranger,
} from "../support/forger-rules.ts";
import { IDENTITY, ISSUER } from "../support/policies.ts";
import { byIdentity, byKey, byOtherKey, key, otherKey } from "../support/policy-rig.ts";
import { BUNDLE_V02 } from "../support/sign-bundle.ts";
import { SERVER_AUTH } from "../support/sign-certificates.ts";
import { base64, sha256 } from "../support/sign-log.ts";
import { keyless, wholeSecond } from "../support/sign-with.ts";

const forger = await startForger(
  t,
  rulesOf("keyless", "glob", "email", "stamped", "foreign-ctlog", "key", "logged-key", "all"),
);

const by = release;
const as = (identity: string, issuer: string | null = ISSUER) =>
  rows.bundle({ by: keyless(identity, issuer) });
const chained = { mediaType: BUNDLE_V02, certificateForm: "chain" } as const;
const yesterday = new Date(wholeSecond().getTime() - 86_400_000);
const anHourAgo = new Date(wholeSecond().getTime() - 3_600_000);

t.test("nobody signed it, or somebody signed something else", (t) =>
  forger.refuse(t, "keyless", {
    "no signature": [[], /no signature (?:was )?found/],
    "another image's bundle": [rows.bundle({ by, digest: OTHER_DIGEST }), /another image/],
    "another image's signature": [
      rows.signatureTag([{ by, digest: OTHER_DIGEST }]),
      /another image/,
    ],
    "another image's attestation": [
      rows.attestationTag([{ by, digest: OTHER_DIGEST }]),
      /no signature (?:was )?found/,
    ],
    "an .att where a signature is asked for": [
      rows.attestationTag([{ by }]),
      /no signature (?:was )?found/,
    ],
    "a stranger's bundle": [rows.bundle({ by: mallory, issuedBy: stranger }), /issued by nobody/],
    "somebody else of the same authority": [rows.bundle({ by: mallory }), /signed by mallory@/],
    "a key where a certificate is asked for": [byKey, /was made with a key/],
    "a key's legacy signature": [rows.signatureTag([{ by: key }]), /was made with a key/],
  }),
);

t.test("identities are compared whole", async (t) => {
  const signedBy = /was signed by .*, the rule asks for/;
  await forger.refuse(t, "keyless", {
    "a longer branch": [as(`${IDENTITY}-attacker`), signedBy],
    "a shorter one": [as(IDENTITY.slice(0, -1)), signedBy],
    "something before it": [as(`https://evil.example/?${IDENTITY}`), signedBy],
    "something behind it": [as(`${IDENTITY}?x`), signedBy],
    "a space behind it": [as(`${IDENTITY} `), signedBy],
    "a full stop that is another character": [as(IDENTITY.replace("b.c", "bXc")), signedBy],
    "other case": [as(IDENTITY.replace("acme", "ACME")), signedBy],
    "a slash at its end": [as(`${IDENTITY}/`), signedBy],
    "another tag's workflow": [as(IDENTITY.replace("heads/main", "tags/main")), signedBy],
    "an address in place of a workflow": [as(EMAIL), signedBy],
    "the identity as the issuer, and the reverse": [as(ISSUER, IDENTITY), signedBy],
    "the right name, and another": [
      rows.bundle({ by: { ...by, names: namesOf(IDENTITY, "https://evil.example") } }),
      /has 2 names/,
    ],
    "another name, and the right one": [
      rows.bundle({ by: { ...by, names: namesOf("https://evil.example", IDENTITY) } }),
      /has 2 names/,
    ],
    "no name": [rows.bundle({ by: { ...by, names: [] } }), /has 0 names/],
    "a host's name": [
      rows.bundle({ by: { ...by, names: [{ type: "dns", value: "github.com" }] } }),
      /neither an e-mail address nor a URI/,
    ],
    "an older certificate's name": [
      rows.signatureTag([{ by: keyless(`${IDENTITY}-attacker`, ISSUER) }]),
      signedBy,
    ],
  });
  await forger.refuse(t, "keyless", {
    "another issuer": [as(IDENTITY, "https://evil.example"), signedBy],
    "an issuer with a slash": [as(IDENTITY, `${ISSUER}/`), signedBy],
    "an issuer in other case": [as(IDENTITY, ISSUER.toUpperCase()), signedBy],
    "an issuer's domain with a tail": [as(IDENTITY, `${ISSUER}.evil.example`), signedBy],
    "no issuer": [as(IDENTITY, null), /no OIDC issuer/],
    "two issuers": [
      rows.bundle({
        by: {
          ...by,
          issuerForm: "legacy",
          extensions: { "1.3.6.1.4.1.57264.1.8": "https://evil.example" },
        },
      }),
      /two OIDC issuers/,
    ],
    "an issuer in another extension": [
      rows.bundle({ by: { ...by, issuer: null, extensions: { "1.3.6.1.4.1.57264.1.9": ISSUER } } }),
      /no OIDC issuer/,
    ],
  });
  const workflow = (repository: string, rest: string): string =>
    `https://github.com/${repository}/.github/workflows/${rest}`;
  await forger.refuse(t, "glob", {
    "a star stops at a slash": [as(workflow("acme/app/x", "r.yml@refs/heads/main")), signedBy],
    "and at two of them": [
      as(workflow("acme/x/../../evil/app", "r.yml@refs/heads/main")),
      signedBy,
    ],
    "in a file's name, too": [as(workflow("acme/app", "x/r.yml@refs/heads/main")), signedBy],
    "a glob ends where it ends": [as(workflow("acme/app", "r.yml@refs/heads/main2")), signedBy],
    "and does not go on in another line": [
      as(workflow("acme/app", "r.yml@refs/heads/main\n")),
      signedBy,
    ],
    "a glob begins where it begins": [
      as(`x${workflow("acme/app", "r.yml@refs/heads/main")}`),
      signedBy,
    ],
    "the glob itself, as a branch": [as(workflow("acme/app", "*@refs/heads/*")), signedBy],
    "another owner whose name begins so": [
      as(workflow("acme-evil/app", "r.yml@refs/heads/main")),
      signedBy,
    ],
    "nothing for the owner": [as(workflow("/app", "r.yml@refs/heads/main")), signedBy],
  });
  await forger.refuse(t, "email", {
    "a longer address": [as(`${EMAIL}.evil.example`, GOOGLE_ISSUER), signedBy],
    "an address in other case": [as("Release@acme.example", GOOGLE_ISSUER), signedBy],
    "an address with a tag": [as("release+x@acme.example", GOOGLE_ISSUER), signedBy],
    "the address of another issuer": [as(EMAIL, ISSUER), signedBy],
    "the address in a URI": [as(`mailto://${EMAIL}`, GOOGLE_ISSUER), signedBy],
  });
});

t.test("certificates are of the rule's authority, for code, and valid when they were used", (t) =>
  forger.refuse(t, "keyless", {
    "another authority with the same identity": [
      rows.bundle({ by, issuedBy: stranger }),
      /issued by nobody the trusted root names/,
    ],
    "another authority, in the older format": [
      rows.signatureTag([{ by, issuedBy: stranger }]),
      /issued by nobody the trusted root names/,
    ],
    "a certificate that has expired": [
      rows.bundle({ by, certificateAt: yesterday }),
      /was not valid when it was used|nobody the trusted root names, at the time/,
    ],
    "one that expired before it was stamped": [
      rows.bundle({ by, log: "v2", certificateAt: yesterday }),
      /was not valid when it was used|nobody the trusted root names, at the time/,
    ],
    "one that was not valid yet": [
      rows.bundle({ by, loggedAt: anHourAgo }),
      /was not valid when it was used|nobody the trusted root names, at the time/,
    ],
    "an older format's that has expired": [
      rows.signatureTag([{ by, certificateAt: yesterday }]),
      /was not valid when it was used|nobody the trusted root names, at the time/,
    ],
    "a server's certificate": [
      rows.bundle({ by: { ...by, usages: [SERVER_AUTH] } }),
      /may not sign code/,
    ],
    "one for no use": [rows.bundle({ by: { ...by, usages: [] } }), /may not sign code/],
    "one that no certificate log has seen": [
      rows.bundle({ by: { ...by, isLogged: false } }),
      /in no certificate transparency log/,
    ],
    "one of an authority and another one's chain": [
      rows.bundle({ ...chained, by: mallory, issuedBy: stranger }),
      /issued by nobody the trusted root names/,
    ],
    "a stranger's root beside it": [
      rows.bundle({
        ...chained,
        by,
        issuedBy: stranger,
        edit: ({ verificationMaterial: { x509CertificateChain: chain } }) => {
          chain?.certificates.push({ rawBytes: base64(stranger.authority.root) });
        },
      }),
      /issued by nobody the trusted root names/,
    ],
    "one that somebody issued with his own": [issuedByLeaf, /issued by nobody the trusted root/],
    "another key behind the certificate": [
      rows.bundle({ by, signingKey: otherKey.privateKey }),
      /its signature does not fit/,
    ],
    "another key behind an older format's": [
      rows.signatureTag([{ by, signingKey: otherKey.privateKey }]),
      /its signature does not fit/,
    ],
  }),
);

t.test("logs and timestamp authorities are the trusted root's", async (t) => {
  await forger.refuse(t, "keyless", {
    "another log": [rows.bundle({ by, loggedBy: stranger }), /log/],
    "another log, version 2": [rows.bundle({ by, log: "v2", loggedBy: stranger }), /log/],
    "another log, in the older format": [rows.signatureTag([{ by, loggedBy: stranger }]), /log/],
    "another timestamp authority": [
      rows.bundle({ by, log: "v2", stampedBy: stranger }),
      /timestamp is by no authority/,
    ],
    "no log": [rows.bundle({ by, log: "none", timestamp: true }), /in no transparency log/],
    "no log, in the older format": [
      rows.signatureTag([{ by, log: "none", timestamp: true }]),
      /in no transparency log/,
    ],
    "no log and no time": [
      rows.bundle({ by, log: "none", timestamp: false }),
      /in no transparency/,
    ],
    "a proof, and nobody's time": [
      rows.bundle({ by, log: "v2", timestamp: false }),
      /has no time that can be trusted/,
    ],
  });
  await forger.refuse(t, "stamped", {
    "a log's time where stamps are asked for": [byIdentity, /has no time that can be trusted/],
    "another authority's stamp": [
      rows.bundle({ by, log: "none", stampedBy: stranger }),
      /timestamp is by no authority/,
    ],
    "a stamp for something else": [
      rows.bundle({ by, log: "none", stampedBytes: Buffer.from("x") }),
      /was not made for this signature/,
    ],
    "an older format's stamp for something else": [
      rows.signatureTag([{ by, log: "none", timestamp: true, stampedBytes: Buffer.from("x") }]),
      /was not made for this signature/,
    ],
    "an older format without a stamp": [rows.signatureTag([{ by }]), /no time that can be trusted/],
    "a stamp that came too late": [
      rows.bundle({ by, log: "none", certificateAt: yesterday }),
      /was not valid when it was used|nobody the trusted root names, at the time/,
    ],
  });
  await forger.refuse(t, "foreign-ctlog", {
    "a certificate that only another log has seen": [byIdentity, /certificate transparency log/],
  });
});

t.test("a key is the policy's, whatever a signature says of it", async (t) => {
  const hint = base64(sha256(key.publicKey.export({ type: "spki", format: "der" })));
  await forger.refuse(t, "key", {
    "no signature": [[], /no signature (?:was )?found/],
    "another key": [byOtherKey, /was not made with the key/],
    "another key, in the older format": [
      rows.signatureTag([{ by: otherKey }]),
      /was not made with the key/,
    ],
    "another key that calls itself the right one": [
      rows.bundle({
        by: otherKey,
        edit: ({ verificationMaterial }) => {
          verificationMaterial.publicKey = { hint };
        },
      }),
      /was not made with the key/,
    ],
    "another key that is in the bundle": [
      rows.bundle({
        by: otherKey,
        edit: ({ verificationMaterial: { publicKey = { hint } } }) => {
          const rawBytes = otherKey.publicKey.export({ type: "spki", format: "der" });
          Object.assign(publicKey, { rawBytes: base64(rawBytes) });
        },
      }),
      /was not made with the key/,
    ],
    "a certificate where a key is asked for": [byIdentity, /was made with a certificate/],
    "an older format's certificate": [rows.signatureTag([{ by }]), /was made with a certificate/],
    "a certificate and the key's name": [
      rows.bundle({
        by,
        edit: ({ verificationMaterial }) => {
          verificationMaterial.publicKey = { hint };
        },
      }),
      /was made with a certificate|was not made with the key|malformed|cannot be read|lacks/,
    ],
  });
  const logged = { by: key, log: "v1" } as const;
  await forger.refuse(t, "logged-key", {
    "a key whose use no log has seen": [byKey, /in no transparency log/],
    "an older format that no log has seen": [
      rows.signatureTag([{ by: key }]),
      /in no transparency/,
    ],
    "another log": [rows.bundle({ ...logged, loggedBy: stranger }), /log/],
    "another key with a log": [
      rows.bundle({ ...logged, by: otherKey }),
      /was not made with the key/,
    ],
    "a log's version 2 of a stranger": [
      rows.bundle({ by: key, log: "v2", loggedBy: stranger }),
      /log/,
    ],
  });
  await forger.refuse(t, "all", {
    "only the key": [byKey, /not signed by keyless/],
    "only the identity": [byIdentity, /not signed by key/],
    "the key twice": [[byKey, rows.signatureTag([{ by: key }])], /not signed by keyless/],
    "the identity, and a stranger's key": [[byIdentity, byOtherKey], /not signed by key/],
  });
});

function namesOf(...values: readonly string[]): { type: "url"; value: string }[] {
  return values.map((value) => ({ type: "url", value }));
}
