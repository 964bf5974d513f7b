import type { PrivateSigstore } from "./private-sigstore.ts";
import type { LoggedEntry } from "./sign-log.ts";
import { base64, dsseEntry, hashedRekord } from "./sign-log.ts";
import type { SimpleSigningOptions, StatementOptions } from "./sign-statements.ts";
import { envelopeJson, envelopeOf, STATEMENT_V01, simpleSigningOf } from "./sign-statements.ts";
import type { Signed, SigningOptions } from "./sign-with.ts";
import { signWith } from "./sign-with.ts";

/** A layer of a `.sig` or `.att` image, to be edited. */
export interface SignatureLayer {
  mediaType: string;
  payload: Buffer;
  annotations: Record<string, string>;
}

interface Editing {
  /** Changes the finished layer in any way. */
  readonly edit?: (layer: SignatureLayer) => void;
}

export type LegacySignatureOptions = SimpleSigningOptions & SigningOptions & Editing;

export type LegacyAttestationOptions = StatementOptions & SigningOptions & Editing;

/** The annotation `dev.sigstore.cosign/bundle`, decoded. */
export interface RekorBundleJson {
  SignedEntryTimestamp: string;
  Payload: { body: string; integratedTime: number; logIndex: number; logID: string };
}

export const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";
export const DSSE = "application/vnd.dsse.envelope.v1+json";
export const SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature";
export const CERTIFICATE_ANNOTATION = "dev.sigstore.cosign/certificate";
export const CHAIN_ANNOTATION = "dev.sigstore.cosign/chain";
export const REKOR_ANNOTATION = "dev.sigstore.cosign/bundle";
export const TIMESTAMP_ANNOTATION = "dev.sigstore.cosign/rfc3161timestamp";

/** A signature of cosign's older format: a simple signing payload, all else in annotations. */
export async function signLegacy(
  home: PrivateSigstore,
  options: LegacySignatureOptions,
): Promise<SignatureLayer> {
  const payload = simpleSigningOf(options);
  const signed = await signWith(home, payload, {
    ...options,
    entryOf: (signature, verifier) => hashedRekord(payload, signature, verifier),
  });
  const annotations = {
    [SIGNATURE_ANNOTATION]: base64(signed.signature),
    ...annotationsOf(signed),
  };
  const layer = { mediaType: SIMPLE_SIGNING, payload, annotations };
  options.edit?.(layer);
  return layer;
}

/** An attestation of cosign's older format: an envelope whose timestamp is over all of its bytes. */
export async function attestLegacy(
  home: PrivateSigstore,
  options: LegacyAttestationOptions,
): Promise<SignatureLayer> {
  const envelope = envelopeOf({ statementType: STATEMENT_V01, ...options });
  const jsonOf = (signature: Buffer): string => JSON.stringify(envelopeJson(envelope, signature));
  const signed = await signWith(home, envelope.toBeSigned, {
    ...options,
    entryOf: (signature, verifier) => {
      return dsseEntry({ json: jsonOf(signature), payload: envelope.payload }, signature, verifier);
    },
    stamped: (signature) => Buffer.from(jsonOf(signature)),
  });
  const layer = {
    mediaType: DSSE,
    payload: Buffer.from(jsonOf(signed.signature)),
    annotations: {
      [SIGNATURE_ANNOTATION]: "",
      ...(options.predicateType !== undefined && { predicateType: options.predicateType }),
      ...annotationsOf(signed),
    },
  };
  options.edit?.(layer);
  return layer;
}

/** Changes the entry that a layer carries, and leaves its signature as it is. */
export function editRekorBundle(
  layer: SignatureLayer,
  edit: (bundle: RekorBundleJson) => void,
): void {
  const bundle = JSON.parse(layer.annotations[REKOR_ANNOTATION] ?? "") as RekorBundleJson;
  edit(bundle);
  layer.annotations[REKOR_ANNOTATION] = JSON.stringify(bundle);
}

function annotationsOf({ certificate, verifier, entry, stamp }: Signed): Record<string, string> {
  return {
    ...(certificate && { [CERTIFICATE_ANNOTATION]: verifier.pem, [CHAIN_ANNOTATION]: "" }),
    ...(entry && { [REKOR_ANNOTATION]: JSON.stringify(rekorBundleOf(entry)) }),
    ...(stamp && {
      [TIMESTAMP_ANNOTATION]: JSON.stringify({ SignedRFC3161Timestamp: base64(stamp) }),
    }),
  };
}

function rekorBundleOf(entry: LoggedEntry): RekorBundleJson {
  const { body, integratedTime, logIndex, logId } = entry;
  return {
    SignedEntryTimestamp: entry.signedEntryTimestamp,
    Payload: { body, integratedTime, logIndex, logID: logId },
  };
}
