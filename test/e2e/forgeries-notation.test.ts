import t from "tap";
import type { Forgery } from "../support/forger.ts";
import { startForger } from "../support/forger.ts";
import { OTHER_DIGEST, rows } from "../support/forger-rules.ts";
import { DAY_MS } from "../support/notation-certificates.ts";
import type { NotationSigner, NotationSigningOptions } from "../support/notation-fixture.ts";
import { mintNotationSigner, notationSettings } from "../support/notation-fixture.ts";
import { EXPIRY, NOW, SCHEME, set } from "../support/notation-look.ts";
import { keyOf, signedBy } from "../support/policies.ts";
import { byKey, key, sigstore } from "../support/policy-rig.ts";
import { asNotation, asReferrer, JWS, NOTATION_SIGNATURE } from "../support/sign-placements.ts";
import type { Sign } from "../support/signed-images.ts";

const FORMATS = ["jws", "cose"] as const;
const signer = mintNotationSigner();
const stranger = mintNotationSigner();
const authority = notationSettings([signer.rootPem], ["C=US, O=acme"]);
const forger = await startForger(t, [
  signedBy(authority, { name: "notation" }),
  signedBy(keyOf(key), { name: "key" }),
  signedBy(authority, {
    name: "both",
    signatures: { require: "all", authorities: [authority, keyOf(key)] },
  }),
]);

type Signing = Partial<NotationSigningOptions>;

function by(one: NotationSigner, format: "jws" | "cose", options: Signing = {}): Sign {
  return ({ digest, mediaType, size }) => {
    const target = { digest, mediaType, size };
    const minted = one.sign({ format, target, ...options });
    return asNotation(minted.envelope, { mediaType: minted.mediaType });
  };
}

/** With a chain of its own under the trusted root, or under none. */
const chains: readonly (readonly [name: string, signer: NotationSigner, why: RegExp])[] = [
  ["another root of the same name", stranger, /no certificate of its chain is in the trust store/],
  [
    "a leaf that is its own root",
    mintNotationSigner({ issuedBy: "itself" }),
    /no certificate of its chain is in the trust store/,
  ],
  [
    "another organization",
    mintNotationSigner({ like: signer, subjectDN: "C=US, ST=WA, O=evil, CN=release" }),
    /whom the rule does not name/,
  ],
  [
    "an organization with more to its name",
    mintNotationSigner({ like: signer, subjectDN: "C=US, ST=WA, O=acme evil, CN=release" }),
    /whom the rule does not name/,
  ],
  [
    "the organization in another attribute",
    mintNotationSigner({ like: signer, subjectDN: "C=US, ST=WA, O=evil, CN=O\\=acme" }),
    /whom the rule does not name/,
  ],
  [
    "no country",
    mintNotationSigner({ like: signer, subjectDN: "ST=WA, O=acme, CN=release" }),
    /whom the rule does not name/,
  ],
  [
    "a leaf that has expired",
    mintNotationSigner({
      like: signer,
      leaf: { notBefore: new Date(NOW - 9 * DAY_MS), notAfter: new Date(NOW - DAY_MS) },
    }),
    /expired|is valid from/,
  ],
  [
    "a leaf that is not valid yet",
    mintNotationSigner({ like: signer, leaf: { notBefore: new Date(NOW + DAY_MS) } }),
    /is valid from/,
  ],
  [
    "a server's certificate",
    mintNotationSigner({ like: signer, leaf: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] } }),
    /\S/,
  ],
  [
    "an authority as the leaf",
    mintNotationSigner({
      like: signer,
      leaf: {
        basicConstraints: { isAuthority: true },
        keyUsage: { usages: ["keyCertSign", "digitalSignature"] },
      },
    }),
    /\S/,
  ],
  ["a leaf of the leaf", issuedByLeaf(), /\S/],
];

for (const format of FORMATS) {
  t.test(`forged ${format} envelopes`, async (t) => {
    const signed = (options: Signing, why: RegExp): Forgery => [by(signer, format, options), why];
    await forger.refuse(t, "notation", {
      "another image": signed(
        { target: { digest: OTHER_DIGEST, mediaType: "x", size: 7 } },
        /about another image: sha256:abab/,
      ),
      "an image of another size": [
        ({ digest, mediaType, size }) => {
          const target = { digest, mediaType, size: size + 1 };
          const { envelope, mediaType: type } = signer.sign({ format, target });
          return asNotation(envelope, { mediaType: type });
        },
        /media type or size/,
      ],
      "no image": signed({ payload: {} }, /about another image: undefined/),
      "an expiry that has come": signed(
        { expiry: new Date(NOW - 1000), signingTime: new Date(NOW - 60_000) },
        /expired on/,
      ),
      "alg none": signed(set({ alg: "none" }), /algorithm that is not accepted/),
      "a MAC with the key that everybody knows": signed(set({ alg: "HS256" }), /not accepted/),
      "another algorithm in name": signed(set({ alg: "PS256" }), /its key makes ES256/),
      "a critical header that nobody knows": signed(
        set({ x: 1, crit: [SCHEME, "x"] }),
        /critical header that is not known/,
      ),
      "an expiry that is not critical": signed(
        set({ [EXPIRY]: new Date(NOW + DAY_MS) }),
        /does not mark .*expiry as critical/,
      ),
      "a plugin": signed(
        set({ "io.cncf.notary.verificationPlugin": "p" }),
        /asks for a verification plugin/,
      ),
      "a payload that was changed": signed(
        {
          tamper: (parts) => ({
            ...parts,
            payload: Buffer.concat([parts.payload, Buffer.from(" ")]),
          }),
        },
        /signature does not fit/,
      ),
      "a signature of zeros": signed({ signature: () => Buffer.alloc(64) }, /does not fit/),
      "no certificates": signed(
        { tamper: (parts) => ({ ...parts, certificates: [] }) },
        /has no certificates/,
      ),
      "a stranger's signature with our chain": signed(
        { signature: (data) => signatureOf(stranger, format, data) },
        /signature does not fit/,
      ),
      "our root behind a stranger's leaf": [
        by(stranger, format, {
          tamper: (parts) => ({
            ...parts,
            certificates: [...parts.certificates.slice(0, 1), ...signer.chain.slice(1)],
          }),
        }),
        /was not issued by/,
      ],
    });
    for (const [name, one, why] of chains) {
      await forger.refuse(t, "notation", { [name]: [by(one, format), why] });
    }
  });
}

t.test("neither format stands for the other", async (t) => {
  await forger.refuse(t, "notation", {
    "no signature": [[], /no signature (?:was )?found/],
    "cosign's bundle": [byKey, /is a cosign signature, and the rule asks for Notation/],
    "cosign's older format": [rows.signatureTag([{ by: key }]), /is a cosign signature/],
    "cosign's bundle under Notation's types": [
      async ({ digest }) => {
        const bundle = JSON.stringify(await sigstore.bundle({ digest, by: key }));
        return asNotation(bundle, { mediaType: JWS });
      },
      /\S/,
    ],
    "Notation's artifactType with another layer": [
      () =>
        asReferrer([{ mediaType: "application/json", payload: Buffer.from("{}") }], {
          artifactType: NOTATION_SIGNATURE,
        }),
      /no signature (?:was )?found/,
    ],
    "a JWS that is called COSE": [
      ({ digest, mediaType, size }) => {
        const { envelope } = signer.sign({ format: "jws", target: { digest, mediaType, size } });
        return asNotation(envelope, { mediaType: "application/cose" });
      },
      /\S/,
    ],
    garbage: [() => asNotation("x"), /\S/],
  });
  await forger.refuse(t, "key", {
    "Notation where a key is asked for": [by(signer, "jws"), /is a Notation signature/],
    "its COSE": [by(signer, "cose"), /is a Notation signature/],
  });
  await forger.refuse(t, "both", {
    "Notation alone": [by(signer, "jws"), /not signed by key/],
    "the key alone": [byKey, /not signed by notation/],
  });
});

function signatureOf(one: NotationSigner, format: "jws" | "cose", data: Buffer): Buffer {
  let signature: Buffer = Buffer.alloc(0);
  const target = { digest: OTHER_DIGEST, mediaType: "x", size: 7 };
  one.sign({
    format,
    target,
    tamper: (parts) => {
      signature = parts.signature;
      return parts;
    },
  });
  return data.length === 0 ? data : signature;
}

/** Whoever has a leaf issues another one with it. */
function issuedByLeaf(): NotationSigner {
  const issuer = { subjectDN: "C=US, ST=WA, O=acme, CN=release", keys: signer.keys };
  return mintNotationSigner({
    like: {
      ...signer,
      issuer,
      chain: [signer.chain[0], ...signer.chain].filter((der) => der !== undefined),
    },
  });
}
