import type { Bundle } from "@sigstore/bundle";
import {
  BUNDLE_V01_MEDIA_TYPE,
  BUNDLE_V02_MEDIA_TYPE,
  BUNDLE_V03_LEGACY_MEDIA_TYPE,
  BUNDLE_V03_MEDIA_TYPE,
  bundleFromJSON,
} from "@sigstore/bundle";
import type { JsonObject } from "../../json-object.ts";
import { POLICY_LIMITS } from "../../limits.ts";
import { SignatureProblem } from "../authority.ts";
import { listOf, memberOf, textOf } from "../bounded-json.ts";
import { shown } from "../printable.ts";
import { toProblem } from "./problem.ts";

/** The library takes any number for a version, and reads it as the latest. */
const MEDIA_TYPES: readonly string[] = [
  BUNDLE_V01_MEDIA_TYPE,
  BUNDLE_V02_MEDIA_TYPE,
  BUNDLE_V03_LEGACY_MEDIA_TYPE,
  BUNDLE_V03_MEDIA_TYPE,
];

/**
 * A Sigstore bundle, v0.1 to v0.3, of which nothing has been verified: its parts are there, and no
 * more of them than may be looked at.
 *
 * @throws SignatureProblem
 * @see https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_bundle.proto
 */
export function toBundle(json: JsonObject): Bundle {
  const mediaType = textOf(json, "mediaType");
  if (!MEDIA_TYPES.includes(mediaType)) {
    throw new SignatureProblem(`is a bundle of an unknown version: '${shown(mediaType)}'`);
  }
  checkCounts(json);
  try {
    return bundleFromJSON(json);
  } catch (error) {
    throw toProblem(error);
  }
}

/** Before anything is decoded: each of these costs a verification. */
function checkCounts(json: JsonObject): void {
  const material = memberOf(json, "verificationMaterial");
  const entries = listOf(material, "tlogEntries");
  const stamps = listOf(memberOf(material, "timestampVerificationData"), "rfc3161Timestamps");
  const signatures = listOf(memberOf(json, "dsseEnvelope"), "signatures");
  checkCount(entries.length, POLICY_LIMITS.logEntriesMax, "log entries");
  checkCount(stamps.length, POLICY_LIMITS.timestampsMax, "timestamps");
  checkCount(signatures.length, 1, "signatures");
  for (const entry of entries) {
    const checkpoint = memberOf(memberOf(entry, "inclusionProof"), "checkpoint");
    if (textOf(checkpoint, "envelope").length > POLICY_LIMITS.checkpointBytesMax) {
      throw new SignatureProblem("its log entry's checkpoint is too large");
    }
  }
}

function checkCount(count: number, countMax: number, what: string): void {
  if (count > countMax) {
    throw new SignatureProblem(`has ${count} ${what}, at most ${countMax} are looked at`);
  }
}

/** The leaf's DER, when it was signed with a certificate; undefined when with a key. */
export function leafOf({ verificationMaterial: { content } }: Bundle): Buffer | undefined {
  switch (content.$case) {
    case "certificate":
      return content.certificate.rawBytes;
    case "x509CertificateChain":
      return content.x509CertificateChain.certificates[0]?.rawBytes;
    case "publicKey":
      return undefined;
  }
}

/** What the signer says of the key: a name, never a reason to trust it. */
export function keyHintOf({ verificationMaterial: { content } }: Bundle): string {
  return content.$case === "publicKey" ? content.publicKey.hint : "";
}
