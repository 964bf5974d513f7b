import type { Digest } from "../../../storage/digest.ts";
import { algorithmOf, hexOf } from "../../../storage/digest.ts";
import { POLICY_LIMITS } from "../../limits.ts";
import type { SignatureContent } from "../authority.ts";
import { SignatureProblem } from "../authority.ts";
import { listOf, memberOf, parseJsonObject, textOf } from "../bounded-json.ts";
import { shown } from "../printable.ts";

export const STATEMENT_MEDIA_TYPE = "application/vnd.in-toto+json";

const STATEMENT_TYPES: readonly string[] = [
  "https://in-toto.io/Statement/v0.1",
  "https://in-toto.io/Statement/v1",
];

/** What cosign 3 writes for an image's signature; every other predicate is an attestation. */
const SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1";

const SIMPLE_SIGNING_TYPES: readonly string[] = [
  "cosign container image signature",
  "Tekton container signature",
];

/**
 * What an in-toto statement says about `digest`. A signature over a statement is worth nothing for
 * content that the statement does not name.
 *
 * @throws SignatureProblem when it is no statement, or is about something else.
 * @see https://github.com/in-toto/attestation/blob/v1.1.1/spec/v1/statement.md
 */
export function readStatement(payload: Uint8Array, digest: Digest): SignatureContent {
  const statement = parseJsonObject(payload, "its statement");
  const type = textOf(statement, "_type");
  if (!STATEMENT_TYPES.includes(type)) {
    throw new SignatureProblem(`is not an in-toto statement, v0.1 or v1, but '${shown(type)}'`);
  }
  checkSubjects(listOf(statement, "subject"), digest);
  const predicateType = textOf(statement, "predicateType");
  if (predicateType === "") {
    throw new SignatureProblem("its statement has no predicateType");
  }
  return predicateType === SIGNATURE_PREDICATE
    ? { kind: "signature" }
    : { kind: "attestation", predicateType, predicate: statement["predicate"] };
}

function checkSubjects(subjects: readonly unknown[], digest: Digest): void {
  if (subjects.length > POLICY_LIMITS.statementSubjectsMax) {
    throw new SignatureProblem(
      `its statement has ${subjects.length} subjects, at most ${POLICY_LIMITS.statementSubjectsMax} are read`,
    );
  }
  const algorithm = algorithmOf(digest);
  const named = subjects.map((subject) => textOf(memberOf(subject, "digest"), algorithm));
  if (named.includes(hexOf(digest))) {
    return;
  }
  const [first = ""] = named;
  if (first === "") {
    throw new SignatureProblem(`its statement names no ${algorithm} of an image`);
  }
  const others = named.length > 1 ? ` and ${named.length - 1} more, none of them this image` : "";
  throw anotherImage(`${algorithm}:${first}`, others);
}

/**
 * Checks that a simple signing payload, cosign's older format, is about `digest`. Its
 * docker-reference is not compared: who mirrors or renames an image does not sign it anew.
 *
 * @throws SignatureProblem when it is none, or is about something else.
 * @see https://github.com/containers/image/blob/v5.36.0/docs/containers-signature.5.md
 */
export function checkSimpleSigning(payload: Uint8Array, digest: Digest): void {
  const simple = parseJsonObject(payload, "its payload");
  const critical = memberOf(simple, "critical");
  const type = textOf(critical, "type");
  if (!SIMPLE_SIGNING_TYPES.includes(type)) {
    throw new SignatureProblem(`is not an image's signature but of type '${shown(type)}'`);
  }
  const named = memberOf(critical, "image")["docker-manifest-digest"];
  if (typeof named !== "string" || named === "") {
    throw new SignatureProblem("its payload names no image");
  }
  if (named !== digest) {
    throw anotherImage(named, "");
  }
}

function anotherImage(named: string, others: string): SignatureProblem {
  const tail = others === "" ? ", another image" : others;
  return new SignatureProblem(`is about ${shown(named)}${tail}`);
}
