import { sign } from "node:crypto";
import t from "tap";
import { DAY_MS, keyPairOf } from "../support/notation-certificates.ts";
import type { MintedNotation, NotationSigningOptions } from "../support/notation-fixture.ts";
import { mintNotationSigner, NOTATION_SUBJECT } from "../support/notation-fixture.ts";
import {
  AUTHENTIC_TIME,
  EXPIRY,
  look,
  NOW,
  SCHEME,
  SIGNING_TIME,
  set,
  subjectOf,
  TARGET,
  targetOf,
} from "../support/notation-look.ts";

const FORMATS = ["jws", "cose"] as const;

/** What is signed properly, and must not count. */
const FORGERIES: [what: string, options: Partial<NotationSigningOptions>, problem: RegExp][] = [
  ["another image", { target: targetOf(subjectOf("other")) }, /about another image: sha256:/],
  ["another media type", { target: { ...TARGET, mediaType: "text/plain" } }, /media type or size/],
  ["another size", { target: { ...TARGET, size: 1233 } }, /media type or size/],
  [
    "a size as text",
    { payload: { targetArtifact: { ...TARGET, size: "1234" } } },
    /media type or size/,
  ],
  ["no target", { payload: {} }, /about another image: undefined/],
  ["a target in a list", { payload: { targetArtifact: [TARGET] } }, /about another image/],
  ["a payload that is no object", { payload: [TARGET] }, /its payload is not a JSON object/],
  ["another content type", set({ cty: "application/json" }), /not over a application\/vnd.cncf/],
  ["no content type", set({ cty: undefined }), /not over a/],
  ["no critical headers", set({ crit: undefined }), /which of its headers are critical/],
  ["an empty list of them", set({ crit: [] }), /which of its headers are critical/],
  [
    "a scheme that is not critical",
    set({ x: 1, crit: [EXPIRY], [EXPIRY]: new Date(NOW + DAY_MS) }),
    /does not mark .*signingScheme as critical/,
  ],
  [
    "an expiry that is not critical",
    set({ [EXPIRY]: new Date(NOW + DAY_MS) }),
    /does not mark .*expiry as critical/,
  ],
  [
    "an unknown critical header",
    set({ x: 1, crit: [SCHEME, "x"] }),
    /critical header that is not known: x/,
  ],
  ["b64, which we do not speak", set({ b64: false, crit: [SCHEME, "b64"] }), /not known: b64/],
  [
    "a critical header that is absent",
    set({ crit: [SCHEME, EXPIRY] }),
    /names .*expiry as critical/,
  ],
  ["a critical header twice", set({ crit: [SCHEME, SCHEME] }), /names .*signingScheme as critical/],
  [
    "a critical header of Object's",
    set({ crit: [SCHEME, "constructor"] }),
    /not known: constructor/,
  ],
  ["a critical header that is no name", set({ crit: [SCHEME, null] }), /not known: null/],
  [
    "the signing time as critical",
    set({ crit: [SCHEME, SIGNING_TIME] }),
    /not known: .*signingTime/,
  ],
  [
    "a plugin",
    set({
      "io.cncf.notary.verificationPlugin": "p",
      crit: [SCHEME, "io.cncf.notary.verificationPlugin"],
    }),
    /asks for a verification plugin/,
  ],
  [
    "a plugin that is not critical",
    set({ "io.cncf.notary.verificationPlugin": "p" }),
    /asks for a verification plugin/,
  ],
  [
    "no scheme",
    set({ [SCHEME]: undefined }),
    /as critical, and has it twice or not at all|no signing scheme/,
  ],
  ["an unknown scheme", set({ [SCHEME]: "notary.x510" }), /signing scheme that is not known/],
  [
    "a signing authority",
    set({
      [SCHEME]: "notary.x509.signingAuthority",
      [SIGNING_TIME]: undefined,
      [AUTHENTIC_TIME]: new Date(NOW - 60_000),
      crit: [SCHEME, AUTHENTIC_TIME],
    }),
    /is by a signing authority/,
  ],
  [
    "its time that is not critical",
    set({
      [SCHEME]: "notary.x509.signingAuthority",
      [SIGNING_TIME]: undefined,
      [AUTHENTIC_TIME]: new Date(NOW - 60_000),
    }),
    /does not mark .*authenticSigningTime/,
  ],
  [
    "its time under the other scheme",
    set({ [AUTHENTIC_TIME]: new Date(NOW - 60_000) }),
    /has .*authenticSigningTime, which is not for/,
  ],
  ["no signing time", set({ [SIGNING_TIME]: undefined }), /has no .*signingTime/],
  [
    "a signing time that is none",
    set({ [SIGNING_TIME]: "yesterday" }),
    /signingTime that is no time/,
  ],
  [
    "an expiry that has come",
    { expiry: new Date(NOW - 1000), signingTime: new Date(NOW - 60_000) },
    /^expired on/,
  ],
  [
    "an expiry before the signing time",
    { expiry: new Date(NOW - 120_000), signingTime: new Date(NOW - 60_000) },
    /expired before it was made/,
  ],
  [
    "a signing time before the certificates",
    { signingTime: new Date(NOW - 2 * DAY_MS) },
    /is valid from .* the signature says that it was made on/,
  ],
  ["another algorithm in name", set({ alg: "PS256" }), /says PS256, and its key makes ES256/],
  ["a weaker curve in name", set({ alg: "ES384" }), /says ES384, and its key makes ES256/],
  ["no algorithm", set({ alg: undefined }), /algorithm that is not accepted/],
  ["alg none", set({ alg: "none" }), /algorithm that is not accepted/],
  ["a MAC", set({ alg: "HS256" }), /algorithm that is not accepted/],
  ["PKCS #1 v1.5", set({ alg: "RS256" }), /algorithm that is not accepted/],
  [
    "another key's signature",
    {
      signature: (data) =>
        sign("sha256", data, { key: keyPairOf("p256").privateKey, dsaEncoding: "ieee-p1363" }),
    },
    /signature does not fit/,
  ],
  [
    "a DER signature",
    { signature: (data, keys) => sign("sha256", data, keys.privateKey) },
    /signature does not fit/,
  ],
  ["a signature of zeros", { signature: () => Buffer.alloc(64) }, /signature does not fit/],
  ["a short signature", { signature: () => Buffer.alloc(8) }, /signature does not fit/],
  [
    "another hash",
    {
      signature: (data, keys) =>
        sign("sha384", data, { key: keys.privateKey, dsaEncoding: "ieee-p1363" }),
    },
    /signature does not fit/,
  ],
  [
    "a payload changed afterwards",
    {
      tamper: (parts) => ({ ...parts, payload: Buffer.concat([parts.payload, Buffer.from(" ")]) }),
    },
    /signature does not fit/,
  ],
  [
    "headers changed afterwards",
    {
      tamper: (parts) => ({ ...parts, headers: Buffer.concat([parts.headers, Buffer.from(" ")]) }),
    },
    /signature does not fit|not the CBOR/,
  ],
  [
    "no signature",
    { tamper: (parts) => ({ ...parts, signature: Buffer.alloc(0) }) },
    /not base64url|without headers, payload or signature/,
  ],
  [
    "no payload",
    { tamper: (parts) => ({ ...parts, payload: Buffer.alloc(0) }) },
    /not base64url|without headers, payload or signature/,
  ],
  [
    "no certificates",
    { tamper: (parts) => ({ ...parts, certificates: [] }) },
    /has no certificates/,
  ],
  [
    "eleven certificates",
    {
      tamper: (parts) => ({
        ...parts,
        certificates: Array.from({ length: 11 }, () => parts.certificates[0] ?? Buffer.alloc(0)),
      }),
    },
    /11 certificates, at most 10/,
  ],
  [
    "no root",
    { tamper: (parts) => ({ ...parts, certificates: parts.certificates.slice(0, -1) }) },
    /no certificate of its chain/,
  ],
  [
    "the root first",
    { tamper: (parts) => ({ ...parts, certificates: parts.certificates.toReversed() }) },
    /is the last of its chain, and not self-signed/,
  ],
  [
    "the intermediate left out",
    { tamper: (parts) => ({ ...parts, certificates: parts.certificates.toSpliced(1, 1) }) },
    /was not issued by/,
  ],
  [
    "the root twice",
    {
      tamper: (parts) => ({
        ...parts,
        certificates: [...parts.certificates, ...parts.certificates.slice(-1)],
      }),
    },
    /self-signed, and not the last of its chain/,
  ],
  [
    "a stranger's chain with our root behind it",
    {
      tamper: (parts) => ({
        ...parts,
        certificates: [
          ...mintNotationSigner({ issuedBy: "root" }).chain.slice(0, 1),
          ...parts.certificates.slice(1),
        ],
      }),
    },
    /was not issued by/,
  ],
  [
    "an unrelated certificate behind it",
    {
      tamper: (parts) => ({
        ...parts,
        certificates: [...parts.certificates, ...mintNotationSigner({ issuedBy: "itself" }).chain],
      }),
    },
    /was not issued by/,
  ],
  [
    "bytes behind a certificate",
    {
      tamper: (parts) => ({
        ...parts,
        certificates: parts.certificates.map((der) => Buffer.concat([der, Buffer.from([0])])),
      }),
    },
    /certificate that cannot be read/,
  ],
  [
    "something else than a certificate",
    { tamper: (parts) => ({ ...parts, certificates: [Buffer.from("nonsense")] }) },
    /certificate that cannot be read/,
  ],
  [
    "a certificate of 70,000 bytes",
    { tamper: (parts) => ({ ...parts, certificates: [Buffer.alloc(70_000, 0x30)] }) },
    /certificate of more than 65536 bytes/,
  ],
  [
    "a header signed and unsigned",
    {
      tamper: (parts) => ({
        ...parts,
        unprotected: { [EXPIRY]: "2099-01-01T00:00:00Z", [SCHEME]: "notary.x509" },
      }),
    },
    /signingScheme signed and unsigned/,
  ],
];

for (const format of FORMATS) {
  t.test(`forged ${format} envelopes do not count`, async (t) => {
    const signer = mintNotationSigner();
    t.equal(look(signer.sign({ format, target: TARGET })), NOTATION_SUBJECT, "the honest one");
    for (const [what, options, problem] of FORGERIES) {
      t.match(look(signer.sign({ format, target: TARGET, ...options })), problem, what);
    }
  });
}

t.test("COSE's certificates may be signed, but not at two places", async (t) => {
  const signer = mintNotationSigner();
  const mint = (certificates: readonly Buffer[]): MintedNotation =>
    signer.sign({
      format: "cose",
      target: TARGET,
      ...set({ x5chain: signer.chain }),
      tamper: (parts) => ({ ...parts, certificates }),
    });
  t.equal(look(mint([])), NOTATION_SUBJECT);
  t.match(look(mint(signer.chain)), /header 33 signed and unsigned/);
});
