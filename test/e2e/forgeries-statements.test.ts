import t from "tap";
import { startForger } from "../support/forger.ts";
import { release as by, OTHER_DIGEST, rows, rulesOf } from "../support/forger-rules.ts";
import { byOtherKey, key, otherKey, sigstore } from "../support/policy-rig.ts";
import type { SignatureLayer } from "../support/sign-legacy.ts";
import {
  CERTIFICATE_ANNOTATION,
  CHAIN_ANNOTATION,
  editRekorBundle,
  REKOR_ANNOTATION,
  SIGNATURE_ANNOTATION,
  SIMPLE_SIGNING,
} from "../support/sign-legacy.ts";
import { asBundle, asSignatureTag, asTagged } from "../support/sign-placements.ts";
import { SLSA_PROVENANCE, VULNERABILITIES } from "../support/sign-statements.ts";
import type { Sign } from "../support/signed-images.ts";
import { OCI_INDEX } from "../support/signed-images.ts";

const forger = await startForger(t, rulesOf("key", "keyless", "own"));

const OTHER_HEX = OTHER_DIGEST.slice("sha256:".length);
const COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1";
const hexOf = (digest: string): string => digest.slice("sha256:".length);

/** A statement of whatever the image's digest makes of it, signed by whom the rule names. */
function stating(statementOf: (hex: string) => object | string): Sign {
  return async ({ digest }) => {
    const statement = statementOf(hexOf(digest));
    const payload = typeof statement === "string" ? statement : JSON.stringify(statement);
    return asBundle(await sigstore.bundle({ digest, by: key, payload }));
  };
}

/** The usual one with some of its members changed. */
function stated(changes: (hex: string) => object): Sign {
  return stating((hex) => ({ ...statementOf(hex), ...changes(hex) }));
}

function statementOf(hex: string): object {
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ digest: { sha256: hex } }],
    predicateType: COSIGN_SIGN,
    predicate: {},
  };
}

/** An older format's payload of whatever the digest makes of it, signed by whom the rule names. */
function simply(payloadOf: (digest: string) => object | string): Sign {
  return async ({ digest }) => {
    const content = payloadOf(digest);
    const payload = typeof content === "string" ? content : JSON.stringify(content);
    return asSignatureTag([await sigstore.legacySignature({ digest, by: key, payload })]);
  };
}

function critical(named: unknown, type: unknown = "cosign container image signature"): object {
  const identity = { "docker-reference": "" };
  return { critical: { identity, image: { "docker-manifest-digest": named }, type } };
}

t.test("a statement is about the image only if it says so", (t) =>
  forger.refuse(t, "key", {
    "another subject": [stated(() => subject({ sha256: OTHER_HEX })), /another image/],
    "no subject": [stated(() => ({ subject: [] })), /names no sha256 of an image/],
    "no list of subjects": [stated(() => ({ subject: undefined })), /names no sha256/],
    "a subject that is no list": [
      stated((hex) => ({ subject: { digest: { sha256: hex } } })),
      /names no sha256/,
    ],
    "a subject by another algorithm": [
      stated((hex) => subject({ sha512: hex.repeat(2) })),
      /names no sha256/,
    ],
    "a subject in other case": [
      stated((hex) => subject({ sha256: hex.toUpperCase() })),
      /another image/,
    ],
    "the start of the digest": [stated((hex) => subject({ sha256: hex.slice(0, 63) })), /another/],
    "the digest and more": [stated((hex) => subject({ sha256: `${hex}0` })), /another image/],
    "the digest with its algorithm": [
      stated((hex) => subject({ sha256: `sha256:${hex}` })),
      /another image/,
    ],
    "the digest in a list": [stated((hex) => subject({ sha256: [hex] })), /names no sha256/],
    "the digest as an algorithm": [
      stated((hex) => subject({ [hex]: "sha256" })),
      /names no sha256/,
    ],
    "the digest as a name": [
      stated((hex) => ({ subject: [{ name: `sha256:${hex}`, digest: { sha256: OTHER_HEX } }] })),
      /another image/,
    ],
    "SHA256 as the algorithm": [stated((hex) => subject({ SHA256: hex })), /names no sha256/],
    "1,025 subjects, the last of which it is": [
      stated((hex) => ({
        subject: [
          ...Array(1024).fill({ digest: { sha256: OTHER_HEX } }),
          { digest: { sha256: hex } },
        ],
      })),
      /has 1025 subjects/,
    ],
    "another type of statement": [
      stated(() => ({ _type: "https://in-toto.io/Statement/v2" })),
      /is not an in-toto statement/,
    ],
    "no type of statement": [stated(() => ({ _type: undefined })), /is not an in-toto statement/],
    "something else": [stating(() => ({ hello: "world" })), /is not an in-toto statement/],
    "no JSON": [stating(() => "hello"), /its statement is not JSON/],
    nothing: [stating(() => ""), /\S/],
    "a list": [stating((hex) => [statementOf(hex)]), /its statement is not a JSON object/],
    "a byte order mark": [
      stating((hex) => `\ufeff${JSON.stringify(statementOf(hex))}`),
      /its statement is not JSON/,
    ],
    "something behind it": [
      stating((hex) => `${JSON.stringify(statementOf(hex))} {}`),
      /its statement is not JSON/,
    ],
    "two subject members, the image in the first": [
      stating((hex) => twice(`"subject":${listOf(hex)}`, `"subject":${listOf(OTHER_HEX)}`)),
      /another image|twice/,
    ],
    "two subject members, the image in the last": [
      stating((hex) => twice(`"subject":${listOf(OTHER_HEX)}`, `"subject":${listOf(hex)}`)),
      /twice/,
    ],
    "two digests of a subject": [
      stating((hex) =>
        twice(`"subject":[{"digest":{"sha256":"${OTHER_HEX}","sha256":"${hex}"}}]`, '"x":1'),
      ),
      /twice/,
    ],
    "another payload type": [
      rows.bundle({ by: key, payloadType: "text/plain" }),
      /something else than an in-toto statement/,
    ],
    "the payload type in other case": [
      rows.bundle({ by: key, payloadType: "Application/vnd.in-toto+json" }),
      /something else than an in-toto statement/,
    ],
    "a payload type with a parameter": [
      rows.bundle({ by: key, payloadType: "application/vnd.in-toto+json; x=y" }),
      /something else than an in-toto statement/,
    ],
  }),
);

t.test("what vouches for something else does not vouch for the image", async (t) => {
  const attestation = /is an attestation: it vouches for what it says, and not for the image/;
  const types: Readonly<Record<string, string>> = {
    "a provenance": SLSA_PROVENANCE,
    "a vulnerability scan": VULNERABILITIES,
    "a custom predicate": "https://cosign.sigstore.dev/attestation/v1",
    "a signature's type with a slash": `${COSIGN_SIGN}/`,
    "a signature's type in other case": COSIGN_SIGN.replace("sign/v1", "Sign/v1"),
    "a signature's type of another version": COSIGN_SIGN.replace("v1", "v2"),
    "a signature's type with a tail": `${COSIGN_SIGN}#x`,
    "a signature's type over http": COSIGN_SIGN.replace("https", "http"),
  };
  for (const [name, predicateType] of Object.entries(types)) {
    await forger.refuse(t, "key", {
      [name]: [rows.bundle({ by: key, predicateType }), attestation],
    });
    await forger.refuse(t, "keyless", {
      [name]: [rows.bundle({ by, predicateType }), attestation],
    });
  }
  await forger.refuse(t, "key", {
    "no type": [stated(() => ({ predicateType: undefined })), /has no predicateType/],
    "a type in a list": [stated(() => ({ predicateType: [COSIGN_SIGN] })), /has no predicateType/],
    "two types, a signature's first": [
      stating((hex) =>
        twice(
          `"subject":${listOf(hex)},"predicateType":"${COSIGN_SIGN}"`,
          `"predicateType":"${SLSA_PROVENANCE}"`,
        ),
      ),
      /twice|is an attestation/,
    ],
    "an attestation as a referrer of the older format": [
      rows.legacyReferrer([{ by: key, payload: "{}" }]),
      /is not an image's signature/,
    ],
  });
});

t.test("a payload of the older format is about the image only if it says so", async (t) => {
  await forger.refuse(t, "key", {
    "another digest": [simply(() => critical(OTHER_DIGEST)), /another image/],
    "no digest": [simply(() => critical(undefined)), /names no image/],
    "an empty one": [simply(() => critical("")), /names no image/],
    "a digest in a list": [simply((digest) => critical([digest])), /names no image/],
    "a digest in other case": [simply((digest) => critical(digest.toUpperCase())), /another image/],
    "a digest without its algorithm": [
      simply((digest) => critical(hexOf(digest))),
      /another image/,
    ],
    "a digest with a space": [simply((digest) => critical(`${digest} `)), /another image/],
    "a digest and a tag": [simply((digest) => critical(`app@${digest}`)), /another image/],
    "another type": [simply((digest) => critical(digest, "atomic container signature")), /of type/],
    "the type in other case": [
      simply((digest) => critical(digest, "Cosign container image signature")),
      /of type/,
    ],
    "no type": [simply((digest) => critical(digest, null)), /of type/],
    "nothing critical": [simply((digest) => ({ optional: critical(digest) })), /of type/],
    "the digest in an optional part": [
      simply((digest) => ({ ...critical(OTHER_DIGEST), optional: critical(digest) })),
      /another image/,
    ],
    "no JSON": [simply(() => "hello"), /its payload is not JSON/],
    "a list": [simply((digest) => [critical(digest)]), /its payload is not a JSON object/],
    "a byte order mark": [
      simply((digest) => `\ufeff${JSON.stringify(critical(digest))}`),
      /its payload is not JSON/,
    ],
    "an object without its braces": [
      simply((digest) => `${members(critical(digest))},${members(critical(OTHER_DIGEST))}`),
      /\S/,
    ],
    "the right critical part, and then another": [
      simply((digest) => `{${members(critical(digest))},${members(critical(OTHER_DIGEST))}}`),
      /another image|twice/,
    ],
    "another critical part, and then the right one": [
      simply((digest) => `{${members(critical(OTHER_DIGEST))},${members(critical(digest))}}`),
      /twice/,
    ],
  });
  const childsSignature: Sign = async ({ repository, digest }) => {
    const manifest = JSON.parse(forger.upstream.manifest(repository, digest)?.toString() ?? "");
    const child = manifest.manifests?.[0]?.digest ?? OTHER_DIGEST;
    return [
      asSignatureTag([await sigstore.legacySignature({ digest: child, by: key })]),
      asBundle(await sigstore.bundle({ digest: child, by: key })),
    ];
  };
  await forger.refuse(t, "own", { "a child's signature": [childsSignature, /another image/] });
  await forger.refuse(t, "key", { "a child's signature": [childsSignature, /another image/] });
});

t.test("nothing of a layer of the older format can be changed", async (t) => {
  const edited = (edit: (layer: SignatureLayer) => void): Sign => rows.signatureTag([{ by, edit }]);
  const annotated = (name: string, textOf: (donor: SignatureLayer) => string): Sign => {
    return async ({ digest }) => {
      const layer = await sigstore.legacySignature({ digest, by });
      const donor = await sigstore.legacySignature({ digest, by });
      layer.annotations[name] = textOf(donor);
      return asSignatureTag([layer]);
    };
  };
  const fromDonor = (name: string): Sign =>
    annotated(name, ({ annotations }) => annotations[name] ?? "");
  await forger.refuse(t, "keyless", {
    "a space in its payload": [
      edited((layer) => {
        layer.payload = Buffer.concat([layer.payload, Buffer.from(" ")]);
      }),
      /\S/,
    ],
    "another's signature": [fromDonor(SIGNATURE_ANNOTATION), /signature|log entry/],
    "another's certificate": [fromDonor(CERTIFICATE_ANNOTATION), /signature|log entry/],
    "another's log entry": [fromDonor(REKOR_ANNOTATION), /log entry/],
    "no signature": [annotated(SIGNATURE_ANNOTATION, () => ""), /carries no signature/],
    "no certificate": [annotated(CERTIFICATE_ANNOTATION, () => ""), /was made with a key/],
    "a certificate that is none": [annotated(CERTIFICATE_ANNOTATION, () => "x"), /cannot be read/],
    "no log entry": [annotated(REKOR_ANNOTATION, () => ""), /in no transparency log/],
    "a log entry that is none": [annotated(REKOR_ANNOTATION, () => "{"), /log entry is not JSON/],
    "a log entry that is empty": [annotated(REKOR_ANNOTATION, () => "{}"), /log entry/],
    "the log's time": [
      edited((layer) => editRekorBundle(layer, ({ Payload }) => (Payload.integratedTime += 1))),
      /not signed by a log of the trusted root/,
    ],
    "the log's index": [
      edited((layer) => editRekorBundle(layer, ({ Payload }) => (Payload.logIndex += 1))),
      /not signed by a log of the trusted root/,
    ],
    "the log's promise": [
      edited((layer) =>
        editRekorBundle(layer, (bundle) => {
          bundle.SignedEntryTimestamp = bundle.SignedEntryTimestamp.replace(/.(?=.{20}$)/, "x");
        }),
      ),
      /\S/,
    ],
    "a chain to another root beside it": [
      rows.signatureTag([
        {
          by,
          signingKey: otherKey.privateKey,
          edit: ({ annotations }) => {
            annotations[CHAIN_ANNOTATION] = annotations[CERTIFICATE_ANNOTATION] ?? "";
          },
        },
      ]),
      /its signature does not fit/,
    ],
  });
  await forger.refuse(t, "key", {
    "other bytes than its descriptor's": [
      rows.signatureTag([{ by: key }], { wrongBlobs: true }),
      /announced 2 bytes, its manifest says/,
    ],
    "a layer that is gone": [rows.signatureTag([{ by: key }], { withoutBlobs: true }), /\S/],
    "a layer of 1 MiB and a byte": [
      async ({ digest }) => {
        const payload = JSON.stringify(critical(digest)).padEnd(1_048_577);
        return asSignatureTag([await sigstore.legacySignature({ digest, by: key, payload })]);
      },
      /its layer is larger than 1048576 bytes/,
    ],
    "a layer that says to be smaller than it is": [
      async ({ digest }) => {
        const payload = JSON.stringify(critical(digest)).padEnd(1_048_577);
        const layer = await sigstore.legacySignature({ digest, by: key, payload });
        const edit = (manifest: { layers: { size: number }[] }): void => {
          for (const one of manifest.layers) {
            one.size = 200;
          }
        };
        return asSignatureTag([layer], { edit });
      },
      /\S/,
    ],
    "the last but 32 of its layers": [
      async ({ digest }) => {
        const bad = await sigstore.legacySignature({ digest, by: otherKey });
        const good = await sigstore.legacySignature({ digest, by: key });
        return asSignatureTag([good, ...Array(32).fill(bad)]);
      },
      /and 23 more/,
    ],
    "an index under its tag": [
      async ({ digest }) => {
        const layer = await sigstore.legacySignature({ digest, by: key });
        return [
          asSignatureTag([layer]),
          asTagged(".sig", { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }, OCI_INDEX),
        ];
      },
      /no signature (?:was )?found/,
    ],
    "no manifest under its tag": [() => asTagged(".sig", Buffer.from("[]")), /\S/, { status: 503 }],
    "a good payload of another type": [
      async ({ digest }) => {
        const layer = await sigstore.legacySignature({ digest, by: key });
        return asSignatureTag([{ ...layer, mediaType: "application/json" }]);
      },
      /no signature (?:was )?found/,
    ],
    "a good payload that is called an envelope": [
      async ({ digest }) => {
        const layer = await sigstore.legacySignature({ digest, by: key });
        return asSignatureTag([{ ...layer, mediaType: "application/vnd.dsse.envelope.v1+json" }]);
      },
      /\S/,
    ],
    "an envelope that is called a payload": [
      async ({ digest }) => {
        const layer = await sigstore.legacyAttestation({ digest, by: key });
        return asSignatureTag([{ ...layer, mediaType: SIMPLE_SIGNING }]);
      },
      /\S/,
    ],
    "bad ones in both places": [
      [byOtherKey, rows.signatureTag([{ by: otherKey }])],
      /was not made with the key.*was not made with the key/,
    ],
  });
});

function subject(digest: object): object {
  return { subject: [{ digest }] };
}

function listOf(hex: string): string {
  return `[{"digest":{"sha256":"${hex}"}}]`;
}

/** A statement, as text, of which some member is there twice. */
function twice(first: string, last: string): string {
  const rest = last.includes("predicateType") ? "" : `"predicateType":"${COSIGN_SIGN}",`;
  return `{"_type":"https://in-toto.io/Statement/v1",${rest}"predicate":{},${first},${last}}`;
}

/** The inside of an object, as text. */
function members(object: object): string {
  return JSON.stringify(object).slice(1, -1);
}
