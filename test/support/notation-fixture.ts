import { constants, sign } from "node:crypto";
import { encode, Tagged } from "cborg";
import type { NotationSettings } from "../../server/policy-settings.ts";
import type { CertificateOptions, Issuer, KeyKind, KeyPair } from "./notation-certificates.ts";
import { certificateOf, keyPairOf, toPem } from "./notation-certificates.ts";

/** The manifest that is signed. */
export interface NotationTarget {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Who signs. Without options: a leaf with a P-256 key, by an intermediate, by a root. */
export interface NotationSignerOptions {
  /** The leaf's; default `p256`. */
  readonly key?: KeyKind;
  /** The leaf's; default `C=US, ST=WA, O=acme, CN=release`. */
  readonly subjectDN?: CertificateOptions["subjectDN"];
  /** What is above the leaf; default `intermediate`. */
  readonly issuedBy?: "itself" | "root" | "intermediate";
  /** A leaf of the same authorities as this other one's. */
  readonly like?: NotationSigner;
  /** What is to be odd about a certificate. */
  readonly leaf?: CertificateOptions;
  readonly intermediate?: CertificateOptions;
  readonly root?: CertificateOptions;
  /** The authorities' keys; default `p256`. */
  readonly authorityKey?: KeyKind;
}

/** What is signed, and what is to be odd about it. */
export interface NotationSigningOptions {
  readonly format: "jws" | "cose";
  readonly target: NotationTarget;
  readonly expiry?: Date;
  /** Default: a minute ago. */
  readonly signingTime?: Date;
  /** Other protected headers than the usual ones, in JWS's names for both formats; Dates are times. */
  readonly headers?: (
    usual: Readonly<Record<string, unknown>>,
  ) => Readonly<Record<string, unknown>>;
  /** Another payload than `{ targetArtifact: target }`. */
  readonly payload?: unknown;
  /** Another way to sign than the key's. */
  readonly signature?: (toBeSigned: Buffer, keys: KeyPair) => Buffer;
  /** What happens to the envelope's parts after they were signed. */
  readonly tamper?: (parts: NotationParts) => NotationParts;
}

export interface NotationParts {
  /** Encoded, as they are signed. */
  readonly headers: Buffer;
  readonly payload: Buffer;
  readonly signature: Buffer;
  /** DER. */
  readonly certificates: readonly Buffer[];
  /** Besides the certificates. */
  readonly unprotected: Readonly<Record<string, unknown>>;
}

export interface MintedNotation {
  readonly envelope: Buffer;
  /** Of the layer that the envelope is. */
  readonly mediaType: "application/jose+json" | "application/cose";
  /** From the leaf to the root. */
  readonly chainPem: readonly string[];
  readonly rootPem: string;
}

/** A chain with its keys: it signs as often as one likes. */
export interface NotationSigner {
  readonly chain: readonly Buffer[];
  readonly chainPem: readonly string[];
  readonly rootPem: string;
  /** Who issued the leaf, to issue another one. */
  readonly issuer: Issuer;
  readonly keys: KeyPair;
  sign(options: NotationSigningOptions): MintedNotation;
}

export const NOTATION_SUBJECT = "C=US, ST=WA, O=acme, CN=release";

/** One signature of a signer who signs once. */
export function mintNotation(
  options: NotationSignerOptions & NotationSigningOptions,
): MintedNotation {
  return mintNotationSigner(options).sign(options);
}

/** A rule that trusts exactly these roots. */
export function notationSettings(
  rootPems: readonly string[],
  subjects: readonly string[] = ["*"],
): NotationSettings {
  return { kind: "notation", trustStoreDir: "ca", certificates: rootPems, subjects };
}

const AUTHORITY: CertificateOptions = {
  basicConstraints: { isAuthority: true },
  keyUsage: { usages: ["keyCertSign", "cRLSign"] },
};

const LEAF: CertificateOptions = {
  keyUsage: { usages: ["digitalSignature"] },
  extendedKeyUsage: ["1.3.6.1.5.5.7.3.3"],
};

export function mintNotationSigner(options: NotationSignerOptions = {}): NotationSigner {
  const { like, issuedBy = "intermediate", subjectDN = NOTATION_SUBJECT } = options;
  const keys = keyPairOf(options.key ?? "p256");
  const above = like
    ? { chain: like.chain.slice(1), issuer: like.issuer }
    : mintAuthorities(issuedBy, { subjectDN, keys }, options);
  const leaf = certificateOf(keys.publicKey, above.issuer, { ...LEAF, subjectDN, ...options.leaf });
  const chain = [leaf, ...above.chain];
  const chainPem = chain.map(toPem);
  const rootPem = chainPem.at(-1) ?? "";
  return {
    chain,
    chainPem,
    rootPem,
    issuer: above.issuer,
    keys,
    sign(signing) {
      const parts = sealedParts(signing, keys, chain);
      const { tamper = (same: NotationParts) => same } = signing;
      const envelope = signing.format === "jws" ? toJws(tamper(parts)) : toCose(tamper(parts));
      const mediaType = signing.format === "jws" ? "application/jose+json" : "application/cose";
      return { envelope, mediaType, chainPem, rootPem };
    },
  };
}

function mintAuthorities(
  issuedBy: "itself" | "root" | "intermediate",
  self: Issuer,
  options: NotationSignerOptions,
): { readonly chain: readonly Buffer[]; readonly issuer: Issuer } {
  if (issuedBy === "itself") {
    return { chain: [], issuer: self };
  }
  const rootKeys = keyPairOf(options.authorityKey ?? "p256");
  const root: Issuer = { subjectDN: "C=US, O=acme, CN=root", keys: rootKeys };
  const rootDer = certificateOf(rootKeys.publicKey, root, { ...AUTHORITY, ...options.root });
  if (issuedBy === "root") {
    return { chain: [rootDer], issuer: root };
  }
  const keys = keyPairOf(options.authorityKey ?? "p256");
  const issuer: Issuer = { subjectDN: "C=US, O=acme, CN=intermediate", keys };
  const der = certificateOf(keys.publicKey, root, {
    ...AUTHORITY,
    subjectDN: issuer.subjectDN,
    ...options.intermediate,
  });
  return { chain: [der, rootDer], issuer };
}

function sealedParts(
  options: NotationSigningOptions,
  keys: KeyPair,
  certificates: readonly Buffer[],
): NotationParts {
  const { format, target, expiry, signingTime = new Date(Date.now() - 60_000) } = options;
  const usual = {
    alg: ALGORITHMS[detailOf(keys)]?.jws ?? "PS256",
    cty: "application/vnd.cncf.notary.payload.v1+json",
    crit: ["io.cncf.notary.signingScheme", ...(expiry ? ["io.cncf.notary.expiry"] : [])],
    "io.cncf.notary.signingScheme": "notary.x509",
    "io.cncf.notary.signingTime": signingTime,
    ...(expiry ? { "io.cncf.notary.expiry": expiry } : {}),
  };
  const entries = Object.entries(options.headers?.(usual) ?? usual);
  const headers =
    format === "jws"
      ? Buffer.from(JSON.stringify(Object.fromEntries(entries.map(toJwsHeader))))
      : Buffer.from(encode(new Map(entries.map(toCoseHeader))));
  const payload = Buffer.from(JSON.stringify(options.payload ?? { targetArtifact: target }));
  const signature = (options.signature ?? signAsKeyDoes)(
    format === "jws" ? jwsInput(headers, payload) : coseInput(headers, payload),
    keys,
  );
  const unprotected = { "io.cncf.notary.signingAgent": "test/1.0.0" };
  return { headers, payload, signature, certificates, unprotected };
}

interface Algorithm {
  readonly jws: string;
  readonly cose: number;
  readonly hash: string;
}

const PS256: Algorithm = { jws: "PS256", cose: -37, hash: "sha256" };
const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  "2048": PS256,
  "3072": { jws: "PS384", cose: -38, hash: "sha384" },
  "4096": { jws: "PS512", cose: -39, hash: "sha512" },
  prime256v1: { jws: "ES256", cose: -7, hash: "sha256" },
  secp384r1: { jws: "ES384", cose: -35, hash: "sha384" },
  secp521r1: { jws: "ES512", cose: -36, hash: "sha512" },
};

function detailOf({ publicKey: { asymmetricKeyDetails } }: KeyPair): string {
  return String(asymmetricKeyDetails?.modulusLength ?? asymmetricKeyDetails?.namedCurve);
}

function signAsKeyDoes(data: Buffer, keys: KeyPair): Buffer {
  const { privateKey: key } = keys;
  if (key.asymmetricKeyType === "ed25519") {
    return sign(null, data, key);
  }
  const { hash } = ALGORITHMS[detailOf(keys)] ?? PS256;
  return key.asymmetricKeyType === "ec"
    ? sign(hash, data, { key, dsaEncoding: "ieee-p1363" })
    : sign(hash, data, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      });
}

function jwsInput(headers: Buffer, payload: Buffer): Buffer {
  return Buffer.from(`${headers.toString("base64url")}.${payload.toString("base64url")}`);
}

function coseInput(headers: Buffer, payload: Buffer): Buffer {
  return Buffer.from(encode(["Signature1", headers, Buffer.alloc(0), payload]));
}

function toJwsHeader([name, value]: [string, unknown]): [string, unknown] {
  return [name, value instanceof Date ? value.toISOString().replace(/\.\d+Z/, "Z") : value];
}

const COSE_LABELS: Readonly<Record<string, number>> = { alg: 1, crit: 2, cty: 3, x5chain: 33 };

function toCoseHeader([name, value]: [string, unknown]): [string | number, unknown] {
  const label = COSE_LABELS[name] ?? name;
  if (value instanceof Date) {
    return [label, new Tagged(1, Math.floor(value.getTime() / 1000))];
  }
  const algorithm = Object.values(ALGORITHMS).find(({ jws }) => jws === value);
  return [label, name === "alg" && algorithm ? algorithm.cose : value];
}

function toJws({ headers, payload, signature, certificates, unprotected }: NotationParts): Buffer {
  const envelope = {
    payload: payload.toString("base64url"),
    protected: headers.toString("base64url"),
    header: { ...unprotected, x5c: certificates.map((der) => der.toString("base64")) },
    signature: signature.toString("base64url"),
  };
  return Buffer.from(JSON.stringify(envelope));
}

function toCose({ headers, payload, signature, certificates, unprotected }: NotationParts): Buffer {
  const chain: [number, unknown][] = certificates.length === 0 ? [] : [[33, certificates]];
  const entries = [...Object.entries(unprotected), ...chain];
  const body = encode(
    new Tagged(18, [headers, new Map<unknown, unknown>(entries), payload, signature]),
  );
  return Buffer.from(body);
}
