import t from "tap";
import { checkSimpleSigning, readStatement } from "../../server/policy/sigstore/statement.ts";
import type { Digest } from "../../storage/digest.ts";
import { digestOf } from "../../storage/digest.ts";

const IMAGE = digestOf(Buffer.from("an image"));
const OTHER = digestOf(Buffer.from("another"));
const SHA512 = digestOf(Buffer.from("an image"), "sha512");
const PREDICATE = "https://slsa.dev/provenance/v1";

function subjectOf(digest: Digest): object {
  const [algorithm = "", hex] = digest.split(":");
  return { name: "app", digest: { [algorithm]: hex } };
}

function statement(changes: object = {}): Buffer {
  return Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [subjectOf(IMAGE)],
      predicateType: PREDICATE,
      predicate: { a: 1 },
      ...changes,
    }),
  );
}

t.test("a statement says of its subjects what its predicate says", async (t) => {
  const says = { kind: "attestation", predicateType: PREDICATE, predicate: { a: 1 } };
  t.same(readStatement(statement(), IMAGE), says);
  const old = { _type: "https://in-toto.io/Statement/v0.1" };
  t.same(readStatement(statement(old), IMAGE), says);
  const two = { subject: [subjectOf(OTHER), subjectOf(IMAGE)] };
  t.same(readStatement(statement(two), IMAGE), says);
  t.same(readStatement(statement({ subject: [subjectOf(SHA512)] }), SHA512), says);
});

t.test("only cosign's own predicate is a signature", async (t) => {
  const cosign = { predicateType: "https://sigstore.dev/cosign/sign/v1", predicate: {} };
  t.same(readStatement(statement(cosign), IMAGE), { kind: "signature" });
  for (const predicateType of [
    "https://sigstore.dev/cosign/sign/v1/",
    "https://sigstore.dev/cosign/sign/v2",
    "HTTPS://sigstore.dev/cosign/sign/v1",
    "https://cosign.sigstore.dev/attestation/v1",
  ]) {
    t.match(readStatement(statement({ predicateType }), IMAGE), { kind: "attestation" });
  }
});

t.test("a statement that is not about the image is refused, in words", async (t) => {
  const hex = IMAGE.slice("sha256:".length);
  const refused: readonly (readonly [changes: object, problem: RegExp])[] = [
    [{ subject: [subjectOf(OTHER)] }, new RegExp(`^is about ${OTHER}, another image$`)],
    [{ subject: [subjectOf(OTHER), subjectOf(OTHER)] }, /and 1 more, none of them this image$/],
    [{ subject: [] }, /^its statement names no sha256 of an image$/],
    [{ subject: undefined }, /names no sha256/],
    [{ subject: subjectOf(IMAGE) }, /names no sha256/],
    [{ subject: [null, 1, "x", []] }, /names no sha256/],
    [{ subject: [subjectOf(SHA512)] }, /names no sha256/],
    [{ subject: [{ digest: { sha512: hex } }] }, /names no sha256/],
    [{ subject: [{ digest: { sha256: hex.toUpperCase() } }] }, /another image/],
    [{ subject: [{ digest: { sha256: `${hex}00` } }] }, /another image/],
    [{ subject: [{ digest: { sha256: [hex] } }] }, /names no sha256/],
    [{ subject: Array(1025).fill(subjectOf(IMAGE)) }, /has 1025 subjects, at most 1024/],
    [{ _type: "https://in-toto.io/Statement/v2" }, /is not an in-toto statement, .*\/v2'$/],
    [{ _type: undefined }, /is not an in-toto statement/],
    [{ predicateType: undefined }, /has no predicateType/],
    [{ predicateType: 1 }, /has no predicateType/],
  ];
  for (const [changes, message] of refused) {
    t.throws(() => readStatement(statement(changes), IMAGE), { name: "SignatureProblem", message });
  }
  for (const bytes of [
    "",
    "null",
    "[]",
    "\ufeff{}",
    '{"a":1e400',
    `{"__proto__":${statement()}}`,
  ]) {
    const problem = { name: "SignatureProblem" };
    t.throws(() => readStatement(Buffer.from(bytes), IMAGE), problem, bytes.slice(0, 20));
  }
});

function simpleSigning(changes: object = {}, image: object = {}): Buffer {
  const critical = {
    type: "cosign container image signature",
    identity: { "docker-reference": "registry.example/app" },
    image: { "docker-manifest-digest": IMAGE, ...image },
    ...changes,
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

t.test("a simple signing payload names the image that it signs", async (t) => {
  t.doesNotThrow(() => checkSimpleSigning(simpleSigning(), IMAGE));
  const tekton = { type: "Tekton container signature" };
  t.doesNotThrow(() => checkSimpleSigning(simpleSigning(tekton), IMAGE));
  const renamed = { identity: { "docker-reference": "elsewhere.example/other" } };
  t.doesNotThrow(() => checkSimpleSigning(simpleSigning(renamed), IMAGE), "names may change");

  const refused: readonly (readonly [payload: Buffer, problem: RegExp])[] = [
    [simpleSigning({}, { "docker-manifest-digest": OTHER }), /^is about sha256:.*, another image$/],
    [simpleSigning({}, { "docker-manifest-digest": [IMAGE] }), /^its payload names no image$/],
    [simpleSigning({ image: undefined }), /^its payload names no image$/],
    [
      simpleSigning({ type: "atomic container signature" }),
      /of type 'atomic container signature'$/,
    ],
    [simpleSigning({ type: undefined }), /^is not an image's signature but of type ''$/],
    [Buffer.from("{}"), /^is not an image's signature/],
    [Buffer.from("not JSON"), /^its payload is not JSON$/],
  ];
  for (const [payload, message] of refused) {
    const problem = { name: "SignatureProblem", message };
    t.throws(() => checkSimpleSigning(payload, IMAGE), problem);
  }
});
