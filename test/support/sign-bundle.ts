import type { PrivateSigstore } from "./private-sigstore.ts";
import { spkiOf } from "./sign-certificates.ts";
import type { LoggedEntry, LogVerifier } from "./sign-log.ts";
import { base64, dsseEntry, hashedRekord, hashedRekordV2, sha256 } from "./sign-log.ts";
import type { EnvelopeJson, StatementOptions } from "./sign-statements.ts";
import { envelopeJson, envelopeOf } from "./sign-statements.ts";
import type { Signed, Signer, SigningOptions } from "./sign-with.ts";
import { signWith } from "./sign-with.ts";

export interface BundleOptions extends StatementOptions, SigningOptions {
  readonly mediaType?: string;
  /** A certificate under `certificate`, as v0.3 has it, or in a chain, as v0.1 and v0.2 do. */
  readonly certificateForm?: "leaf" | "chain";
  /** A message signature over `payload`, which no cosign puts on an image. An envelope by default. */
  readonly content?: "envelope" | "message";
  /** Changes the finished bundle in any way. */
  readonly edit?: (bundle: BundleJson) => void;
}

/** https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto, to be edited. */
export interface BundleJson {
  mediaType: string;
  dsseEnvelope?: EnvelopeJson;
  messageSignature?: {
    messageDigest: { algorithm: string; digest: string };
    signature: string;
  };
  verificationMaterial: {
    certificate?: { rawBytes: string };
    x509CertificateChain?: { certificates: { rawBytes: string }[] };
    publicKey?: { hint: string };
    tlogEntries?: LogEntryJson[];
    timestampVerificationData?: { rfc3161Timestamps: { signedTimestamp: string }[] };
  };
}

export interface LogEntryJson {
  logIndex: string;
  logId: { keyId: string };
  kindVersion: { kind: string; version: string };
  integratedTime?: string;
  inclusionPromise?: { signedEntryTimestamp: string };
  inclusionProof?: {
    logIndex: string;
    rootHash: string;
    treeSize: string;
    hashes: string[];
    checkpoint: { envelope: string };
  };
  canonicalizedBody: string;
}

export const BUNDLE_V03 = "application/vnd.dev.sigstore.bundle.v0.3+json";
export const BUNDLE_V02 = "application/vnd.dev.sigstore.bundle+json;version=0.2";
export const BUNDLE_V01 = "application/vnd.dev.sigstore.bundle+json;version=0.1";

/** A Sigstore bundle as cosign 3 makes it, where the options do not say otherwise. */
export async function signBundle(
  home: PrivateSigstore,
  options: BundleOptions,
): Promise<BundleJson> {
  const { content = "envelope", log } = options;
  const envelope = envelopeOf(options);
  const message = content === "envelope" ? envelope.toBeSigned : envelope.payload;
  const signed = await signWith(home, message, {
    ...options,
    entryOf: (signature, verifier) => {
      if (log === "v2") {
        return hashedRekordV2(message, signature, verifier);
      }
      if (content === "message") {
        return hashedRekord(message, signature, verifier);
      }
      const json = JSON.stringify(envelopeJson(envelope, signature));
      return dsseEntry({ json, payload: envelope.payload }, signature, verifier);
    },
  });
  const { signature } = signed;
  const bundle: BundleJson = {
    mediaType: options.mediaType ?? BUNDLE_V03,
    verificationMaterial: materialOf(signed, options),
    ...(content === "envelope"
      ? { dsseEnvelope: envelopeJson(envelope, signature) }
      : {
          messageSignature: {
            messageDigest: { algorithm: "SHA2_256", digest: base64(sha256(message)) },
            signature: base64(signature),
          },
        }),
  };
  options.edit?.(bundle);
  return bundle;
}

/** A log entry as bundles carry it: with Rekor v2 the proof is all there is. */
export function logEntryJson(entry: LoggedEntry, log: "v1" | "v2"): LogEntryJson {
  const { proof } = entry;
  return {
    logIndex: String(log === "v1" ? entry.logIndex : proof.logIndex),
    logId: { keyId: base64(Buffer.from(entry.logId, "hex")) },
    kindVersion: { kind: entry.kind, version: entry.version },
    ...(log === "v1" && {
      integratedTime: String(entry.integratedTime),
      inclusionPromise: { signedEntryTimestamp: entry.signedEntryTimestamp },
    }),
    inclusionProof: {
      logIndex: String(proof.logIndex),
      rootHash: base64(Buffer.from(proof.rootHash, "hex")),
      treeSize: String(proof.treeSize),
      hashes: [],
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: entry.body,
  };
}

function materialOf(
  { certificate, verifier, entry, stamp }: Signed,
  { by, log, certificateForm = "leaf" }: BundleOptions,
): BundleJson["verificationMaterial"] {
  return {
    ...identityOf(by, certificate, verifier, certificateForm),
    ...(entry && { tlogEntries: [logEntryJson(entry, log === "v2" ? "v2" : "v1")] }),
    ...(stamp && {
      timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: base64(stamp) }] },
    }),
  };
}

function identityOf(
  by: Signer,
  certificate: Buffer | undefined,
  verifier: LogVerifier,
  form: "leaf" | "chain",
): Partial<BundleJson["verificationMaterial"]> {
  if (by.kind === "key") {
    return { publicKey: { hint: base64(sha256(spkiOf(by.publicKey))) } };
  }
  const leaf = { rawBytes: base64(certificate ?? verifier.der) };
  return form === "leaf"
    ? { certificate: leaf }
    : { x509CertificateChain: { certificates: [leaf] } };
}
