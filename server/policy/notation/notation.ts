import { basename } from "node:path";
import type { NotationSettings } from "../../policy-settings.ts";
import type { Authority, VerifiedSignature } from "../authority.ts";
import { SignatureProblem } from "../authority.ts";
import { memberOf } from "../bounded-json.ts";
import type { Candidate, Subject } from "../evidence.ts";
import { shown } from "../printable.ts";
import { toProblem } from "../sigstore/problem.ts";
import type { Certificate } from "./certificate.ts";
import type { Chain } from "./chain.ts";
import { checkChain, checkDates, parseChain } from "./chain.ts";
import { formatDistinguishedName } from "./distinguished-name.ts";
import type { Envelope } from "./envelope.ts";
import { parseEnvelope } from "./envelope.ts";
import { algorithmOf, isSignedWith } from "./signature-algorithm.ts";
import { parseStrictObject } from "./strict-json.ts";
import { TrustedSubjects, TrustStore } from "./trust-store.ts";

/**
 * Who signs with Notation: a leaf whose subject has the wanted attributes, issued by a certificate
 * of the trust store. As strict as Notation's level `strict`, but for these:
 *
 * - The store is one of certificate authorities (`ca:`). The scheme notary.x509.signingAuthority is
 *   refused: with one store for both, anybody with a certificate of it could choose the time at
 *   which he signed (signing scheme specification, FAQ).
 * - Timestamps by RFC 3161 are not verified. So each certificate of the chain must be valid when the
 *   signature is looked at, not only when it was made: an expired leaf is a deny.
 * - Revocation (OCSP, CRL) is not checked: nothing is fetched here.
 * - Verification plugins are not run: what asks for one is refused.
 *
 * Annotations of the artefact and of the payload decide nothing.
 *
 * @throws Error when a certificate or a subject of the settings cannot be read.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md#signature-verification
 */
export function notationAuthority(settings: NotationSettings): Authority {
  const store = new TrustStore(settings.certificates);
  const subjects = new TrustedSubjects(settings.subjects);
  return {
    name: nameOf(settings),
    verify(candidate, subject, nowMs) {
      try {
        const envelope = openEnvelope(candidate);
        checkTarget(envelope.payload, subject);
        const chain = parseChain(envelope.certificates);
        checkAnchor(store, chain);
        checkChain(chain);
        checkSignature(envelope, chain[0]);
        checkTimes(envelope, chain, nowMs);
        checkSubject(subjects, chain[0]);
        return toVerified(envelope, chain);
      } catch (error) {
        throw toProblem(error); // OpenSSL has words of its own for keys that are none
      }
    },
  };
}

function nameOf({ subjects, trustStoreDir }: NotationSettings): string {
  const signers = subjects.map((text) => (text === "*" ? "any subject" : text)).join(" or ");
  return `notation ${signers} (${basename(trustStoreDir)})`;
}

function openEnvelope({ format, mediaType, payload }: Candidate): Envelope {
  if (format !== "notation") {
    throw new SignatureProblem("is a cosign signature, and the rule asks for Notation");
  }
  return parseEnvelope(mediaType, payload);
}

/** Digest, media type and size, all three: "Steps", integrity. */
function checkTarget(payload: Uint8Array, subject: Subject): void {
  const target = memberOf(parseStrictObject(payload, "its payload"), "targetArtifact");
  const { digest, mediaType, size } = target;
  if (digest !== subject.digest) {
    throw new SignatureProblem(`is about another image: ${shown(String(digest))}`);
  }
  if (mediaType !== subject.mediaType || size !== subject.sizeBytes) {
    throw new SignatureProblem("is about another image: media type or size is not this one's");
  }
}

function checkAnchor(store: TrustStore, chain: Chain): void {
  if (!store.holdsOneOf(chain)) {
    throw new SignatureProblem(
      `is by ${chain[0].subjectText}, and no certificate of its chain is in the trust store`,
    );
  }
}

function checkSubject(subjects: TrustedSubjects, leaf: Certificate): void {
  if (!subjects.include(leaf)) {
    throw new SignatureProblem(`is by ${leaf.subjectText}, whom the rule does not name`);
  }
}

function checkSignature(envelope: Envelope, leaf: Certificate): void {
  const key = leaf.x509.publicKey;
  const algorithm = algorithmOf(key);
  if (algorithm === undefined) {
    throw new SignatureProblem(`was made with a key that none may sign with: ${leaf.subjectText}`);
  }
  if (algorithm.name !== envelope.attributes.algorithm) {
    throw new SignatureProblem(
      `says ${envelope.attributes.algorithm}, and its key makes ${algorithm.name}`,
    );
  }
  const signed = { data: envelope.toBeSigned, signature: envelope.signature };
  if (!isSignedWith(key, algorithm, signed)) {
    throw new SignatureProblem(
      "its signature does not fit: it was made with another key, or over other content",
    );
  }
}

function checkTimes({ attributes, isCountersigned }: Envelope, chain: Chain, nowMs: number): void {
  const { scheme, signingTimeMs, expiryMs } = attributes;
  if (scheme === "notary.x509.signingAuthority") {
    throw new SignatureProblem(
      "is by a signing authority, and the trust store is one of certificate authorities",
    );
  }
  if (expiryMs !== undefined && nowMs >= expiryMs) {
    throw new SignatureProblem(`expired on ${toText(expiryMs)}`);
  }
  checkDates(
    chain,
    signingTimeMs,
    `; the signature says that it was made on ${toText(signingTimeMs)}`,
  );
  checkDates(
    chain,
    nowMs,
    isCountersigned
      ? "; its timestamp cannot help, since countersignatures are not verified here"
      : "; it has no timestamp",
  );
}

function toText(ms: number): string {
  return new Date(ms).toISOString();
}

function toVerified({ attributes }: Envelope, chain: Chain): VerifiedSignature {
  const [leaf] = chain;
  const ends = chain.map(({ notAfterMs }) => notAfterMs);
  return {
    signer: formatDistinguishedName(leaf.subject) || leaf.subjectText,
    says: { kind: "signature" },
    validUntilMs: Math.min(...ends, attributes.expiryMs ?? Number.POSITIVE_INFINITY),
  };
}
