import t from "tap";
import { startForger } from "../support/forger.ts";
import { OTHER_DIGEST, rows, rulesOf } from "../support/forger-rules.ts";
import { byOtherKey, key, otherKey, sigstore } from "../support/policy-rig.ts";
import { BUNDLE_V03 } from "../support/sign-bundle.ts";
import { breakLookup, EMPTY_INDEX, LOOKUP_FAILURES } from "../support/sign-lookups.ts";
import {
  asBundle,
  asFlood,
  asLegacyReferrer,
  asReferrer,
  asSignatureTag,
  asTagged,
} from "../support/sign-placements.ts";
import type { Sign, SignedSubject } from "../support/signed-images.ts";
import { OCI_INDEX, OCI_MANIFEST } from "../support/signed-images.ts";
import type { Fault } from "../support/upstream-faults.ts";

const forger = await startForger(t, rulesOf("key", "keyless"));
const { upstream } = forger;

const other = { digest: OTHER_DIGEST, mediaType: OCI_MANIFEST, size: 7 };
const OTHERS_LIST = /its subject is sha256:abab/;

const PLACES = ["referrers", "fallback-tag", "signature-tag"] as const;
const ONCE = { onlyImage: true } as const;
const INDETERMINATE = { onlyImage: true, status: 503 } as const;

/** The registry lists artefacts for the image that say otherwise themselves. */
function listing(sign: Sign): Sign {
  return async (image) => {
    const placed = await sign(image);
    return [placed].flat().map((place) => (content, subject) => {
      const digest = place(content, subject);
      const size = content.manifest(subject.repository, digest)?.length ?? 0;
      const manifests = [{ mediaType: OCI_MANIFEST, digest, size, artifactType: BUNDLE_V03 }];
      answerReferrers(subject, { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
      return digest;
    });
  };
}

function answerReferrers({ digest }: SignedSubject, list: object): void {
  const headers = { "content-type": OCI_INDEX };
  breakLookup(upstream, digest, {
    place: "referrers",
    fault: { headers, body: JSON.stringify(list) },
  });
}

t.test("what is found for an image is about that image", (t) =>
  forger.refuse(t, "key", {
    "the API lists another image's bundle": [
      listing(rows.bundle({ by: key, digest: OTHER_DIGEST }, { subject: other })),
      OTHERS_LIST,
    ],
    "the API lists this image's bundle with another subject": [
      listing(rows.bundle({ by: key }, { subject: other })),
      OTHERS_LIST,
    ],
    "the API lists a bundle without a subject": [
      listing(
        rows.bundle(
          { by: key },
          {
            edit: (manifest) => {
              delete manifest.subject;
            },
          },
        ),
      ),
      /its subject is missing/,
    ],
    "the fallback tag lists another image's bundle": [
      rows.bundle({ by: key, digest: OTHER_DIGEST }, { subject: other, fallbackTag: true }),
      OTHERS_LIST,
    ],
    "the fallback tag lists this image's bundle with another subject": [
      rows.bundle({ by: key }, { subject: other, fallbackTag: true }),
      OTHERS_LIST,
    ],
    "the fallback tag is an image": [
      async ({ digest }) => {
        const payload = Buffer.from(JSON.stringify(await sigstore.bundle({ digest, by: key })));
        const descriptor = { mediaType: BUNDLE_V03, digest, size: payload.length };
        return asTagged("", {
          schemaVersion: 2,
          mediaType: OCI_MANIFEST,
          config: descriptor,
          layers: [descriptor],
        });
      },
      /no signature (?:was )?found/,
    ],
    "a list of garbage": [
      (image) => {
        const manifests = [1, null, "x", {}, { digest: "sha256:x" }, { digest: OTHER_DIGEST }];
        return (content, subject) => {
          answerReferrers(image, { manifests });
          return asReferrer([])(content, subject);
        };
      },
      /no signature (?:was )?found/,
    ],
    "a list of what is not there": [
      () => (content, subject) => {
        const manifests = [{ mediaType: OCI_MANIFEST, digest: OTHER_DIGEST, size: 7 }];
        answerReferrers(subject, { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
        return asReferrer([])(content, subject);
      },
      /no signature (?:was )?found/,
    ],
    "an older format's referrer with another subject": [
      listing(async ({ digest }) =>
        asLegacyReferrer([await sigstore.legacySignature({ digest, by: key })], { subject: other }),
      ),
      OTHERS_LIST,
    ],
    "a good signature whose layer is somewhere else": [
      rows.bundle(
        { by: key },
        {
          edit: (manifest) => {
            for (const layer of manifest.layers) {
              layer.digest = OTHER_DIGEST;
            }
          },
        },
      ),
      /was passed over/,
    ],
    "a good signature in a manifest of two meanings": [
      rows.bundle(
        { by: key },
        {
          edit: (manifest) => {
            Object.assign(manifest, { manifests: [] });
          },
        },
      ),
      /two things/,
    ],
    "a signature of the image that it is in": [
      () => (content, subject) =>
        asReferrer([{ mediaType: BUNDLE_V03, payload: Buffer.from("{}") }])(content, subject),
      /unknown version/,
    ],
    "garbage in every place": [
      [
        rows.bundle({ by: otherKey }),
        rows.legacyReferrer([{ by: otherKey }]),
        rows.signatureTag([{ by: otherKey }]),
        rows.attestationTag([{ by: otherKey }]),
        () => asReferrer([{ mediaType: "application/jose+json", payload: Buffer.from("{}") }]),
      ],
      /was not made with the key/,
    ],
    "40 bad ones by the same name": [
      Array.from({ length: 40 }, () => byOtherKey),
      /was not made with the key/,
      { onlyImage: true },
    ],
  }),
);

t.test("a flood of garbage is refused, and does not take long to refuse", (t) =>
  forger.refuse(t, "key", {
    "ten thousand bundles that are none": [() => asFlood(10_000), /unknown version/, ONCE],
    "ten thousand of something else": [
      () => asFlood(10_000, "application/vnd.example"),
      /no signature (?:was )?found|only 64 were opened/,
      ONCE,
    ],
  }),
);

t.test("a look-up that fails is no answer: 503, whatever else was found", async (t) => {
  const failures = {
    "a server error": { status: 500 },
    "a web page": LOOKUP_FAILURES["200 with a page"] ?? {},
    "an index without a list": LOOKUP_FAILURES["an index without a list"] ?? {},
  };
  for (const [name, fault] of Object.entries(failures)) {
    const isReadable = name === "an index without a list"; // as a tag's manifest
    for (const place of isReadable ? PLACES.slice(0, 1) : PLACES) {
      // One for each: a registry that fails much is not asked for a while.
      const own = await startForger(t, rulesOf("key"));
      const breaking: Sign = ({ digest }) => {
        breakLookup(own.upstream, digest, { place, fault });
        if (place === "fallback-tag") {
          breakLookup(own.upstream, digest, { place: "referrers", fault: { status: 404 } });
        }
        return [];
      };
      const beside = place === "signature-tag" ? byOtherKey : rows.signatureTag([{ by: otherKey }]);
      await own.refuse(t, "key", {
        [`${name} for ${place}`]: [[breaking, beside], /\S/, INDETERMINATE],
      });
    }
  }
});

t.test("a look-up that says no is one", (t) =>
  forger.refuse(t, "key", {
    "404 for all": [
      [
        breaking("referrers", { status: 404 }),
        breaking("fallback-tag", { status: 404 }),
        breaking("signature-tag", { status: 404 }),
      ],
      /no signature (?:was )?found/,
    ],
    "405 for the API": [breaking("referrers", { status: 405 }), /no signature (?:was )?found/],
    "an empty list": [breaking("referrers", EMPTY_INDEX), /no signature (?:was )?found/],
  }),
);

t.test("a good one that is past what is looked at does not count", (t) =>
  forger.refuse(t, "key", {
    "the last but 32 of a tag's layers": [
      async ({ digest }) => {
        const bad = await sigstore.legacySignature({ digest, by: otherKey });
        const good = await sigstore.legacySignature({ digest, by: key });
        return asSignatureTag([good, ...Array(32).fill(bad)]);
      },
      /and 23 more/,
    ],
    "behind 64 referrers that look likelier": [
      [
        () => asFlood(100),
        async ({ digest }) =>
          asBundle(await sigstore.bundle({ digest, by: key }), {
            artifactType: "application/vnd.example",
          }),
      ],
      /was not|unknown version|not JSON/,
      { onlyImage: true },
    ],
  }),
);

/** From now on, whoever looks for the image's signatures there meets the fault. */
function breaking(place: Parameters<typeof breakLookup>[2]["place"], fault: Fault): Sign {
  return ({ digest }) => {
    breakLookup(upstream, digest, { place, fault });
    return [];
  };
}
