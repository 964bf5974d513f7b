import { ValidationError } from "@sigstore/bundle";
import type { VerificationError } from "@sigstore/verify";
import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";

type Code = VerificationError["code"];

/** The library's codes in a platform engineer's words; its own, often in a cause, follow. */
const SENTENCES: Readonly<Record<Code, string>> = {
  TLOG_ERROR: "its transparency log entries do not count",
  TLOG_MISSING_INCLUSION_ERROR: "its log entry proves nothing: neither promise nor inclusion proof",
  TLOG_INCLUSION_PROOF_ERROR: "its log entry's inclusion proof does not hold",
  TLOG_INCLUSION_PROMISE_ERROR: "its log entry is not signed by a log of the trusted root",
  TLOG_BODY_ERROR: "its log entry is for another signature",
  CERTIFICATE_ERROR: "its certificate is not trusted",
  PUBLIC_KEY_ERROR: "its key is not trusted",
  SIGNATURE_ERROR:
    "its signature does not fit: it was made with another key, or over other content",
  TIMESTAMP_ERROR: "its time cannot be trusted",
  NOT_IMPLEMENTED_ERROR: "uses something that is not supported",
};

/** Where the library's own words would leave a reader guessing. */
const BETTER: Readonly<Record<string, string>> = {
  "timestamp could not be verified":
    "its timestamp is by no authority of the trusted root, or was not made for this signature",
  "expected 1 timestamps, got 0":
    "has no time that can be trusted: neither a log's promise nor an authority's timestamp",
  "expected 1 SCTs, got 0": "its certificate is in no certificate transparency log",
  "SCT verification failed":
    "its certificate's entry in the certificate transparency log is by no log of the trusted root",
  "no valid certificate path found": "its certificate was issued by nobody the trusted root names",
  "no trusted certificate path found":
    "its certificate was issued by nobody the trusted root names",
  "Failed to verify certificate chain":
    "its certificate was issued by nobody the trusted root names, at the time it was used",
  "certificate is not valid or expired at the specified date":
    "its certificate was not valid when it was used",
};

/** The library calls a log entry of another kind or version an error of its content. */
const UNSUPPORTED = /^unsupported /;

/** Whatever the library or our parsers threw on hostile input, as a reason for people. */
export function toProblem(error: unknown): SignatureProblem {
  if (error instanceof SignatureProblem) {
    return error;
  }
  if (error instanceof ValidationError) {
    const fields = shown(error.fields.join(", "));
    return new SignatureProblem(`lacks what its version requires: ${fields}`, { cause: error });
  }
  const cause = deepestOf(error);
  // An engine's own words about missing parts help nobody.
  const isBroken = cause instanceof TypeError || cause instanceof RangeError;
  const detail = cause instanceof Error ? cause.message : String(cause);
  const sentence = isBroken ? "is malformed: it lacks parts" : sentenceFor(error, detail);
  return new SignatureProblem(sentence, { cause: error });
}

function sentenceFor(error: unknown, detail: string): string {
  if (Object.hasOwn(BETTER, detail)) {
    return BETTER[detail] ?? detail;
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const sentence = Object.hasOwn(SENTENCES, code) ? SENTENCES[code as Code] : "cannot be read";
  return UNSUPPORTED.test(detail)
    ? `uses what is not supported (${shown(detail)})`
    : `${sentence} (${shown(detail)})`;
}

/** The useful text is often in a cause. */
function deepestOf(error: unknown): unknown {
  let current = error;
  for (let depth = 0; depth < 5; depth++) {
    if (!(current instanceof Error) || !(current.cause instanceof Error)) {
      break;
    }
    current = current.cause;
  }
  return current;
}
