import type { KeyObject } from "node:crypto";
import { createHash } from "node:crypto";
import mock from "@sigstore/mock";
import { ecKeyPair } from "./sign-certificates.ts";

/** What a Rekor answers for an entry. */
export interface LoggedEntry {
  readonly kind: string;
  readonly version: string;
  readonly logIndex: number;
  /** Seconds since the epoch. */
  readonly integratedTime: number;
  /** Hexadecimal SHA-256 of the log's key. */
  readonly logId: string;
  /** Base64 of the canonical JSON. */
  readonly body: string;
  /** Base64. */
  readonly signedEntryTimestamp: string;
  readonly proof: {
    readonly logIndex: number;
    readonly treeSize: number;
    /** Hexadecimal. */
    readonly rootHash: string;
    readonly checkpoint: string;
  };
}

/** Rekor v1's own words, hexadecimal and base64. */
interface Answer {
  readonly body: string;
  readonly integratedTime: number;
  readonly logID: string;
  readonly logIndex: number;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: LoggedEntry["proof"];
  };
}

type MockLog = Awaited<ReturnType<typeof mock.initializeTLog>>;

/** Who a log entry says has signed. */
export interface LogVerifier {
  /** A certificate or a public key. */
  readonly pem: string;
  readonly der: Uint8Array;
  readonly isCertificate: boolean;
}

export interface EntryBody {
  readonly apiVersion: string;
  readonly kind: string;
  readonly spec: object;
}

/** A Rekor in memory: each entry is the first of a tree of its own. */
export class TransparencyLog {
  /** DER. */
  readonly publicKey: Buffer;
  readonly #log: MockLog;
  /** The mock keeps this very object and reads it at each entry. */
  readonly #clock: Date;

  private constructor(log: MockLog, clock: Date) {
    this.#log = log;
    this.publicKey = log.publicKey;
    this.#clock = clock;
  }

  static async create(url: string): Promise<TransparencyLog> {
    const clock = new Date();
    return new TransparencyLog(await mock.initializeTLog(url, ecKeyPair(), clock), clock);
  }

  async append(entry: EntryBody, at: Date): Promise<LoggedEntry> {
    this.#clock.setTime(at.getTime());
    const answer = (await this.#log.log(entry)) as unknown as Readonly<Record<string, Answer>>;
    const [logged] = Object.values(answer);
    if (logged === undefined) {
      throw new Error("the log did not answer");
    }
    return {
      kind: entry.kind,
      version: entry.apiVersion,
      logIndex: logged.logIndex,
      integratedTime: logged.integratedTime,
      logId: logged.logID,
      body: logged.body,
      signedEntryTimestamp: logged.verification.signedEntryTimestamp,
      proof: logged.verification.inclusionProof,
    };
  }
}

/** Of a signature over bytes: Rekor v1's hashedrekord 0.0.1. */
export function hashedRekord(
  message: Uint8Array,
  signature: Uint8Array,
  verifier: LogVerifier,
): EntryBody {
  const hash = { algorithm: "sha256", value: sha256(message).toString("hex") };
  const publicKey = { content: base64(verifier.pem) };
  const spec = { data: { hash }, signature: { content: base64(signature), publicKey } };
  return { apiVersion: "0.0.1", kind: "hashedrekord", spec };
}

/** Rekor v2's hashedrekord 0.0.2; for an envelope the message is its pre-authentication encoding. */
export function hashedRekordV2(
  message: Uint8Array,
  signature: Uint8Array,
  verifier: LogVerifier,
): EntryBody {
  const key = { rawBytes: base64(verifier.der) };
  const spec = {
    hashedRekordV002: {
      data: { algorithm: "SHA2_256", digest: base64(sha256(message)) },
      signature: {
        content: base64(signature),
        verifier: {
          keyDetails: "PKIX_ECDSA_P256_SHA_256",
          ...(verifier.isCertificate ? { x509Certificate: key } : { publicKey: key }),
        },
      },
    },
  };
  return { apiVersion: "0.0.2", kind: "hashedrekord", spec };
}

/** Of an envelope: Rekor v1's dsse 0.0.1. */
export function dsseEntry(
  envelope: { readonly json: string; readonly payload: Uint8Array },
  signature: Uint8Array,
  verifier: LogVerifier,
): EntryBody {
  const hash = (bytes: Uint8Array | string): object => {
    return { algorithm: "sha256", value: sha256(bytes).toString("hex") };
  };
  const signatures = [{ signature: base64(signature), verifier: base64(verifier.pem) }];
  const spec = {
    envelopeHash: hash(envelope.json),
    payloadHash: hash(envelope.payload),
    signatures,
  };
  return { apiVersion: "0.0.1", kind: "dsse", spec };
}

export function keyVerifier(publicKey: KeyObject): LogVerifier {
  return {
    pem: publicKey.export({ type: "spki", format: "pem" }).toString(),
    der: publicKey.export({ type: "spki", format: "der" }),
    isCertificate: false,
  };
}

export function sha256(data: Uint8Array | string): Buffer {
  return createHash("sha256").update(data).digest();
}

export function base64(data: Uint8Array | string): string {
  return Buffer.from(data).toString("base64");
}
