import t from "tap";
import type { Candidate, Evidence } from "../../server/policy/evidence.ts";
import { decodeEvidence, encodeEvidence } from "../../server/policy/evidence-codec.ts";
import { digestOf } from "../../storage/digest.ts";
import { OCI_MANIFEST } from "../support/signed-images.ts";

const digest = digestOf(Buffer.from("image"));
const subject = { digest, mediaType: OCI_MANIFEST, sizeBytes: 5 };
const candidate: Candidate = {
  format: "bundle",
  artifact: digest,
  mediaType: "application/json",
  payload: Buffer.from("{}"),
  annotations: { note: "text" },
};

function evidenceOf(candidates: readonly Candidate[]): Evidence {
  const rest = { passedOver: [], failures: [], isPartial: false, isCut: false, gatheredAtMs: 1 };
  return { subject, candidates, ...rest };
}

t.test("evidence is what it was, after a while on the disk", (t) => {
  const evidence = evidenceOf([candidate, { ...candidate, annotations: {} }]);
  const bytes = encodeEvidence(evidence);
  t.same(bytes && decodeEvidence(bytes, subject, 1), evidence);
  const large = { ...candidate, payload: Buffer.alloc(1_000_000) };
  t.equal(encodeEvidence(evidenceOf([large, large, large, large, large])), undefined, "too large");
  t.end();
});

t.test("evidence that somebody wrote there by hand is none", (t) => {
  const stored = { format: "bundle", artifact: digest, mediaType: "a/b", payload: "e30=" };
  const record = { version: 1, candidates: [stored], passedOver: [], isPartial: false };
  const odd: Readonly<Record<string, unknown>> = {
    "another version": { ...record, version: 2 },
    "more candidates than are ever looked at": {
      ...record,
      candidates: Array.from({ length: 33 }, () => ({ ...stored, annotations: {} })),
    },
    "annotations that are no texts": {
      ...record,
      candidates: [{ ...stored, annotations: { deep: [[[]]] } }],
    },
    "no annotations": record,
    "more bytes than are ever kept": { ...record, passedOver: [], padding: "x".repeat(4_194_304) },
    "an artifact without a digest": {
      ...record,
      candidates: [{ ...stored, artifact: "../../etc", annotations: {} }],
    },
  };
  for (const [name, content] of Object.entries(odd)) {
    t.equal(decodeEvidence(Buffer.from(JSON.stringify(content)), subject, 1), undefined, name);
  }
  t.end();
});
