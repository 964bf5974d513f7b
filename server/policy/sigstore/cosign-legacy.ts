import { createHash, X509Certificate } from "node:crypto";
import { BUNDLE_V01_MEDIA_TYPE } from "@sigstore/bundle";
import type { JsonObject } from "../../json-object.ts";
import { SignatureProblem } from "../authority.ts";
import { memberOf, parseJsonObject, textOf } from "../bounded-json.ts";
import type { Candidate } from "../evidence.ts";

// https://github.com/sigstore/cosign/blob/v3.0.2/specs/SIGNATURE_SPEC.md
const SIGNATURE = "dev.cosignproject.cosign/signature";
const CERTIFICATE = "dev.sigstore.cosign/certificate";
const LOG_BUNDLE = "dev.sigstore.cosign/bundle";
const TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp";

/**
 * A signature or attestation in cosign's older format as a Sigstore bundle in JSON. Version 0.1 is
 * the one that takes a log's promise without an inclusion proof, which is all that was kept.
 *
 * The chain annotation is left out: intermediates are the trusted root's to name.
 *
 * @throws SignatureProblem when the annotations cannot be read.
 */
export function legacyToBundle(candidate: Candidate): JsonObject {
  return {
    mediaType: BUNDLE_V01_MEDIA_TYPE,
    verificationMaterial: {
      ...signer(annotationOf(candidate, CERTIFICATE)),
      tlogEntries: logEntries(annotationOf(candidate, LOG_BUNDLE)),
      timestampVerificationData: { rfc3161Timestamps: stamps(annotationOf(candidate, TIMESTAMP)) },
    },
    ...(candidate.format === "cosign-attestation"
      ? { dsseEnvelope: parseJsonObject(candidate.payload, "its envelope") }
      : { messageSignature: messageSignature(candidate) }),
  };
}

function messageSignature(candidate: Candidate): JsonObject {
  const signature = annotationOf(candidate, SIGNATURE);
  if (signature === "") {
    throw new SignatureProblem("carries no signature");
  }
  const digest = createHash("sha256").update(candidate.payload).digest("base64");
  return { messageDigest: { algorithm: "SHA2_256", digest }, signature };
}

function signer(pem: string): JsonObject {
  if (pem === "") {
    return { publicKey: { hint: "" } };
  }
  try {
    const rawBytes = new X509Certificate(pem).raw.toString("base64");
    return { x509CertificateChain: { certificates: [{ rawBytes }] } };
  } catch (cause) {
    throw new SignatureProblem("its certificate cannot be read", { cause });
  }
}

/** Rekor's own answer, as cosign kept it: body, time, index and the log's promise. */
function logEntries(annotation: string): readonly JsonObject[] {
  if (annotation === "") {
    return [];
  }
  const bundle = parseJsonObject(Buffer.from(annotation), "its log entry");
  const payload = memberOf(bundle, "Payload");
  const body = textOf(payload, "body");
  const { kind, apiVersion } = parseJsonObject(Buffer.from(body, "base64"), "its log entry");
  return [
    {
      logIndex: integer(payload, "logIndex"),
      logId: { keyId: Buffer.from(textOf(payload, "logID"), "hex").toString("base64") },
      kindVersion: { kind, version: apiVersion },
      integratedTime: integer(payload, "integratedTime"),
      inclusionPromise: { signedEntryTimestamp: textOf(bundle, "SignedEntryTimestamp") },
      canonicalizedBody: body,
    },
  ];
}

function integer(payload: JsonObject, name: string): string {
  const value = payload[name];
  if (!Number.isSafeInteger(value)) {
    throw new SignatureProblem(`its log entry has no ${name}`);
  }
  return String(value);
}

function stamps(annotation: string): readonly JsonObject[] {
  if (annotation === "") {
    return [];
  }
  const stamp = parseJsonObject(Buffer.from(annotation), "its timestamp");
  return [{ signedTimestamp: textOf(stamp, "SignedRFC3161Timestamp") }];
}

function annotationOf({ annotations }: Candidate, name: string): string {
  return textOf(annotations, name);
}
