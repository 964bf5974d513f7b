import { constants, sign } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import t from "tap";
import { notationAuthority } from "../../server/policy/notation/notation.ts";
import { parseDigest } from "../../storage/digest.ts";
import { certificateOf, keyPairOf, toPem } from "../support/notation-certificates.ts";
import {
  mintNotation,
  mintNotationSigner,
  NOTATION_SUBJECT,
  notationSettings,
} from "../support/notation-fixture.ts";
import {
  AUTHENTIC_TIME,
  candidateOf,
  IMAGE,
  look,
  NOW,
  SIGNING_TIME,
  TARGET,
} from "../support/notation-look.ts";

const FORMATS = ["jws", "cose"] as const;

t.test("each key that may sign, in both envelopes", async (t) => {
  for (const key of ["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521"] as const) {
    for (const format of FORMATS) {
      t.equal(
        look(mintNotation({ key, format, target: TARGET })),
        NOTATION_SUBJECT,
        `${key} ${format}`,
      );
    }
  }
});

t.test("a signature vouches for the image, until something in it expires", async (t) => {
  const expiry = new Date(NOW + 3_600_000);
  const leafEnd = new Date(NOW + 7_200_000);
  const signer = mintNotationSigner({ leaf: { notAfter: leafEnd } });
  const authority = notationAuthority(notationSettings([signer.rootPem], ["C=US, O=acme"]));
  t.equal(authority.name, "notation C=US, O=acme (ca)");
  const unlimited = candidateOf(signer.sign({ format: "jws", target: TARGET }));
  t.same(authority.verify(unlimited, IMAGE, NOW), {
    signer: NOTATION_SUBJECT,
    says: { kind: "signature" },
    validUntilMs: leafEnd.getTime(),
  });
  const limited = candidateOf(signer.sign({ format: "cose", target: TARGET, expiry }));
  t.equal(authority.verify(limited, IMAGE, NOW).validUntilMs, expiry.getTime());
  t.throws(() => authority.verify(limited, IMAGE, expiry.getTime()), /^expired on/);
});

t.test("only the trust store decides whose chain counts", async (t) => {
  const signer = mintNotationSigner();
  const minted = signer.sign({ format: "jws", target: TARGET });
  const [leafPem = "", intermediatePem = ""] = signer.chainPem;
  const twin = certificateOf(keyPairOf("p256").publicKey, signer.issuer, {
    subjectDN: "C=US, O=acme, CN=root",
  });
  t.equal(
    look(minted, { roots: [mintNotationSigner().rootPem, signer.rootPem] }),
    NOTATION_SUBJECT,
  );
  t.equal(look(minted, { roots: [intermediatePem] }), NOTATION_SUBJECT, "a pinned intermediate");
  t.equal(look(minted, { roots: [leafPem] }), NOTATION_SUBJECT, "a pinned leaf");
  t.match(look(minted, { roots: [mintNotationSigner().rootPem] }), /no certificate of its chain/);
  t.match(look(minted, { roots: [toPem(twin)] }), /no certificate of its chain/, "the name alone");
  t.match(look(minted, { roots: [] }), /no certificate of its chain/, "an empty store");
  t.throws(() => notationAuthority(notationSettings(["nonsense"])), "a store that cannot be read");
});

t.test("a leaf must have all attributes of one of the subjects", async (t) => {
  const subjectDN = [
    ...["C=US", "O=acme", "OU=one", "OU=two", "CN=release, O=evil"].map((text) => {
      const [type = "", value = ""] = text.split(/=(.*)/);
      return { type, value };
    }),
  ];
  const minted = mintNotation({ subjectDN, format: "jws", target: TARGET });
  const signer = "C=US, O=acme, OU=one, OU=two, CN=release\\, O=evil";
  for (const subjects of [
    ["*"],
    ["C=US, O=acme"],
    ["O=acme"],
    ["O=other", "C=US"],
    ['CN="release, O=evil"'],
  ]) {
    t.equal(look(minted, { subjects }), signer, subjects.join(" or "));
  }
  for (const subject of [
    "O=evil",
    "O=Acme",
    "O=acm",
    "O=acme inc",
    "C=US, ST=WA",
    "OU=one",
    "CN=release",
    "L=*",
  ]) {
    t.match(look(minted, { subjects: [subject] }), /whom the rule does not name/, subject);
  }
  t.match(look(minted, { subjects: [] }), /whom the rule does not name/, "no subject at all");
});

t.test("a signature of another kind is named as what it is", async (t) => {
  const minted = mintNotation({ format: "jws", target: TARGET });
  const authority = notationAuthority(notationSettings([minted.rootPem]));
  for (const format of ["bundle", "cosign-signature", "cosign-attestation"] as const) {
    const candidate = { ...candidateOf(minted), format };
    t.throws(
      () => authority.verify(candidate, IMAGE, NOW),
      /is a cosign signature.*asks for Notation/,
    );
  }
  t.match(look({ ...minted, mediaType: "application/cose" }), /not a tagged COSE_Sign1/);
  const asOther = { ...candidateOf(minted), mediaType: "application/json" };
  t.throws(
    () => authority.verify(asOther, IMAGE, NOW),
    /neither JWS nor COSE, but application\/json/,
  );
});

t.test("RSA signatures other than PSS with the right salt do not count", async (t) => {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const signer = mintNotationSigner({ key: "rsa2048" });
  const saltLengths = [0, 20, 64].map((saltLength) => ({ padding, saltLength }));
  for (const how of [...saltLengths, { padding: constants.RSA_PKCS1_PADDING }]) {
    const minted = signer.sign({
      format: "jws",
      target: TARGET,
      signature: (data, { privateKey: key }) => sign("sha256", data, { key, ...how }),
    });
    t.match(look(minted), /signature does not fit/, JSON.stringify(how));
  }
});

t.test("a leaf of the same authority cannot borrow another one's signature", async (t) => {
  const signer = mintNotationSigner();
  const other = mintNotationSigner({ like: signer, subjectDN: "C=US, O=other" });
  const minted = other.sign({ format: "jws", target: TARGET });
  t.equal(look(minted), "C=US, O=other");
  t.match(
    look(minted, { subjects: ["O=acme"] }),
    /is by C=US, O=other, whom the rule does not name/,
  );
  const swapped = other.sign({
    format: "jws",
    target: TARGET,
    tamper: (parts) => ({ ...parts, certificates: signer.chain }),
  });
  t.match(look(swapped, { subjects: ["O=acme"] }), /signature does not fit/);
});
t.test("Notation's own test envelopes come out as its authors say", async (t) => {
  const folder = "test/data/notation-go";
  const files = (await readdir(folder)).filter((file) => file.endsWith(".json"));
  t.equal(files.length, 11);
  for (const file of files) {
    const envelope = await readFile(`${folder}/${file}`);
    t.match(lookAt(envelope, file), expectationOf(file), file);
  }
});

function expectationOf(file: string): RegExp {
  if (file.includes("plugin")) {
    return /asks for a verification plugin/;
  }
  if (file.startsWith("ca_expired")) {
    return /^expired on 2022-07-29/;
  }
  // The changed payload is not even proper base64url.
  return file.startsWith("sa_invalid")
    ? /payload that is not base64url/
    : /^C=US, ST=WA, L=Seattle, O=Notary/;
}

/** As the README of the data says: about what it says, with its own root, at its own time. */
function lookAt(envelope: Buffer, file: string): string {
  const { payload, protected: signed, header } = JSON.parse(envelope.toString());
  const { targetArtifact } = JSON.parse(Buffer.from(payload, "base64url").toString());
  const times = JSON.parse(Buffer.from(signed, "base64url").toString());
  const at = Date.parse(times[AUTHENTIC_TIME] ?? times[SIGNING_TIME]);
  const rootPem = toPem(Buffer.from(header.x5c.at(-1), "base64"));
  const image = {
    digest: parseDigest(targetArtifact.digest),
    mediaType: targetArtifact.mediaType,
    sizeBytes: targetArtifact.size,
  };
  const minted = { envelope, mediaType: "application/jose+json", chainPem: [], rootPem } as const;
  return look(minted, { image, nowMs: file.startsWith("ca_expired") ? Date.now() : at });
}
