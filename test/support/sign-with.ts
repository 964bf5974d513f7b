import type { KeyObject } from "node:crypto";
import { generateKeyPairSync, sign } from "node:crypto";
import type { PrivateSigstore } from "./private-sigstore.ts";
import type { LeafOptions } from "./sign-certificates.ts";
import { certificatePem, ecKeyPair } from "./sign-certificates.ts";
import type { EntryBody, LoggedEntry, LogVerifier } from "./sign-log.ts";
import { keyVerifier } from "./sign-log.ts";

export type Signer = KeylessSigner | KeySigner;

/** With a key that lives for one signature, and a certificate for it. */
export interface KeylessSigner
  extends Omit<Partial<LeafOptions>, "publicKey" | "identity" | "notBefore"> {
  readonly kind: "keyless";
  readonly identity: string;
  readonly issuer: string | null;
}

export interface KeySigner {
  readonly kind: "key";
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  /** SPKI PEM. */
  readonly publicKeyPem: string;
}

/**
 * How something is signed. What is left out is as an honest signer does it: keyless is logged in
 * Rekor v1, a key is not logged; a timestamp is made where nothing else tells the time.
 */
export interface SigningOptions {
  readonly by: Signer;
  readonly log?: "v1" | "v2" | "none";
  readonly timestamp?: boolean;
  /** When all of it happens; now by default. */
  readonly at?: Date;
  readonly certificateAt?: Date;
  readonly loggedAt?: Date;
  /** Not before the authority was made: its own certificate is that old. */
  readonly stampedAt?: Date;
  /** Whose certificate, log or timestamp it is, when not this instance's. */
  readonly issuedBy?: PrivateSigstore;
  readonly loggedBy?: PrivateSigstore;
  readonly stampedBy?: PrivateSigstore;
  /** Signs in place of the key that the certificate or the signer has. */
  readonly signingKey?: KeyObject;
  /** In place of the right signature, before it is logged and stamped. */
  readonly signature?: Uint8Array;
  /** Whom the log entry names, in place of the signer. */
  readonly logVerifier?: LogVerifier;
  /** In place of the right log entry. */
  readonly logBody?: EntryBody;
  /** What is stamped, in place of the signature. */
  readonly stampedBytes?: Uint8Array;
}

export interface Signed {
  readonly signature: Buffer;
  readonly verifier: LogVerifier;
  /** DER of the leaf. */
  readonly certificate: Buffer | undefined;
  readonly entry: LoggedEntry | undefined;
  /** DER TimeStampResp: RFC 3161. */
  readonly stamp: Buffer | undefined;
}

export type KeyType = "p256" | "p384" | "rsa2048" | "rsa4096" | "ed25519";

export function keyless(
  identity: string,
  issuer: string | null,
  leaf: Omit<KeylessSigner, "kind" | "identity" | "issuer"> = {},
): KeylessSigner {
  return { kind: "keyless", identity, issuer, ...leaf };
}

/** RSA takes a moment to find: make one a file. */
export function keySigner(type: KeyType = "p256"): KeySigner {
  const { publicKey, privateKey } = keysOf(type);
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return { kind: "key", publicKey, privateKey, publicKeyPem };
}

/** Certificate, signature, log entry and timestamp over a message, each as the options say. */
export async function signWith(
  home: PrivateSigstore,
  message: Uint8Array,
  options: SigningOptions & {
    readonly entryOf: (signature: Buffer, verifier: LogVerifier) => EntryBody;
    /** What is stamped, when not the signature. */
    readonly stamped?: (signature: Buffer) => Uint8Array;
  },
): Promise<Signed> {
  const { by, at = wholeSecond() } = options;
  const { log = by.kind === "key" ? "none" : "v1" } = options;
  const isStamped = options.timestamp ?? (by.kind === "keyless" && log !== "v1");
  const { key, verifier, certificate } = await credentialsOf(home, options, at);
  const right = sign(hashOf(options.signingKey ?? key), message, options.signingKey ?? key);
  const signature = Buffer.from(options.signature ?? right);

  let entry: LoggedEntry | undefined;
  if (log !== "none") {
    const body = options.logBody ?? options.entryOf(signature, options.logVerifier ?? verifier);
    entry = await (options.loggedBy ?? home).log.append(body, options.loggedAt ?? at);
  }
  let stamp: Buffer | undefined;
  if (isStamped) {
    const bytes = options.stampedBytes ?? options.stamped?.(signature) ?? signature;
    stamp = await (options.stampedBy ?? home).stamp(bytes, options.stampedAt ?? at);
  }
  return { signature, verifier, certificate, entry, stamp };
}

/** Of ten timestamps with milliseconds one has an encoding that some verifiers cannot read. */
export function wholeSecond(date: Date = new Date()): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}

interface Credentials {
  readonly key: KeyObject;
  readonly verifier: LogVerifier;
  readonly certificate?: Buffer;
}

async function credentialsOf(
  home: PrivateSigstore,
  options: SigningOptions,
  at: Date,
): Promise<Credentials> {
  const { by } = options;
  if (by.kind === "key") {
    return { key: by.privateKey, verifier: keyVerifier(by.publicKey) };
  }
  const { publicKey, privateKey } = ecKeyPair();
  const notBefore = options.certificateAt ?? at;
  const authority = (options.issuedBy ?? home).authority;
  const certificate = await authority.issue({ ...by, publicKey, notBefore });
  const verifier = { pem: certificatePem(certificate), der: certificate, isCertificate: true };
  return { key: privateKey, verifier, certificate };
}

/** What cosign signs with; Ed25519 hashes by itself. */
function hashOf(key: KeyObject): string | null {
  return key.asymmetricKeyType === "ed25519" ? null : "sha256";
}

function keysOf(type: KeyType): { publicKey: KeyObject; privateKey: KeyObject } {
  switch (type) {
    case "p256":
      return ecKeyPair();
    case "p384":
      return generateKeyPairSync("ec", { namedCurve: "secp384r1" });
    case "rsa2048":
      return generateKeyPairSync("rsa", { modulusLength: 2048 });
    case "rsa4096":
      return generateKeyPairSync("rsa", { modulusLength: 4096 });
    case "ed25519":
      return generateKeyPairSync("ed25519");
  }
}
