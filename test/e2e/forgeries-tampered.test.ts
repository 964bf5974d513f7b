import t from "tap";
import { startForger } from "../support/forger.ts";
import { edited, flipped, transplanted } from "../support/forger-edits.ts";
import { release as by, OTHER_DIGEST, rows, rulesOf } from "../support/forger-rules.ts";
import { sigstore } from "../support/policy-rig.ts";
import { BUNDLE_V03 } from "../support/sign-bundle.ts";
import { asBundle } from "../support/sign-placements.ts";
import type { Sign } from "../support/signed-images.ts";

const forger = await startForger(t, rulesOf("keyless", "stamped"));

t.test("nothing of a bundle can be changed", async (t) => {
  await forger.refuse(t, "keyless", {
    "the statement": [
      edited(({ dsseEnvelope: envelope }) => {
        Object.assign(envelope ?? {}, { payload: Buffer.from("{}").toString("base64") });
      }),
      /is not an in-toto statement/,
    ],
    "another image's statement under this one's signature": [
      async ({ digest }) => {
        const bundle = await sigstore.bundle({ digest: OTHER_DIGEST, by });
        const right = await sigstore.bundle({ digest, by });
        Object.assign(bundle.dsseEnvelope ?? {}, { payload: right.dsseEnvelope?.payload });
        return asBundle(bundle);
      },
      /its signature does not fit|for another signature|log entry/,
    ],
    "one bit of the signature": [
      edited(({ dsseEnvelope: envelope }) => {
        for (const signature of envelope?.signatures ?? []) {
          signature.sig = flipped(signature.sig);
        }
      }),
      /signature/,
    ],
    "no signature in it": [
      edited(({ dsseEnvelope: envelope }) => {
        Object.assign(envelope ?? {}, { signatures: [] });
      }),
      /carries no signature|lacks what its version requires/,
    ],
    "two signatures in it": [
      edited(({ dsseEnvelope: envelope }) => {
        envelope?.signatures.push(...envelope.signatures);
      }),
      /has 2 signatures/,
    ],
    "an empty signature": [
      edited(({ dsseEnvelope: envelope }) => {
        Object.assign(envelope ?? {}, { signatures: [{ sig: "" }] });
      }),
      /signature/,
    ],
    "the type of what is signed": [
      edited(({ dsseEnvelope: envelope }) => {
        Object.assign(envelope ?? {}, { payloadType: "text/plain" });
      }),
      /something else than an in-toto statement/,
    ],
    "one bit of the certificate": [
      edited(({ verificationMaterial: { certificate } }) => {
        Object.assign(certificate ?? {}, { rawBytes: flipped(certificate?.rawBytes ?? "") });
      }),
      /\S/,
    ],
    "the envelope is gone": [
      edited((bundle) => {
        delete bundle.dsseEnvelope;
      }),
      /lacks what its version requires/,
    ],
    "all material is gone": [
      edited((bundle) => {
        bundle.verificationMaterial = {};
      }),
      /lacks what its version requires/,
    ],
    "a certificate of the same signer, for another signature": [
      transplanted((bundle, donor) => {
        bundle.verificationMaterial.certificate = donor.verificationMaterial.certificate ?? {
          rawBytes: "",
        };
      }),
      /signature|log entry/,
    ],
  });
});

t.test("nothing of a stamp can be changed", async (t) => {
  const stamps = (edit: (list: { signedTimestamp: string }[]) => void): Sign =>
    rows.bundle({
      by,
      log: "none",
      edit: ({ verificationMaterial: { timestampVerificationData: data } }) => {
        edit(data?.rfc3161Timestamps ?? []);
      },
    });
  await forger.refuse(t, "stamped", {
    "one bit of its signature": [
      stamps(([stamp]) => {
        Object.assign(stamp ?? {}, { signedTimestamp: flipped(stamp?.signedTimestamp ?? "", -4) });
      }),
      /\S/,
    ],
    garbage: [
      stamps(([stamp]) => {
        Object.assign(stamp ?? {}, { signedTimestamp: "AAAA" });
      }),
      /\S/,
    ],
    none: [stamps((list) => list.splice(0)), /has no time that can be trusted/],
    "33 of them": [stamps((list) => list.push(...Array(32).fill(list[0]))), /has 33 timestamps/],
    "of another signature by the same": [
      transplanted((bundle, donor) => {
        const { timestampVerificationData: data } = donor.verificationMaterial;
        Object.assign(bundle.verificationMaterial, { timestampVerificationData: data });
      }),
      /was not made for this signature/,
    ],
  });
});

t.test("bundles of unknown make", async (t) => {
  const raw =
    (edit: (json: string) => string): Sign =>
    async ({ digest }) =>
      asBundle(edit(JSON.stringify(await sigstore.bundle({ digest, by }))));
  await forger.refuse(t, "keyless", {
    "a version that does not exist": [
      rows.bundle({ by, mediaType: "application/vnd.dev.sigstore.bundle.v0.9+json" }),
      /is a bundle of an unknown version/,
    ],
    "a version with a tail": [
      rows.bundle({ by, mediaType: `${BUNDLE_V03};x=y` }),
      /unknown version/,
    ],
    "a version in other case": [
      rows.bundle({ by, mediaType: BUNDLE_V03.toUpperCase() }),
      /unknown v/,
    ],
    "no version": [rows.bundle({ by, mediaType: "" }), /unknown version/],
    "a signature over the manifest's bytes": [
      async ({ repository, digest }) => {
        const payload = forger.upstream.manifest(repository, digest) ?? "";
        return asBundle(await sigstore.bundle({ digest, by, content: "message", payload }));
      },
      /signs a file's bytes/,
    ],
    "a byte order mark": [raw((json) => `\ufeff${json}`), /its bundle is not JSON/],
    "half of it": [raw((json) => json.slice(0, json.length / 2)), /its bundle is not JSON/],
    "something behind it": [raw((json) => `${json}{}`), /its bundle is not JSON/],
    "in a list": [raw((json) => `[${json}]`), /its bundle is not a JSON object/],
    "as a prototype": [raw((json) => `{"__proto__":${json}}`), /unknown version/],
    "of nothing": [raw(() => "{}"), /unknown version/],
    "not even that": [raw(() => ""), /its bundle is not JSON/],
    "nested 100,000 deep": [raw(() => `{"a":${"[".repeat(100_000)}`), /nested deeper/],
    "a layer of 1 MiB and a byte": [
      raw((json) => json.padEnd(1_048_577)),
      /its layer is larger than 1048576 bytes/,
    ],
    "a good one, as a layer of another type": [
      async ({ digest }) =>
        asBundle(await sigstore.bundle({ digest, by }), { mediaType: "application/json" }),
      /no signature (?:was )?found/,
    ],
    "a good one, in an envelope's layer": [
      async ({ digest }) =>
        asBundle(await sigstore.bundle({ digest, by }), {
          mediaType: "application/vnd.dsse.envelope.v1+json",
        }),
      /\S/,
    ],
  });
});
