// First, for the reflection that it brings: without it @peculiar/x509 refuses to load.
import "@sigstore/mock";
import type { KeyObject } from "node:crypto";
import { createHash, generateKeyPairSync, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import mock from "@sigstore/mock";

/** What a leaf certificate says; what is left out is as Fulcio does it. */
export interface LeafOptions {
  readonly publicKey: KeyObject;
  /** An e-mail address or a URI. */
  readonly identity: string;
  /** Of the OIDC token; `null` leaves the extension out. */
  readonly issuer: string | null;
  /** `legacy` is the extension of before 2023, `…57264.1.1`, alone. Both by default. */
  readonly issuerForm?: "current" | "legacy" | "both";
  /** In place of the one name that `identity` is. */
  readonly names?: readonly x509.JsonGeneralName[];
  /** OIDs of the extended key usage; an empty list leaves the extension out. */
  readonly usages?: readonly string[];
  /** Further Fulcio extensions by OID, as UTF-8 strings. */
  readonly extensions?: Readonly<Record<string, string>>;
  readonly notBefore: Date;
  readonly validMinutes?: number;
  /** Whether the certificate transparency log has seen it. True by default. */
  readonly isLogged?: boolean;
}

/** The signed list that a certificate carries: RFC 6962, section 3.3. */
const SCT_LIST = "1.3.6.1.4.1.11129.2.4.2";
const ISSUER_LEGACY = "1.3.6.1.4.1.57264.1.1";
const ISSUER = "1.3.6.1.4.1.57264.1.8";
const EC = { name: "ECDSA", namedCurve: "P-256" } as const;
const ECDSA = { ...EC, hash: "SHA-256" } as const;
const FULCIO_MINUTES = 10;
export const CODE_SIGNING = "1.3.6.1.5.5.7.3.3";
export const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

type CtLog = Awaited<ReturnType<typeof mock.initializeCTLog>>;
type CryptoKey = webcrypto.CryptoKey;
type KeyPair = ReturnType<typeof ecKeyPair>;

export function ecKeyPair(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "prime256v1" });
}

export function spkiOf(publicKey: KeyObject): Buffer<ArrayBuffer> {
  return Buffer.from(publicKey.export({ type: "spki", format: "der" }));
}

export function certificatePem(der: Uint8Array): string {
  const base64 = Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
}

/** A Fulcio: a root that issues leaves of ten minutes and has them logged. */
export class CertificateAuthority {
  /** DER. */
  readonly root: Buffer<ArrayBuffer>;
  /** DER of the certificate transparency log's key. */
  readonly ctLogKey: Buffer;
  readonly #certificate: x509.X509Certificate;
  readonly #key: CryptoKey;
  readonly #ctLog: CtLog;

  private constructor(certificate: x509.X509Certificate, key: CryptoKey, ctLog: CtLog) {
    this.root = Buffer.from(certificate.rawData);
    this.ctLogKey = ctLog.publicKey;
    this.#certificate = certificate;
    this.#key = key;
    this.#ctLog = ctLog;
  }

  static async create(): Promise<CertificateAuthority> {
    const keys = await cryptoKeys(ecKeyPair());
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: "01",
      name: "O=sluice.test,CN=private fulcio",
      notBefore: new Date("2020-01-01T00:00:00Z"),
      notAfter: new Date("2049-01-01T00:00:00Z"),
      signingAlgorithm: ECDSA,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.keyCertSign,
          true,
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const ctLog = await mock.initializeCTLog(ecKeyPair());
    return new CertificateAuthority(certificate, keys.privateKey, ctLog);
  }

  /** DER of a new leaf. */
  async issue(options: LeafOptions): Promise<Buffer<ArrayBuffer>> {
    const { notBefore, validMinutes = FULCIO_MINUTES } = options;
    const publicKey = new x509.PublicKey(spkiOf(options.publicKey));
    const leaf: x509.X509CertificateCreateWithKeyParams = {
      serialNumber: Buffer.from(
        webcrypto.getRandomValues(new Uint8Array(8)).fill(1, 0, 1),
      ).toString("hex"),
      notBefore,
      notAfter: new Date(notBefore.getTime() + validMinutes * 60_000),
      issuer: this.#certificate.subject,
      publicKey,
      signingAlgorithm: ECDSA,
      signingKey: this.#key,
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        ...usagesOf(options),
        new x509.SubjectAlternativeNameExtension([...namesOf(options)], true),
        await x509.SubjectKeyIdentifierExtension.create(publicKey),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
        ...claimsOf(options),
      ],
    };
    if (options.isLogged !== false) {
      const before = await x509.X509CertificateGenerator.create(leaf);
      leaf.extensions?.push(await this.#sctOf(before));
    }
    return Buffer.from((await x509.X509CertificateGenerator.create(leaf)).rawData);
  }

  async #sctOf(before: x509.X509Certificate): Promise<x509.Extension> {
    const issuerKey = createHash("sha256")
      .update(Buffer.from(this.#certificate.publicKey.rawData))
      .digest();
    // With its length before it already.
    const one = Buffer.from(
      await this.#ctLog.log(before.rawData as ArrayBuffer, bufferOf(issuerKey)),
    );
    const list = Buffer.concat([lengthOf(one), one]);
    // An OCTET STRING of less than 128 bytes has one byte of length; an SCT has about 120.
    const length = list.length < 128 ? [list.length] : [0x81, list.length];
    return new x509.Extension(SCT_LIST, false, Buffer.from([0x04, ...length, ...list]));
  }
}

function usagesOf({ usages = [CODE_SIGNING] }: LeafOptions): x509.Extension[] {
  return usages.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...usages])];
}

function namesOf({ identity, names }: LeafOptions): readonly x509.JsonGeneralName[] {
  const isEmail = identity.includes("@") && !identity.includes("://");
  return names ?? [{ type: isEmail ? "email" : "url", value: identity }];
}

function claimsOf({ issuer, issuerForm = "both", extensions = {} }: LeafOptions): x509.Extension[] {
  const claims = Object.entries(extensions).map(([oid, value]) => utf8Extension(oid, value));
  if (issuer !== null && issuerForm !== "current") {
    claims.push(new x509.Extension(ISSUER_LEGACY, false, Buffer.from(issuer)));
  }
  if (issuer !== null && issuerForm !== "legacy") {
    claims.push(utf8Extension(ISSUER, issuer));
  }
  return claims;
}

/** DER UTF8String of up to 255 bytes. */
function utf8Extension(oid: string, value: string): x509.Extension {
  const bytes = Buffer.from(value);
  const length = bytes.length < 128 ? [bytes.length] : [0x81, bytes.length];
  return new x509.Extension(oid, false, Buffer.from([0x0c, ...length, ...bytes]));
}

/** Two bytes, big endian. */
function lengthOf(bytes: Buffer): Buffer {
  return Buffer.from([bytes.length >> 8, bytes.length & 0xff]);
}

function bufferOf(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

async function cryptoKeys({ publicKey, privateKey }: KeyPair): Promise<webcrypto.CryptoKeyPair> {
  const { subtle } = webcrypto;
  const jwk = privateKey.export({ format: "jwk" });
  return {
    privateKey: await subtle.importKey("jwk", jwk, EC, false, ["sign"]),
    publicKey: await subtle.importKey("spki", spkiOf(publicKey), EC, true, ["verify"]),
  };
}
