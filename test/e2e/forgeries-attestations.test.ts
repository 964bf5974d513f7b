import t from "tap";
import { startForger } from "../support/forger.ts";
import {
  ATTESTED,
  attesting,
  attestingByTag,
  BUILDER,
  grypeOf,
  provenance,
  provenanceV02,
  SLSA_V02,
  SOURCE,
  scanOf,
  trivyOf,
} from "../support/forger-attestations.ts";
import { OTHER_DIGEST, rows } from "../support/forger-rules.ts";
import { byKey, key, otherKey } from "../support/policy-rig.ts";
import { breakLookup } from "../support/sign-lookups.ts";
import type { ReferrerOptions } from "../support/sign-placements.ts";
import { asBundle } from "../support/sign-placements.ts";
import { SLSA_PROVENANCE, VULNERABILITIES } from "../support/sign-statements.ts";
import type { Sign } from "../support/signed-images.ts";

const forger = await startForger(t, ATTESTED);

t.test("a provenance is of the right builder and source, by the right key", async (t) => {
  const slsa = (predicate: object) => attesting(SLSA_PROVENANCE, predicate);
  const source = /names none of the sources/;
  await forger.refuse(t, "slsa", {
    none: [[], /no attestation https:\/\/slsa.dev\/provenance\/v1/],
    "a signature": [byKey, /is a signature, not an attestation/],
    "by another key": [
      attesting(SLSA_PROVENANCE, provenance(), otherKey),
      /was not made with the key/,
    ],
    "of another image": [
      rows.bundle({
        by: key,
        digest: OTHER_DIGEST,
        predicateType: SLSA_PROVENANCE,
        predicate: provenance(),
      }),
      /another image/,
    ],
    "another builder": [slsa(provenance("https://evil.example/builder")), /names the builder/],
    "a builder with a tail": [slsa(provenance(`${BUILDER}-evil`)), /names the builder/],
    "a builder with something before it": [slsa(provenance(`x${BUILDER}`)), /names the builder/],
    "no builder": [slsa({ ...provenance(), runDetails: {} }), /names no builder/],
    "another source": [
      slsa(provenance(BUILDER, "git+https://github.com/evil/app@refs/heads/main")),
      source,
    ],
    "a source with a tail": [slsa(provenance(BUILDER, `${SOURCE}2`)), source],
    "a source below": [
      slsa(provenance(BUILDER, "git+https://github.com/acme/app/x@refs/heads/main")),
      source,
    ],
    "no source": [slsa({ ...provenance(), buildDefinition: {} }), source],
    "the right builder in one, the right source in another": [
      [
        slsa(provenance(BUILDER, "git+https://github.com/evil/app@refs/heads/main")),
        slsa(provenance("https://evil.example/builder", SOURCE)),
      ],
      /no attestation/,
    ],
    "v0.2 where v1 is asked for": [
      attesting(SLSA_V02, provenanceV02()),
      /is an attestation of type/,
    ],
    "v0.2's members under v1's name": [slsa(provenanceV02()), /names no builder/],
    "the type in other case": [
      attesting(SLSA_PROVENANCE.replace("slsa", "SLSA"), provenance()),
      /is an attestation of type/,
    ],
    "the type with a slash": [attesting(`${SLSA_PROVENANCE}/`, provenance()), /of type/],
    "a predicate that is a list": [slsa([provenance()]), /names no builder/],
    "an older one, by its annotation": [
      rows.attestationTag([
        {
          by: key,
          predicateType: "https://evil.example/v1",
          predicate: provenance(),
          edit: ({ annotations }) => {
            annotations["predicateType"] = SLSA_PROVENANCE;
          },
        },
      ]),
      /is an attestation of type https:\/\/evil/,
    ],
  });
  await forger.refuse(t, "slsa-v02", {
    "another builder": [
      attesting(SLSA_V02, provenanceV02("https://evil.example")),
      /names the builder/,
    ],
    "another source": [
      attesting(SLSA_V02, provenanceV02(BUILDER, "git+https://evil.example")),
      source,
    ],
    "v1 where v0.2 is asked for": [attesting(SLSA_PROVENANCE, provenance()), /of type/],
  });
});

t.test("the newest scan decides, and it has to be readable", async (t) => {
  const scan = (options: Parameters<typeof scanOf>[0]) =>
    attesting(VULNERABILITIES, scanOf(options));
  const critical = /found 1 critical/;
  const unread = /cannot be read: expected a report of Trivy or Grype/;
  await forger.refuse(t, "scanned", {
    "no scan": [[], /no attestation https:\/\/cosign.sigstore.dev\/attestation\/vuln\/v1/],
    "a signature": [byKey, /is a signature, not an attestation/],
    "by another key": [attesting(VULNERABILITIES, scanOf(), otherKey), /was not made with the key/],
    "an old one": [scan({ ageDays: 8 }), /is older than 7 d/],
    "one that lies in the future": [scan({ ageDays: -1 }), /lies in the future/],
    "Trivy's with something critical": [scan({ result: trivyOf("LOW", "CRITICAL") }), critical],
    "Grype's with something critical": [scan({ result: grypeOf("Low", "Critical") }), critical],
    "a new bad one behind an old good one": [
      [scan({ ageDays: 3 }), scan({ ageDays: 1, result: trivyOf("CRITICAL") })],
      critical,
    ],
    "a new bad one before an old good one": [
      [scan({ ageDays: 1, result: trivyOf("CRITICAL") }), scan({ ageDays: 3 })],
      critical,
    ],
    "a new bad one in the older format": [
      [
        scan({ ageDays: 3 }),
        attestingByTag([VULNERABILITIES, scanOf({ ageDays: 1, result: trivyOf("CRITICAL") })]),
      ],
      critical,
    ],
    "a new one that cannot be read, and an old good one": [
      [scan({ ageDays: 3 }), scan({ ageDays: 1, result: { hello: 1 } })],
      unread,
    ],
    "a result of nobody": [scan({ result: {} }), unread],
    "a result in text": [scan({ result: "clean" }), unread],
    "a list for a result": [scan({ result: [trivyOf()] }), unread],
    "vulnerabilities that are no list": [
      scan({ result: { SchemaVersion: 2, Results: [{ Vulnerabilities: { Severity: "LOW" } }] } }),
      unread,
    ],
    "a severity that nobody knows": [scan({ result: trivyOf("CRITICAL!") }), unread],
    "another scanner": [scan({ scanner: "pkg:github/evil/scanner@1" }), /is a scan by/],
    "a scanner that begins alike": [
      scan({ scanner: "pkg:github/aquasecurity/trivy@1/evil" }),
      /is a scan by/,
    ],
    "no time": [scan({ finishedOn: "" }), /does not say when it finished/],
    "a time that was never set": [
      scan({ finishedOn: "0001-01-01T00:00:00Z" }),
      /does not say when/,
    ],
    "a time in words": [scan({ finishedOn: "yesterday" }), /does not say when/],
    "another type": [attesting("https://evil.example/vuln/v1", scanOf()), /of type/],
  });
  await forger.refuse(t, "signed-and-scanned", {
    "only signed": [byKey, /no attestation/],
    "only scanned": [scan({}), /not signed by key/],
    "signed, and a scan by another": [
      [byKey, attesting(VULNERABILITIES, scanOf(), otherKey)],
      /no attestation/,
    ],
    "signed, and critical": [[byKey, scan({ result: trivyOf("CRITICAL") })], critical],
  });
});

t.test("a flood does not hide the newest scan behind an older one", async (t) => {
  const placedAt = (created: string): ReferrerOptions => ({
    annotations: { "org.opencontainers.image.created": created },
  });
  const scan = (options: Parameters<typeof scanOf>[0], created: string): Sign =>
    rows.bundle(
      { by: key, predicateType: VULNERABILITIES, predicate: scanOf(options) },
      placedAt(created),
    );
  const garbage: Sign = () =>
    Array.from({ length: 70 }, (_, at) =>
      asBundle(`{"at":${at}}`, placedAt("2098-01-01T00:00:00Z")),
    );
  const layers = (count: number, ...predicates: readonly object[]): Sign =>
    rows.attestationTag([
      ...predicates.map((predicate) => ({ by: key, predicateType: VULNERABILITIES, predicate })),
      ...Array.from({ length: count }, () => ({ by: otherKey })),
    ]);
  const bad = { ageDays: 1, result: trivyOf("CRITICAL") };
  await forger.refuse(t, "scanned", {
    referrers: [
      [scan(bad, "2026-01-02T00:00:00Z"), garbage, scan({ ageDays: 3 }, "2099-01-01T00:00:00Z")],
      /\S/,
      { onlyImage: true },
    ],
    layers: [
      [layers(40, scanOf(bad)), scan({ ageDays: 3 }, "2099-01-01T00:00:00Z")],
      /\S/,
      { onlyImage: true },
    ],
  });
});

t.test("a look-up that fails may hide a newer scan: 503", (t) =>
  forger.refuse(t, "scanned", {
    "the older tag cannot be read, and a good scan is a referrer": [
      [
        ({ digest }) => {
          const fault = { status: 500 };
          breakLookup(forger.upstream, digest, { place: "attestation-tag", fault });
          return [];
        },
        attesting(VULNERABILITIES, scanOf()),
      ],
      /could not be looked up/,
      { onlyImage: true, status: 503 },
    ],
  }),
);
