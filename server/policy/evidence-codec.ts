import { createHash } from "node:crypto";
import { isDigest } from "../../storage/digest.ts";
import type { SignatureFormat } from "../decision.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { Candidate, Evidence, PassedOver, Subject } from "./evidence.ts";

interface StoredCandidate {
  readonly format: SignatureFormat;
  readonly artifact: string;
  readonly mediaType: string;
  /** base64 */
  readonly payload: string;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Stored {
  readonly version: 1;
  readonly candidates: readonly StoredCandidate[];
  readonly passedOver: readonly PassedOver[];
  readonly isPartial: boolean;
  readonly isCut: boolean;
  readonly withAttestations?: boolean;
}

const FORMATS: ReadonlySet<SignatureFormat> = new Set([
  "bundle",
  "cosign-signature",
  "cosign-attestation",
  "notation",
]);

/**
 * Evidence as bytes for the store; undefined when there is a gap in it, or when it is too large:
 * then it is gathered again.
 */
export function encodeEvidence(evidence: Evidence): Buffer | undefined {
  const sizeBytes = evidence.candidates.reduce((sum, { payload }) => sum + payload.byteLength, 0);
  if (evidence.failures.length > 0 || sizeBytes > POLICY_LIMITS.evidenceBytesMax) {
    return; // the second is looked at again below: as JSON it would keep everybody waiting
  }
  const stored: Stored = {
    version: 1,
    candidates: evidence.candidates.map(({ payload, ...rest }) => ({
      ...rest,
      payload: Buffer.from(payload).toString("base64"),
    })),
    passedOver: evidence.passedOver,
    isPartial: evidence.isPartial,
    isCut: evidence.isCut === true,
    ...(evidence.withAttestations === true && { withAttestations: true }),
  };
  const bytes = Buffer.from(JSON.stringify(stored));
  return bytes.byteLength > POLICY_LIMITS.evidenceBytesMax ? undefined : bytes;
}

/**
 * Undefined when it cannot be read. A disk may have been tampered with: nothing in here is believed
 * before its signature has been verified again.
 */
export function decodeEvidence(
  bytes: Uint8Array,
  subject: Subject,
  gatheredAtMs: number,
): Evidence | undefined {
  if (bytes.byteLength > POLICY_LIMITS.evidenceBytesMax) {
    return;
  }
  try {
    const stored = JSON.parse(Buffer.from(bytes).toString("utf8")) as Stored;
    const { version, passedOver, isPartial, isCut } = stored;
    const isSound = stored.candidates.every(isCandidate) && passedOver.every(isPassedOver);
    if (version !== 1 || !isSound || stored.candidates.length > POLICY_LIMITS.candidatesMax) {
      return;
    }
    const candidates = stored.candidates.map(
      ({ payload, ...rest }) =>
        ({ ...rest, payload: Buffer.from(payload, "base64") }) as unknown as Candidate,
    );
    const asked = stored.withAttestations === true ? { withAttestations: true } : {};
    const found = { subject, candidates, passedOver, failures: [], ...asked };
    return { ...found, isPartial, isCut, gatheredAtMs };
  } catch {
    return;
  }
}

/** Names what was looked at, whatever the order it came in: `sha256:…`. */
export function evidenceDigest({ subject, candidates }: Evidence): string {
  const parts = candidates.map(({ format, artifact, payload, annotations }) => {
    const hash = createHash("sha256").update(payload).update(JSON.stringify(annotations));
    return `${format} ${artifact} ${hash.digest("hex")}`;
  });
  const hash = createHash("sha256").update([subject.digest, ...parts.toSorted()].join("\n"));
  return `sha256:${hash.digest("hex")}`;
}

function isCandidate(value: StoredCandidate): boolean {
  return (
    FORMATS.has(value.format) &&
    typeof value.payload === "string" &&
    typeof value.mediaType === "string" &&
    isDigest(value.artifact) &&
    typeof value.annotations === "object" &&
    value.annotations !== null &&
    Object.values(value.annotations).every((text) => typeof text === "string")
  );
}

function isPassedOver({ artifact, problem }: PassedOver): boolean {
  return typeof artifact === "string" && typeof problem === "string";
}
