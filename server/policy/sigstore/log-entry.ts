import { createPublicKey, X509Certificate } from "node:crypto";
import type { TransparencyLogEntry } from "@sigstore/bundle";
import type { JsonObject } from "../../json-object.ts";
import { isObject } from "../../json-object.ts";
import { SignatureProblem } from "../authority.ts";
import { listOf, memberOf, parseJsonObject, textOf } from "../bounded-json.ts";

/** What a signature was verified with: a certificate's DER, or a public key's (SPKI). */
export interface LogVerifier {
  readonly kind: "certificate" | "key";
  readonly der: Buffer;
}

/** What a log entry says: who signed, and the signature. */
interface Logged {
  readonly signature: Buffer;
  readonly verifier: LogVerifier;
}

/**
 * Checks that a log entry is for this signature by this signer. The library does not compare the
 * signer: an entry for another key would keep a signature out of sight of those who watch the log
 * for their own. That the log holds the entry is the library's to check.
 *
 * @throws SignatureProblem when it is for another one, or of a kind that is not supported.
 */
export function checkLogEntry(
  entry: Pick<TransparencyLogEntry, "canonicalizedBody">,
  signature: Buffer,
  verifier: LogVerifier,
): void {
  const logged = readLogEntry(parseJsonObject(entry.canonicalizedBody, "its log entry"));
  if (!logged.signature.equals(signature)) {
    throw new SignatureProblem("its log entry is for another signature");
  }
  if (logged.verifier.kind !== verifier.kind || !logged.verifier.der.equals(verifier.der)) {
    throw new SignatureProblem(`its log entry is for another ${verifier.kind}`);
  }
}

type Reader = (spec: JsonObject) => Logged;

/** Where each kind of entry keeps signature and signer (https://github.com/sigstore/rekor/tree/v1.4.2/pkg/types). */
const READERS: Readonly<Record<string, Reader>> = {
  "hashedrekord 0.0.1": ({ signature }) => ({
    signature: base64(textOf(signature, "content")),
    verifier: fromPem(textOf(memberOf(signature, "publicKey"), "content")),
  }),
  "dsse 0.0.1": (spec) => {
    const signature = only(listOf(spec, "signatures"));
    return {
      signature: base64(textOf(signature, "signature")),
      verifier: fromPem(textOf(signature, "verifier")),
    };
  },
  "intoto 0.0.2": (spec) => {
    const envelope = memberOf(memberOf(spec, "content"), "envelope");
    const signature = only(listOf(envelope, "signatures"));
    return {
      signature: base64(base64(textOf(signature, "sig")).toString("latin1")), // encoded twice
      verifier: fromPem(textOf(signature, "publicKey")),
    };
  },
  "hashedrekord 0.0.2": (spec) =>
    fromRekorV2(memberOf(memberOf(spec, "hashedRekordV002"), "signature")),
  "dsse 0.0.2": (spec) => fromRekorV2(only(listOf(memberOf(spec, "dsseV002"), "signatures"))),
};

function readLogEntry(body: JsonObject): Logged {
  const kind = `${textOf(body, "kind")} ${textOf(body, "apiVersion")}`;
  const read = Object.hasOwn(READERS, kind) ? READERS[kind] : undefined;
  if (read === undefined) {
    throw new SignatureProblem("its log entry is of a kind that is not supported");
  }
  return read(memberOf(body, "spec"));
}

function fromRekorV2(signature: JsonObject): Logged {
  const verifier = memberOf(signature, "verifier");
  const certificate = memberOf(verifier, "x509Certificate");
  const isCertificate = isObject(verifier["x509Certificate"]);
  const der = textOf(isCertificate ? certificate : memberOf(verifier, "publicKey"), "rawBytes");
  return {
    signature: base64(textOf(signature, "content")),
    verifier: { kind: isCertificate ? "certificate" : "key", der: base64(der) },
  };
}

/** A PEM certificate or public key, in base64 once more. Compared as DER: PEM has many spellings. */
function fromPem(encoded: string): LogVerifier {
  const pem = base64(encoded).toString("latin1");
  try {
    return pem.includes("-----BEGIN CERTIFICATE-----")
      ? { kind: "certificate", der: new X509Certificate(pem).raw }
      : { kind: "key", der: createPublicKey(pem).export({ format: "der", type: "spki" }) };
  } catch (cause) {
    throw new SignatureProblem("its log entry names neither a key nor a certificate", { cause });
  }
}

function only(signatures: readonly unknown[]): JsonObject {
  const [signature] = signatures;
  if (signatures.length !== 1 || !isObject(signature)) {
    throw new SignatureProblem("its log entry is not for exactly one signature");
  }
  return signature;
}

function base64(text: string): Buffer {
  return Buffer.from(text, "base64");
}
