import t from "tap";
import { startForger } from "../support/forger.ts";
import {
  ATTESTED,
  attesting,
  attestingByTag,
  grypeOf,
  provenance,
  provenanceV02,
  SLSA_V02,
  scanOf,
  trivyOf,
} from "../support/forger-attestations.ts";
import { byKey, bySignatureTag, otherKey } from "../support/policy-rig.ts";
import { SLSA_PROVENANCE, VULNERABILITIES } from "../support/sign-statements.ts";

const forger = await startForger(t, ATTESTED);

t.test("provenance of the right builder and source", async (t) => {
  const right = attesting(SLSA_PROVENANCE, provenance());
  const wrong = attesting(SLSA_PROVENANCE, provenance("https://evil.example"));
  await forger.serve(t, "slsa", {
    "v1 in a bundle": right,
    "v1 under the older tag": attestingByTag([SLSA_PROVENANCE, provenance()]),
    "behind a wrong one": [wrong, right],
    "before a wrong one": [right, wrong],
    "beside somebody else's": [attesting(SLSA_PROVENANCE, provenance(), otherKey), right],
    "one of two under the older tag": attestingByTag(
      [SLSA_V02, provenanceV02()],
      [SLSA_PROVENANCE, provenance()],
    ),
  });
  await forger.serve(t, "slsa-v02", { "v0.2 in a bundle": attesting(SLSA_V02, provenanceV02()) });
});

t.test("a scan that is new and clean", async (t) => {
  const scan = (options?: Parameters<typeof scanOf>[0]) =>
    attesting(VULNERABILITIES, scanOf(options));
  const scanner = "pkg:github/anchore/grype@0.87.0";
  await forger.serve(t, "scanned", {
    "Trivy found nothing": scan(),
    "Trivy found what is not refused": scan({ result: trivyOf("HIGH", "LOW", "UNKNOWN") }),
    "Grype found nothing": scan({ scanner, result: grypeOf() }),
    "Grype found what is not refused": scan({ scanner, result: grypeOf("High", "Negligible") }),
    "under the older tag": attestingByTag([VULNERABILITIES, scanOf()]),
    "a new good one after an old bad one": [
      scan({ ageDays: 3, result: trivyOf("CRITICAL") }),
      scan({ ageDays: 1 }),
    ],
    "a newer bad one by somebody else": [
      scan({ ageDays: 3 }),
      attesting(VULNERABILITIES, scanOf({ ageDays: 1, result: trivyOf("CRITICAL") }), otherKey),
    ],
  });
  await forger.serve(t, "signed-and-scanned", {
    "a signature and a scan": [byKey, scan()],
    "a signature and a scan, both in the older format": [
      bySignatureTag,
      attestingByTag([VULNERABILITIES, scanOf()]),
    ],
  });
});
