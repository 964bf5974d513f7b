import t from "tap";
import { startForger } from "../support/forger.ts";
import { intotoBundle } from "../support/forger-log.ts";
import {
  release as by,
  EMAIL,
  GOOGLE_ISSUER,
  mallory,
  rows,
  rulesOf,
  stranger,
} from "../support/forger-rules.ts";
import { keyPairOf } from "../support/notation-certificates.ts";
import { mintNotationSigner, notationSettings } from "../support/notation-fixture.ts";
import { IDENTITY, ISSUER, keylessAt, keyOf, signedBy } from "../support/policies.ts";
import {
  byIdentity,
  byKey,
  byOtherKey,
  bySignatureTag,
  key,
  otherKey,
  sigstore,
} from "../support/policy-rig.ts";
import { BUNDLE_V01, BUNDLE_V02 } from "../support/sign-bundle.ts";
import { GOOGLE, kubernetesImage, PROMOTER } from "../support/sign-kubernetes.ts";
import { breakLookup, EMPTY_INDEX } from "../support/sign-lookups.ts";
import { asFlood, asNotation, asReferrer, OCI_EMPTY } from "../support/sign-placements.ts";
import { STATEMENT_V01 } from "../support/sign-statements.ts";
import type { KeySigner } from "../support/sign-with.ts";
import { keyless, keySigner } from "../support/sign-with.ts";
import type { Sign } from "../support/signed-images.ts";
import { addSignedImage } from "../support/signed-images.ts";

const keys: Readonly<Record<string, KeySigner>> = {
  "p-384": keySigner("p384"),
  "p-521": signerWith(keyPairOf("p521")),
  "rsa-2048": keySigner("rsa2048"),
  "rsa-4096": keySigner("rsa4096"),
  ed25519: keySigner("ed25519"),
};
const notation = mintNotationSigner();
const notationRule = notationSettings([notation.rootPem], ["C=US, O=acme"]);
const promoter = keylessAt(sigstore, { issuer: GOOGLE, subject: { exact: PROMOTER } });
const forger = await startForger(t, [
  ...rulesOf("keyless", "glob", "email", "stamped", "key", "logged-key", "any", "all"),
  ...Object.entries(keys).map(([name, one]) => signedBy(keyOf(one), { name })),
  signedBy(notationRule, { name: "notation" }),
  signedBy([notationRule, keyOf(key)], { name: "notation-or-key" }),
  signedBy(promoter, { name: "kubernetes" }),
  signedBy(promoter, { name: "kubernetes-own", children: "require-own" }),
]);
const { upstream } = forger;

t.test("what cosign 3 writes", async (t) => {
  await forger.serve(t, "keyless", {
    "a bundle with the log's version 1": byIdentity,
    "a bundle with the log's version 1, and a stamp": rows.bundle({ by, timestamp: true }),
    "a bundle with the log's version 2, and a stamp": rows.bundle({ by, log: "v2" }),
    "a bundle under the fallback tag, too": rows.bundle({ by }, { fallbackTag: true }),
    "a bundle under the fallback tag alone": [
      ({ digest }) => {
        breakLookup(upstream, digest, { place: "referrers", fault: { status: 404 } });
        return [];
      },
      rows.bundle({ by }, { fallbackTag: true }),
    ],
    "a bundle under the fallback tag, and an API that lists nothing": [
      ({ digest }) => {
        breakLookup(upstream, digest, { place: "referrers", fault: EMPTY_INDEX });
        return [];
      },
      rows.bundle({ by }, { fallbackTag: true }),
    ],
    "a bundle of the wrong artifactType": rows.bundle({ by }, { artifactType: OCI_EMPTY }),
    "a bundle without an artifactType": rows.bundle({ by }, { artifactType: null }),
    "v0.2": rows.bundle({ by, mediaType: BUNDLE_V02, certificateForm: "chain" }),
    "v0.1": rows.bundle({ by, mediaType: BUNDLE_V01, certificateForm: "chain" }),
    "a log entry of kind intoto": intotoBundle(),
    "an older statement": rows.bundle({ by, statementType: STATEMENT_V01 }),
    "one that is two years old": rows.bundle({ by, at: new Date(Date.now() - 63_072_000_000) }),
  });
  await forger.serve(t, "stamped", {
    "a bundle with a stamp and no log": rows.bundle({ by, log: "none" }),
    "a stranger's log that nobody asks about": rows.bundle({
      by,
      loggedBy: stranger,
      timestamp: true,
    }),
  });
  await forger.serve(t, "glob", {
    "another workflow of another repository": rows.bundle({
      by: keyless("https://github.com/acme/x/.github/workflows/y.yml@refs/heads/main", ISSUER),
    }),
    "the usual one": rows.bundle({ by: keyless(IDENTITY, ISSUER) }),
  });
  await forger.serve(t, "email", {
    "an address": rows.bundle({ by: keyless(EMAIL, GOOGLE_ISSUER) }),
  });
});

t.test("what cosign 2 writes", async (t) => {
  await forger.serve(t, "key", {
    "a key's signature under the tag": bySignatureTag,
    "a key's signature as a referrer": rows.legacyReferrer([{ by: key }]),
    "the reference of a mirror": rows.signatureTag([{ by: key, reference: "elsewhere.example/x" }]),
    "what Tekton Chains writes": rows.signatureTag([
      { by: key, type: "Tekton container signature" },
    ]),
    "one of several signers": rows.signatureTag([{ by: otherKey }, { by }, { by: key }]),
  });
  await forger.serve(t, "keyless", {
    "the log's promise": rows.signatureTag([{ by }]),
    "the log's promise and a stamp": rows.signatureTag([{ by, timestamp: true }]),
    "as a referrer": rows.legacyReferrer([{ by }]),
  });
  await forger.serve(t, "stamped", {
    "a stamp and no log": rows.signatureTag([{ by, log: "none", timestamp: true }]),
  });
});

t.test("keys of all kinds, with the log and without", async (t) => {
  await forger.serve(t, "key", { "P-256": byKey });
  for (const [rule, one] of Object.entries(keys)) {
    await forger.serve(t, rule, {
      [`${rule} in a bundle`]: rows.bundle({ by: one }),
      [`${rule} under the tag`]: rows.signatureTag([{ by: one }]),
    });
  }
  await forger.serve(t, "logged-key", {
    "a key that is logged": rows.bundle({ by: key, log: "v1" }),
    "a key that is logged in version 2": rows.bundle({ by: key, log: "v2" }),
    "a key that is logged, under the tag": rows.signatureTag([{ by: key, log: "v1" }]),
  });
});

t.test("Notation", async (t) => {
  const signed = (format: "jws" | "cose", expiry?: Date): Sign => {
    return ({ digest, mediaType, size }) => {
      const target = { digest, mediaType, size };
      const minted = notation.sign({ format, target, ...(expiry !== undefined && { expiry }) });
      return asNotation(minted.envelope, { mediaType: minted.mediaType, fallbackTag: true });
    };
  };
  await forger.serve(t, "notation", {
    JWS: signed("jws"),
    COSE: signed("cose"),
    "JWS with an expiry": signed("jws", new Date(Date.now() + 3_600_000)),
    "COSE with an expiry": signed("cose", new Date(Date.now() + 3_600_000)),
    "beside cosign's": [byKey, signed("jws")],
  });
  await forger.serve(t, "notation-or-key", { "Notation's": signed("cose"), "cosign's": byKey });
});

t.test("any of them, or all", async (t) => {
  await forger.serve(t, "any", {
    "the first": byKey,
    "the second": byIdentity,
    both: [byKey, byIdentity],
    "one in each place": [bySignatureTag, byIdentity],
  });
  await forger.serve(t, "all", {
    "both as bundles": [byKey, byIdentity],
    "one in each place": [bySignatureTag, byIdentity],
    "both under the tag": rows.signatureTag([{ by: key }, { by }]),
    "both, and strangers": [byOtherKey, byKey, rows.bundle({ by: mallory }), byIdentity],
  });
});

t.test("a good one counts, whatever stands beside it", async (t) => {
  const garbage: Sign = () => asReferrer([{ payload: Buffer.from("garbage") }]);
  const noise = (count: number): Sign[] => Array.from({ length: count }, () => byOtherKey);
  const layers = (at: number): Sign =>
    rows.signatureTag(
      Array.from({ length: 32 }, (_, place) => ({ by: place === at ? key : otherKey })),
    );
  await forger.serve(t, "key", {
    "before 31 bad ones": [byKey, ...noise(31)],
    "among 31 bad ones": [...noise(15), byKey, ...noise(16)],
    "behind 31 bad ones": [...noise(31), byKey],
    "the first of 32 layers": layers(0),
    "the middle of 32 layers": layers(16),
    "the last of 32 layers": layers(31),
    "bad ones under the tag": [rows.signatureTag([{ by: otherKey }]), byKey],
    "bad ones as referrers": [bySignatureTag, byOtherKey, garbage],
    "garbage of a known type": [() => asFlood(20), byKey],
    "an attestation by the same key": [
      rows.bundle({ by: key, predicateType: "https://evil.example/v1" }),
      byKey,
    ],
  });
  const flooded = await addSignedImage(upstream, {
    repository: "key/flooded",
    tag: "image",
    signatures: [() => asFlood(5000, "application/vnd.example"), byKey, () => asFlood(5000, "a/b")],
  });
  await forger.serveImage(t, flooded, "among ten thousand that are something else");
});

t.test("an image of Kubernetes", async (t) => {
  for (const rule of ["kubernetes", "kubernetes-own"]) {
    const repository = `${rule}/pause`;
    const image = await addSignedImage(
      upstream,
      kubernetesImage(sigstore, { repository, tag: "3.10" }),
    );
    await forger.serveImage(t, image, `${rule}: the index`);
    for (const child of image.children) {
      const asked = { ...child, tag: `child-${child.platform.replace("/", "-")}`, children: [] };
      upstream.addTag(repository, asked.tag, child.digest);
      await forger.serveImage(t, asked, `${rule}: ${child.platform}`);
    }
  }
});

t.test("what does not bind the repository passes in another one", async (t) => {
  const text = "the same image";
  const signed = { tag: "image", text, signatures: [byKey, bySignatureTag] };
  const one = await addSignedImage(upstream, { ...signed, repository: "key/one" });
  const other = await addSignedImage(upstream, { ...signed, repository: "key/other" });
  t.equal(one.digest, other.digest);
  await forger.serveImage(t, one, "cosign and Notation sign a digest");
  await forger.serveImage(t, other, "and no name");
});

function signerWith({
  publicKey,
  privateKey,
}: Pick<KeySigner, "publicKey" | "privateKey">): KeySigner {
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return { kind: "key", publicKey, privateKey, publicKeyPem };
}
