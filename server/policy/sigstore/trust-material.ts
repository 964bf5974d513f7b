import type { KeyObject } from "node:crypto";
import type { RFC3161SignedTimestamp, TransparencyLogEntry } from "@sigstore/bundle";
import type { RFC3161Timestamp } from "@sigstore/core";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import type { SignedEntity, TrustMaterial } from "@sigstore/verify";
import { toTrustMaterial, Verifier } from "@sigstore/verify";
import { SignatureProblem } from "../authority.ts";
import type { TrustedRootNeeds } from "../trust/trusted-root.ts";
import { checkTrustedRoot } from "../trust/trusted-root.ts";
import type { LogVerifier } from "./log-entry.ts";
import { checkLogEntry } from "./log-entry.ts";
import { toLibrarySignature } from "./signature.ts";
import type { SignedBundle } from "./sigstore-authority.ts";
import { parseTimestamp } from "./timestamp.ts";

type CertAuthority = TrustMaterial["timestampAuthorities"][number];

export type LogMode = "require" | "ignore";

/** What a signature's own proofs are verified against, compiled once. */
export interface Trust {
  /**
   * Verifies timestamps, signer, log entries and signature, in that order.
   *
   * @throws whatever the library and its parsers throw, and SignatureProblem.
   */
  verify(signed: SignedBundle, signer: TrustedSigner): void;
}

/** Whose signature it is said to be; the key of a certificate is what the library finds in it. */
export interface TrustedSigner {
  readonly entityKey: SignedEntity["key"];
  readonly logged: LogVerifier;
}

/**
 * Trust in certificates: those of the root's authorities, seen by its certificate logs. A root that
 * names none of these is only taken where logs are ignored, as for an instance that keeps none.
 *
 * @throws Error when the root cannot give what is needed.
 */
export function certificateTrust(trustedRootJson: string, log: LogMode): Trust {
  const isLogged = log === "require";
  const material = materialOf(trustedRootJson, {
    log: isLogged,
    certificates: true,
    timestamps: !isLogged,
  });
  const verifier = new Verifier(material, {
    tlogThreshold: isLogged ? 1 : 0,
    ctlogThreshold: isLogged || material.ctlogs.length > 0 ? 1 : 0,
    // Without entries only an authority's stamps are left to be counted.
    timestampThreshold: 1,
  });
  return toTrust(verifier, {
    isLogged,
    needsTime: true,
    stampAuthorities: material.timestampAuthorities,
  });
}

/**
 * Trust in one key. Its material has no certificate authorities, and whatever a bundle calls its
 * key, it is this one.
 *
 * @throws Error when the log is required and the root names none.
 */
export function keyTrust(key: KeyObject, trustedRootJson: string, log: LogMode): Trust {
  const isLogged = log === "require";
  const needs = { log: isLogged, certificates: false, timestamps: false };
  const root = isLogged ? materialOf(trustedRootJson, needs) : NO_MATERIAL;
  const material = {
    ...root,
    certificateAuthorities: [],
    ctlogs: [],
    publicKey: () => ({ publicKey: key, validFor: () => true }),
  };
  const verifier = new Verifier(material, {
    tlogThreshold: isLogged ? 1 : 0,
    ctlogThreshold: 0,
    timestampThreshold: 0, // a key has no dates
  });
  return toTrust(verifier, {
    isLogged,
    needsTime: false,
    stampAuthorities: material.timestampAuthorities,
  });
}

const NO_MATERIAL: Omit<TrustMaterial, "publicKey"> = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
};

function materialOf(json: string, needs: TrustedRootNeeds): TrustMaterial {
  const problem = checkTrustedRoot(json, needs);
  if (problem !== undefined) {
    throw new Error(`the trusted root ${problem}`);
  }
  return toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(json)), {});
}

interface TrustOptions {
  readonly isLogged: boolean;
  /** Certificates are valid for minutes: when those were, somebody has to say. */
  readonly needsTime: boolean;
  readonly stampAuthorities: readonly CertAuthority[];
}

function toTrust(verifier: Verifier, options: TrustOptions): Trust {
  const { isLogged } = options;
  return {
    verify: ({ bundle, content }, signer) => {
      const { tlogEntries, timestampVerificationData } = bundle.verificationMaterial;
      // The library refuses what it cannot verify, wanted or not: what is ignored must not be there.
      const entries: TransparencyLogEntry[] = isLogged ? tlogEntries : [];
      if (isLogged && entries.length === 0) {
        throw new SignatureProblem("is in no transparency log, where it has to be");
      }
      const stamps = timestampVerificationData?.rfc3161Timestamps ?? [];
      verifier.verify({
        signature: toLibrarySignature(content),
        key: signer.entityKey,
        tlogEntries: entries,
        timestamps: [...logTimes(entries), ...stampTimes(stamps, entries, options)],
      });
      for (const entry of entries) {
        checkLogEntry(entry, content.signature, signer.logged);
      }
    },
  };
}

type Times = SignedEntity["timestamps"];

/** Only the log's promise covers its time: beside a proof alone anybody could have written one. */
function logTimes(entries: readonly TransparencyLogEntry[]): Times {
  return entries
    .filter(
      ({ integratedTime, inclusionPromise }) =>
        inclusionPromise !== undefined && integratedTime !== "" && integratedTime !== "0",
    )
    .map((tlogEntry) => ({ $case: "transparency-log", tlogEntry }));
}

/**
 * Where time is known without them, stamps of authorities that the root does not name are left out:
 * they say nothing, whoever dislikes them could have taken them away, and there are signers who
 * have the public instance's certificates and another's stamps.
 */
function stampTimes(
  stamps: readonly RFC3161SignedTimestamp[],
  entries: readonly TransparencyLogEntry[],
  { needsTime, stampAuthorities }: TrustOptions,
): Times {
  const isTimed = !needsTime || entries.some(({ inclusionPromise }) => inclusionPromise);
  if (isTimed && stampAuthorities.length === 0) {
    return [];
  }
  return stamps
    .map(({ signedTimestamp }) => parseTimestamp(signedTimestamp))
    .filter((stamp) => !isTimed || isBy(stamp, stampAuthorities))
    .map((timestamp) => ({ $case: "timestamp-authority", timestamp }));
}

/** As the library finds a stamp's authority: by its certificate's serial number and issuer. */
function isBy(stamp: RFC3161Timestamp, authorities: readonly CertAuthority[]): boolean {
  return authorities.some(({ certChain: [leaf] }) => {
    const isIssuer = leaf?.issuer.equals(stamp.signerIssuer) === true;
    return isIssuer && leaf.serialNumber.equals(stamp.signerSerialNumber);
  });
}
