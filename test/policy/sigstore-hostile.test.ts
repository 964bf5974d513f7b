import t from "tap";
import { POLICY_LIMITS } from "../../server/limits.ts";
import type { Candidate } from "../../server/policy/evidence.ts";
import { createPrivateSigstore } from "../support/private-sigstore.ts";
import type { BundleOptions } from "../support/sign-bundle.ts";
import { REKOR_ANNOTATION, TIMESTAMP_ANNOTATION } from "../support/sign-legacy.ts";
import { base64 } from "../support/sign-log.ts";
import { keyless } from "../support/sign-with.ts";
import {
  bundleCandidate,
  IMAGE,
  ISSUER,
  legacyCandidate,
  verifyKeyless,
  WORKFLOW,
} from "./sigstore-candidates.ts";

const home = await createPrivateSigstore();
const STATEMENT = { digest: IMAGE, by: keyless(WORKFLOW, ISSUER) };
const SIGNED = { signer: `${WORKFLOW} (issuer ${ISSUER})`, says: { kind: "signature" } };

function verify(candidate: Candidate): unknown {
  return verifyKeyless(home, candidate);
}

async function bundle(options: Partial<BundleOptions> = {}): Promise<Candidate> {
  return bundleCandidate(await home.bundle({ ...STATEMENT, ...options }));
}

t.test("more than can be looked at is refused before it is", async (t) => {
  const times = (count: number): Partial<BundleOptions> => ({
    edit: ({ verificationMaterial: material }) => {
      material.tlogEntries = Array(count).fill(material.tlogEntries?.[0]);
    },
  });
  const many = await bundle(times(POLICY_LIMITS.logEntriesMax + 1));
  t.throws(() => verify(many), { message: "has 33 log entries, at most 32 are looked at" });
  const twice = await bundle(times(2));
  t.throws(() => verify(twice), { message: /duplicate/ });

  const stamps = await bundle({
    timestamp: true,
    edit: ({ verificationMaterial: { timestampVerificationData: data } }) => {
      const [stamp] = data?.rfc3161Timestamps ?? [];
      data?.rfc3161Timestamps.push(...Array(POLICY_LIMITS.timestampsMax).fill(stamp));
    },
  });
  t.throws(() => verify(stamps), { message: "has 33 timestamps, at most 32 are looked at" });
  const signatures = await bundle({
    edit: ({ dsseEnvelope }) => dsseEnvelope?.signatures.push({ sig: "AA==" }),
  });
  t.throws(() => verify(signatures), { message: "has 2 signatures, at most 1 are looked at" });
  const subjects = await bundle({
    subjects: Array(POLICY_LIMITS.statementSubjectsMax + 1).fill({
      digest: { sha256: IMAGE.slice(7) },
    }),
  });
  t.throws(() => verify(subjects), { message: /has 1025 subjects/ });
  const checkpoint = await bundle({
    edit: ({ verificationMaterial: { tlogEntries: [entry] = [] } }) => {
      const proof = entry?.inclusionProof;
      if (proof !== undefined) {
        proof.checkpoint.envelope += "\u2014 a AAAAAAAA\n".repeat(2000);
      }
    },
  });
  t.throws(() => verify(checkpoint), { message: /checkpoint is too large/ });
  const certificate = await bundle({
    edit: ({ verificationMaterial }) => {
      verificationMaterial.certificate = { rawBytes: base64(Buffer.alloc(100_000)) };
    },
  });
  t.throws(() => verify(certificate), { message: "its certificate is too large" });
  const large = bundleCandidate(Buffer.alloc(POLICY_LIMITS.candidateBytesMax + 1, " "));
  t.throws(() => verify(large), { message: /its bundle is larger than/ });
  const deep = bundleCandidate(Buffer.from(`{"a":${"[".repeat(500_000)}`));
  t.throws(() => verify(deep), { message: /its bundle is nested deeper than/ });
});

t.test("whatever is broken is a problem of that signature, and in words", async (t) => {
  const good = await home.bundle(STATEMENT);
  const layer = await home.legacySignature({ ...STATEMENT, timestamp: true });
  const edited = (edit: (copy: typeof good) => void): Candidate => {
    const copy = structuredClone(good);
    edit(copy);
    return bundleCandidate(copy);
  };
  const annotated = (name: string, value: string): Candidate =>
    legacyCandidate({ ...layer, annotations: { ...layer.annotations, [name]: value } });
  const broken: Readonly<Record<string, Candidate>> = {
    "no JSON": bundleCandidate(Buffer.from("\0\0")),
    "a list": bundleCandidate([]),
    "nothing in it": bundleCandidate({}),
    "a byte order mark": bundleCandidate(Buffer.from(`\ufeff${JSON.stringify(good)}`)),
    "no UTF-8": bundleCandidate(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])),
    "only a prototype": bundleCandidate(Buffer.from(`{"__proto__":${JSON.stringify(good)}}`)),
    "an unknown version": edited((copy) => {
      copy.mediaType = "application/vnd.dev.sigstore.bundle.v0.9+json";
    }),
    "a version with a tail": edited((copy) => {
      copy.mediaType += ";a=b";
    }),
    "no inclusion proof": edited(({ verificationMaterial: { tlogEntries = [] } }) => {
      delete tlogEntries[0]?.inclusionProof;
    }),
    "a certificate that is none": edited((copy) => {
      copy.verificationMaterial.certificate = { rawBytes: "AAAA" };
    }),
    "numbers for text": bundleCandidate({ ...good, verificationMaterial: { tlogEntries: [1] } }),
    "an annotation that is no JSON": annotated(REKOR_ANNOTATION, "{"),
    "an entry without anything": annotated(REKOR_ANNOTATION, "{}"),
    "a stamp that is none": annotated(TIMESTAMP_ANNOTATION, '{"SignedRFC3161Timestamp":"AAAA"}'),
    "no signature": annotated("dev.cosignproject.cosign/signature", ""),
    "a certificate that is no PEM": annotated("dev.sigstore.cosign/certificate", "hello"),
  };
  for (const [name, candidate] of Object.entries(broken)) {
    t.throws(
      () => verify(candidate),
      { name: "SignatureProblem", message: /^[\x20-\x7e…]+$/ },
      name,
    );
  }
  const notation: Candidate = { ...bundleCandidate(good), format: "notation" };
  t.throws(() => verify(notation), { message: /^is a Notation signature, .* cosign's$/ });
});

t.test("random damage never counts, and never is anything but a throw", async (t) => {
  const good = Buffer.from(JSON.stringify(await home.bundle({ ...STATEMENT, timestamp: true })));
  let counted = 0;
  for (let at = 0; at < 200; at++) {
    const bytes = Buffer.from(good);
    const where = (at * 7919) % bytes.length;
    bytes[where] = (bytes[where] ?? 0) ^ (1 << (at % 7));
    try {
      t.match(verify(bundleCandidate(bytes)), SIGNED);
      counted += 1; // redundant fields of a proof, and what a stamp does not sign
    } catch (error) {
      t.match(error, { name: "SignatureProblem" });
    }
  }
  t.ok(counted < 60, `${counted} of 200 made no difference`);
});
