import mock from "@sigstore/mock";
import type { BundleJson, BundleOptions } from "./sign-bundle.ts";
import { signBundle } from "./sign-bundle.ts";
import { CertificateAuthority, ecKeyPair } from "./sign-certificates.ts";
import type {
  LegacyAttestationOptions,
  LegacySignatureOptions,
  SignatureLayer,
} from "./sign-legacy.ts";
import { attestLegacy, signLegacy } from "./sign-legacy.ts";
import { base64, sha256, TransparencyLog } from "./sign-log.ts";
import { wholeSecond } from "./sign-with.ts";

/** A part of the trusted root that can be left out. */
export type RootPart = "log" | "ctlog" | "authority" | "timestamps";

type TimestampAuthority = Awaited<ReturnType<typeof mock.initializeTSA>>;

export interface StampRequest {
  readonly hashAlgorithmOid: string;
  readonly digest: Buffer;
  readonly nonce?: number;
}

interface Parts {
  readonly url: string;
  readonly authority: CertificateAuthority;
  readonly log: TransparencyLog;
  readonly timestamps: TimestampAuthority;
  readonly stampClock: Date;
}

const ROOT_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
const SHA256_OID = "2.16.840.1.101.3.4.2.1";
const STAMP_POLICY_OID = "1.3.6.1.4.1.57264.2";
/** Logs and authorities must say since when they count. */
const VALID_FOR = { start: "2020-01-01T00:00:00Z" };

/** Everything in memory, in about 20 ms. A second one is a stranger to the first. */
export async function createPrivateSigstore(
  url = "http://sigstore.test",
): Promise<PrivateSigstore> {
  const stampClock = wholeSecond();
  const [authority, log, timestamps] = await Promise.all([
    CertificateAuthority.create(),
    TransparencyLog.create(url),
    mock.initializeTSA(ecKeyPair(), stampClock),
  ]);
  return new PrivateSigstore({ url, authority, log, timestamps, stampClock });
}

/** A Fulcio with its certificate transparency log, a Rekor and a timestamp authority. */
export class PrivateSigstore {
  readonly url: string;
  readonly authority: CertificateAuthority;
  readonly log: TransparencyLog;
  readonly timestamps: TimestampAuthority;
  /** The mock keeps this very object and reads it at each stamp. */
  readonly #stampClock: Date;

  constructor(parts: Parts) {
    this.url = parts.url;
    this.authority = parts.authority;
    this.log = parts.log;
    this.timestamps = parts.timestamps;
    this.#stampClock = parts.stampClock;
  }

  /** A Sigstore TrustedRoot as JSON text, with all parts. */
  get trustedRootJson(): string {
    return this.trustedRootWithout();
  }

  trustedRootWithout(...parts: readonly RootPart[]): string {
    const unless = <T>(part: RootPart, list: T[]): T[] => (parts.includes(part) ? [] : list);
    const { rootCertificate, intCertificate } = this.timestamps;
    const stampChain = [intCertificate, rootCertificate].map(bytesOf);
    return JSON.stringify({
      mediaType: ROOT_TYPE,
      tlogs: unless("log", [this.#logJson(this.log.publicKey)]),
      certificateAuthorities: unless("authority", [this.#authorityJson([this.authority.root])]),
      ctlogs: unless("ctlog", [this.#logJson(this.authority.ctLogKey)]),
      timestampAuthorities: unless("timestamps", [this.#authorityJson(stampChain)]),
    });
  }

  bundle(options: BundleOptions): Promise<BundleJson> {
    return signBundle(this, options);
  }

  legacySignature(options: LegacySignatureOptions): Promise<SignatureLayer> {
    return signLegacy(this, options);
  }

  legacyAttestation(options: LegacyAttestationOptions): Promise<SignatureLayer> {
    return attestLegacy(this, options);
  }

  /** DER TimeStampResp over bytes: RFC 3161. */
  stamp(bytes: Uint8Array, at: Date): Promise<Buffer> {
    return this.answerStampRequest({ hashAlgorithmOid: SHA256_OID, digest: sha256(bytes) }, at);
  }

  async answerStampRequest(request: StampRequest, at: Date): Promise<Buffer> {
    this.#stampClock.setTime(at.getTime());
    const stamp = await this.timestamps.timestamp({
      artifactHash: request.digest,
      hashAlgorithmOID: request.hashAlgorithmOid,
      nonce: request.nonce ?? 1,
      policyOID: STAMP_POLICY_OID,
      certReq: true,
    });
    return bytesOf(stamp);
  }

  #logJson(key: Uint8Array): object {
    return {
      baseUrl: this.url,
      hashAlgorithm: "SHA2_256",
      publicKey: {
        rawBytes: base64(key),
        keyDetails: "PKIX_ECDSA_P256_SHA_256",
        validFor: VALID_FOR,
      },
      logId: { keyId: base64(sha256(key)) },
    };
  }

  #authorityJson(chain: readonly Uint8Array[]): object {
    return {
      subject: { organization: "sluice.test", commonName: "private sigstore" },
      uri: this.url,
      certChain: { certificates: chain.map((der) => ({ rawBytes: base64(der) })) },
      validFor: VALID_FOR,
    };
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
