import t from "tap";
import { startForger } from "../support/forger.ts";
import {
  edited,
  editedEntry,
  flipped,
  transplanted,
  transplantedEntry,
  withoutProof,
} from "../support/forger-edits.ts";
import { intotoBundle } from "../support/forger-log.ts";
import { release as by, rows, rulesOf, stranger } from "../support/forger-rules.ts";
import { IDENTITY, ISSUER } from "../support/policies.ts";
import { key, otherKey, sigstore } from "../support/policy-rig.ts";
import { BUNDLE_V02, BUNDLE_V03 } from "../support/sign-bundle.ts";
import { certificatePem, ecKeyPair } from "../support/sign-certificates.ts";
import { dsseEntry, hashedRekord, hashedRekordV2, keyVerifier } from "../support/sign-log.ts";
import { wholeSecond } from "../support/sign-with.ts";

const forger = await startForger(t, rulesOf("keyless", "logged-key"));

t.test("nothing of a log entry can be changed", async (t) => {
  await forger.refuse(t, "keyless", {
    "its body": [
      editedEntry((it) => {
        it.canonicalizedBody = flipped(it.canonicalizedBody);
      }),
      /\S/,
    ],
    "its time": [
      editedEntry((it) => {
        it.integratedTime = String(Number(it.integratedTime) + 1);
      }),
      /log entry/,
    ],
    "its index": [
      editedEntry((it) => {
        it.logIndex = String(Number(it.logIndex) + 1);
      }),
      /log entry/,
    ],
    "its log": [
      editedEntry((it) => {
        it.logId.keyId = flipped(it.logId.keyId);
      }),
      /log/,
    ],
    "its promise": [
      editedEntry((it) => {
        const promise = it.inclusionPromise ?? { signedEntryTimestamp: "" };
        promise.signedEntryTimestamp = flipped(promise.signedEntryTimestamp);
      }),
      /log entry/,
    ],
    "an empty promise, and a time that nobody vouches for": [
      editedEntry((it) => {
        it.inclusionPromise = { signedEntryTimestamp: "" };
      }),
      /\S/,
    ],
    "its proof's path": [
      editedEntry((it) => {
        it.inclusionProof?.hashes.push("A".repeat(43));
      }),
      /inclusion proof/,
    ],
    "its proof's place": [
      editedEntry((it) => {
        Object.assign(it.inclusionProof ?? {}, { logIndex: "1", treeSize: "2" });
      }),
      /inclusion proof/,
    ],
    "its checkpoint": [
      editedEntry(({ inclusionProof: { checkpoint } = { checkpoint: { envelope: "" } } }) => {
        checkpoint.envelope = checkpoint.envelope.replace("\n1\n", "\n2\n");
      }),
      /inclusion proof|log/,
    ],
    "a checkpoint of another log": [
      transplantedEntry(stranger, (it, donor) => {
        Object.assign(it.inclusionProof ?? {}, { checkpoint: donor.inclusionProof?.checkpoint });
      }),
      /inclusion proof|log/,
    ],
    "the promise of another entry": [
      transplantedEntry(sigstore, (it, donor) => {
        it.inclusionPromise = donor.inclusionPromise ?? { signedEntryTimestamp: "" };
      }),
      /log entry/,
    ],
    "another entry of the same signer": [
      transplanted((bundle, donor) => {
        const { tlogEntries = [] } = donor.verificationMaterial;
        bundle.verificationMaterial.tlogEntries = tlogEntries;
      }),
      /log entry is for another/,
    ],
    "a time that is forged, and a proof alone": [
      editedEntry(
        (it) => {
          it.integratedTime = String(Math.floor(Date.now() / 1000));
        },
        { log: "v2", timestamp: false },
      ),
      /has no time that can be trusted/,
    ],
    "the same, with a certificate that is old": [
      editedEntry(
        (it) => {
          it.integratedTime = String(Math.floor(Date.now() / 1000) - 86_400);
        },
        { log: "v2", timestamp: false, certificateAt: new Date(Date.now() - 86_400_000) },
      ),
      /has no time that can be trusted/,
    ],
    "the same entry twice": [
      edited(({ verificationMaterial: { tlogEntries = [] } }) => {
        tlogEntries.push(...tlogEntries);
      }),
      /duplicate|log/,
    ],
    "33 entries": [
      edited(({ verificationMaterial }) => {
        const [first] = verificationMaterial.tlogEntries ?? [];
        verificationMaterial.tlogEntries = Array(33).fill(first);
      }),
      /has 33 log entries/,
    ],
    "no proof, though v0.3 asks for one": [
      withoutProof({ mediaType: BUNDLE_V03 }),
      /lacks what its version/,
    ],
    "no proof, though v0.2 asks for one": [
      withoutProof({ mediaType: BUNDLE_V02, certificateForm: "chain" }),
      /lacks what its versi/,
    ],
    "neither proof nor promise": [
      editedEntry((it) => {
        delete it.inclusionPromise;
        delete it.inclusionProof;
      }),
      /lacks what its version requires|proves nothing/,
    ],
  });
});

t.test("a log entry is for this signature by this signer, of whatever kind", async (t) => {
  const { publicKey } = ecKeyPair();
  const leaf = { publicKey, identity: IDENTITY, issuer: ISSUER, notBefore: wholeSecond() };
  const der = await sigstore.authority.issue(leaf);
  const another = { der, pem: certificatePem(der), isCertificate: true };
  const aKey = keyVerifier(otherKey.publicKey);
  const mine = /log entry is for another/;
  const message = Buffer.from("another payload");
  const signature = Buffer.from("another signature");
  const envelope = { json: "{}", payload: message };
  await forger.refuse(t, "keyless", {
    "dsse 0.0.1: another certificate": [rows.bundle({ by, logVerifier: another }), mine],
    "dsse 0.0.1: a key": [rows.bundle({ by, logVerifier: aKey }), mine],
    "dsse 0.0.1: something else": [
      rows.bundle({ by, logBody: dsseEntry(envelope, signature, another) }),
      mine,
    ],
    "hashedrekord 0.0.2: another certificate": [
      rows.bundle({ by, log: "v2", logVerifier: another }),
      mine,
    ],
    "hashedrekord 0.0.2: a key": [rows.bundle({ by, log: "v2", logVerifier: aKey }), mine],
    "hashedrekord 0.0.2: something else": [
      rows.bundle({ by, log: "v2", logBody: hashedRekordV2(message, signature, another) }),
      mine,
    ],
    "hashedrekord 0.0.1: another certificate": [
      rows.signatureTag([{ by, logVerifier: another }]),
      mine,
    ],
    "hashedrekord 0.0.1: a key": [rows.signatureTag([{ by, logVerifier: aKey }]), mine],
    "hashedrekord 0.0.1: something else": [
      rows.signatureTag([{ by, logBody: hashedRekord(message, signature, another) }]),
      mine,
    ],
    "hashedrekord 0.0.1 in a bundle": [
      rows.bundle({ by, logBody: hashedRekord(message, signature, another) }),
      mine,
    ],
    "intoto 0.0.2: another certificate": [intotoBundle({ verifier: another }), mine],
    "intoto 0.0.2: a key": [intotoBundle({ verifier: aKey }), mine],
    "intoto 0.0.2: another signature": [intotoBundle({ signature }), mine],
    "intoto 0.0.2: another payload": [intotoBundle({ payload: message }), /log entry/],
    "a kind that nobody knows": [
      rows.bundle({ by, logBody: { kind: "rekord", apiVersion: "0.0.1", spec: {} } }),
      /not supported/,
    ],
    "a kind of Object's": [
      rows.bundle({ by, logBody: { kind: "constructor", apiVersion: "", spec: {} } }),
      /not supported|lacks/,
    ],
    "a version that nobody knows": [
      rows.bundle({ by, logBody: { kind: "dsse", apiVersion: "9.9.9", spec: {} } }),
      /log entry is for another signature/,
    ],
    "an entry of nothing": [
      rows.bundle({ by, logBody: { kind: "dsse", apiVersion: "0.0.1", spec: {} } }),
      /\S/,
    ],
  });
  const logged = { by: key, log: "v1" } as const;
  await forger.refuse(t, "logged-key", {
    "dsse 0.0.1: another key": [rows.bundle({ ...logged, logVerifier: aKey }), mine],
    "dsse 0.0.1: a certificate": [rows.bundle({ ...logged, logVerifier: another }), mine],
    "hashedrekord 0.0.2: another key": [
      rows.bundle({ by: key, log: "v2", logVerifier: aKey }),
      mine,
    ],
    "hashedrekord 0.0.1: another key": [
      rows.signatureTag([{ ...logged, logVerifier: aKey }]),
      mine,
    ],
    "hashedrekord 0.0.1: a certificate": [
      rows.signatureTag([{ ...logged, logVerifier: another }]),
      mine,
    ],
  });
});
