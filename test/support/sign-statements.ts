import { base64 } from "./sign-log.ts";

/** What is put into an envelope. What is left out is as cosign does it for an image's signature. */
export interface StatementOptions {
  /** Of the signed manifest: `sha256:…`. */
  readonly digest: string;
  readonly predicateType?: string;
  readonly predicate?: unknown;
  /** `_type`: Statement v1 by default, `https://in-toto.io/Statement/v0.1` in older ones. */
  readonly statementType?: string;
  /** In place of the one subject that the digest is. */
  readonly subjects?: readonly object[];
  /** `subject.name`, which cosign's attestations and GitHub's have. */
  readonly subjectName?: string;
  /** In place of the whole statement. */
  readonly payload?: Uint8Array | string;
  /** Of the envelope. */
  readonly payloadType?: string;
}

/** What a simple signing payload says. */
export interface SimpleSigningOptions {
  /** Of the signed manifest: `sha256:…`. */
  readonly digest: string;
  /** `critical.identity.docker-reference`; cosign does not compare it. */
  readonly reference?: string;
  /** `critical.type`. */
  readonly type?: string;
  readonly optional?: Readonly<Record<string, unknown>> | null;
  /** In place of the whole payload. */
  readonly payload?: Uint8Array | string;
}

export interface Envelope {
  readonly payloadType: string;
  readonly payload: Buffer;
  /** What is signed: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md */
  readonly toBeSigned: Buffer;
}

export interface EnvelopeJson {
  payloadType: string;
  /** Base64. */
  payload: string;
  signatures: { sig: string; keyid?: string }[];
}

export const COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1";
export const SLSA_PROVENANCE = "https://slsa.dev/provenance/v1";
export const VULNERABILITIES = "https://cosign.sigstore.dev/attestation/vuln/v1";
export const STATEMENT_V1 = "https://in-toto.io/Statement/v1";
export const STATEMENT_V01 = "https://in-toto.io/Statement/v0.1";
export const IN_TOTO = "application/vnd.in-toto+json";

export function envelopeOf(options: StatementOptions): Envelope {
  const { payloadType = IN_TOTO } = options;
  const payload = Buffer.from(options.payload ?? JSON.stringify(statementOf(options)));
  const header = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return { payloadType, payload, toBeSigned: Buffer.concat([Buffer.from(header), payload]) };
}

export function envelopeJson(
  { payloadType, payload }: Envelope,
  signature: Uint8Array,
): EnvelopeJson {
  return { payload: base64(payload), payloadType, signatures: [{ sig: base64(signature) }] };
}

/** https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md */
export function simpleSigningOf(options: SimpleSigningOptions): Buffer {
  const { digest, reference = "", type = "cosign container image signature" } = options;
  const critical = {
    identity: { "docker-reference": reference },
    image: { "docker-manifest-digest": digest },
    type,
  };
  const { optional = null } = options;
  return Buffer.from(options.payload ?? JSON.stringify({ critical, optional }));
}

function statementOf(options: StatementOptions): object {
  const { digest, predicateType = COSIGN_SIGN, predicate = {}, subjectName } = options;
  const [algorithm = "", value] = digest.split(":");
  const name = subjectName === undefined ? {} : { name: subjectName };
  return {
    _type: options.statementType ?? STATEMENT_V1,
    subject: options.subjects ?? [{ ...name, digest: { [algorithm]: value } }],
    predicateType,
    predicate,
  };
}
