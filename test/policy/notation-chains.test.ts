import t from "tap";
import type { CertificateOptions } from "../support/notation-certificates.ts";
import { DAY_MS, KEY_USAGES } from "../support/notation-certificates.ts";
import type { NotationSignerOptions } from "../support/notation-fixture.ts";
import { mintNotation, NOTATION_SUBJECT } from "../support/notation-fixture.ts";
import { look, NOW, TARGET } from "../support/notation-look.ts";

const FORMATS = ["jws", "cose"] as const;
const FOR_SIGNATURES = ["digitalSignature", "nonRepudiation"];
const NOT_FOR_SIGNATURES = KEY_USAGES.filter((usage) => !FOR_SIGNATURES.includes(usage));

function authority(more: {
  pathLength?: number;
  isCritical?: boolean;
  isAuthority?: boolean;
}): CertificateOptions {
  return { basicConstraints: { isAuthority: true, ...more } };
}

function usages(...names: string[]): CertificateOptions {
  return { keyUsage: { usages: names } };
}

t.test("what may differ between chains that count", async (t) => {
  const chains: [what: string, options: NotationSignerOptions][] = [
    ["a leaf that signed itself", { issuedBy: "itself" }],
    ["a leaf by the root", { issuedBy: "root" }],
    ["RSA authorities", { authorityKey: "rsa2048" }],
    [
      "RSASSA-PSS certificates",
      { authorityKey: "rsa2048", leaf: { isPss: true }, root: { isPss: true } },
    ],
    ["Ed25519 authorities", { authorityKey: "ed25519" }],
    ["no extended key usage", { leaf: { extendedKeyUsage: null } }],
    ["non-repudiation", { leaf: { keyUsage: { usages: ["digitalSignature", "nonRepudiation"] } } }],
    ["basic constraints of a leaf", { leaf: { basicConstraints: { isAuthority: false } } }],
    [
      "path lengths that suffice",
      { root: authority({ pathLength: 1 }), intermediate: authority({ pathLength: 0 }) },
    ],
    ["an extension that nobody honours", { leaf: { extraExtensions: ["1.2.3.4"] } }],
    ["no country", { subjectDN: "CN=release, O=acme" }],
  ];
  for (const [what, options] of chains) {
    const { subjectDN = NOTATION_SUBJECT } = options;
    t.equal(look(mintNotation({ ...options, format: "cose", target: TARGET })), subjectDN, what);
  }
});

t.test("chains that break the certificate requirements do not count", async (t) => {
  const past = { notBefore: new Date(NOW - 2 * DAY_MS), notAfter: new Date(NOW - DAY_MS / 2) };
  const chains: [what: string, options: NotationSignerOptions, problem: RegExp][] = [
    [
      "an expired leaf",
      { leaf: past },
      /CN=release expired on .*; the signature says that it was made on/,
    ],
    ["an expired intermediate", { intermediate: past }, /CN=intermediate expired on/],
    ["an expired root", { root: past }, /CN=root expired on/],
    ["a leaf of tomorrow", { leaf: { notBefore: new Date(NOW + DAY_MS) } }, /is valid from/],
    ["a leaf that is an authority", { leaf: authority({}) }, /is an authority's/],
    ["a leaf without key usage", { leaf: { keyUsage: null } }, /no critical key usage/],
    [
      "a leaf whose key usage is not critical",
      { leaf: { keyUsage: { usages: ["digitalSignature"], isCritical: false } } },
      /no critical key usage/,
    ],
    ["a leaf that may not sign", { leaf: usages("nonRepudiation") }, /not for digital signatures/],
    ...NOT_FOR_SIGNATURES.map((usage): [string, NotationSignerOptions, RegExp] => [
      `a leaf for ${usage}`,
      { leaf: usages("digitalSignature", usage) },
      new RegExp(`also for ${usage}`),
    ]),
    [
      "a TLS server's leaf",
      { leaf: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] } },
      /for TLS servers/,
    ],
    [
      "a TLS client's leaf",
      { leaf: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.2"] } },
      /for TLS clients/,
    ],
    ["an e-mail leaf", { leaf: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.4"] } }, /for e-mail/],
    [
      "a timestamping leaf",
      { leaf: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.8"] } },
      /for timestamping/,
    ],
    ["a leaf for any purpose", { leaf: { extendedKeyUsage: ["2.5.29.37.0"] } }, /for any purpose/],
    [
      "an intermediate without basic constraints",
      { intermediate: { basicConstraints: null } },
      /not an authority's/,
    ],
    [
      "an intermediate that is none",
      { intermediate: authority({ isAuthority: false }) },
      /not an authority's/,
    ],
    [
      "basic constraints that are not critical",
      { root: authority({ isCritical: false }) },
      /not an authority's/,
    ],
    [
      "an intermediate without key usage",
      { intermediate: { keyUsage: null } },
      /not for signing certificates/,
    ],
    [
      "a root that may not sign certificates",
      { root: usages("digitalSignature", "cRLSign") },
      /not for signing certificates/,
    ],
    [
      "a root that allows no intermediate",
      { root: authority({ pathLength: 0 }) },
      /allows 0 authorities below it, not 1/,
    ],
    ["a leaf signed with SHA-1", { leaf: { hash: "sha1" } }, /SHA-1/],
    [
      "an intermediate signed with SHA-1",
      { authorityKey: "rsa2048", intermediate: { hash: "sha1" } },
      /SHA-1/,
    ],
    ["a root signed with SHA-1", { root: { hash: "sha1" } }, /SHA-1/],
    ["a weak leaf", { key: "rsa1024" }, /too weak/],
    ["an exponent that nobody chooses", { key: "rsa2048-huge-exponent" }, /of a kind that is not/],
    ["weak authorities", { authorityKey: "rsa1024" }, /too weak/],
    ["an RSA key of an odd size", { key: "rsa2560" }, /none may sign with/],
    ["an Ed25519 leaf", { key: "ed25519" }, /none may sign with/],
    ["a curve of others", { key: "secp256k1" }, /too weak, or of a kind/],
    [
      "an extension twice",
      { leaf: { extraExtensions: ["1.2.3.4", "1.2.3.4"] } },
      /an extension twice/,
    ],
    ["key usage twice", { leaf: { extraExtensions: ["2.5.29.15"] } }, /an extension twice/],
    [
      "a malformed extension",
      { leaf: { basicConstraints: null, extraExtensions: ["2.5.29.19"] } },
      /an extension that cannot be read/,
    ],
    [
      "a leaf that names another issuer",
      { leaf: { issuerDN: "C=US, O=acme, CN=else" } },
      /was not issued by/,
    ],
    ["an endless name", { subjectDN: [{ type: "CN", value: "a".repeat(1100) }] }, /cannot be read/],
    [
      "a name of 40 parts",
      { subjectDN: Array.from({ length: 40 }, () => ({ type: "OU", value: "a" })) },
      /cannot be read/,
    ],
  ];
  for (const [what, options, problem] of chains) {
    t.match(look(mintNotation({ ...options, format: "jws", target: TARGET })), problem, what);
  }
  const selfMade = mintNotation({
    issuedBy: "itself",
    leaf: { ...authority({}), ...usages("digitalSignature", "keyCertSign") },
    format: "jws",
    target: TARGET,
  });
  t.match(look(selfMade), /is an authority's/, "an authority that signs by itself");
});

t.test("a certificate that expired after it was used is expired, timestamp or not", async (t) => {
  const leaf = { notBefore: new Date(NOW - 2 * DAY_MS), notAfter: new Date(NOW - DAY_MS / 2) };
  for (const format of FORMATS) {
    const minted = mintNotation({
      format,
      leaf,
      target: TARGET,
      signingTime: new Date(NOW - DAY_MS + 60_000),
      tamper: (parts) => ({
        ...parts,
        unprotected: { "io.cncf.notary.timestampSignature": "MAA=" },
      }),
    });
    t.match(look(minted), /expired on .* countersignatures are not verified here/, format);
  }
});
