import type { KeyObject } from "node:crypto";
import { constants, generateKeyPairSync, sign } from "node:crypto";
import t from "tap";
import type { Candidate } from "../../server/policy/evidence.ts";
import { keyAuthority } from "../../server/policy/sigstore/key-authority.ts";
import { checkLogEntry } from "../../server/policy/sigstore/log-entry.ts";
import type { KeySettings } from "../../server/policy-settings.ts";
import { createPrivateSigstore } from "../support/private-sigstore.ts";
import type { BundleOptions } from "../support/sign-bundle.ts";
import { base64, dsseEntry, hashedRekord, keyVerifier } from "../support/sign-log.ts";
import { envelopeOf, SLSA_PROVENANCE } from "../support/sign-statements.ts";
import type { KeySigner } from "../support/sign-with.ts";
import { keyless, keySigner } from "../support/sign-with.ts";
import {
  bundleCandidate,
  IMAGE,
  legacyCandidate,
  OTHER_IMAGE,
  subjectOf,
} from "./sigstore-candidates.ts";

const home = await createPrivateSigstore();
const stranger = await createPrivateSigstore();
const mine = keySigner();
const other = keySigner();
const STATEMENT = { digest: IMAGE, by: mine };

function verify(candidate: Candidate, rule: Partial<KeySettings> = {}): unknown {
  const settings: KeySettings = {
    kind: "key",
    file: "/etc/sluice/cosign.pub",
    pem: mine.publicKeyPem,
    log: "ignore",
    trustedRoot: "public-good",
    ...rule,
  };
  return keyAuthority(settings, home.trustedRootJson).verify(candidate, subjectOf(), Date.now());
}

async function bundle(options: Partial<BundleOptions> = {}): Promise<Candidate> {
  return bundleCandidate(await home.bundle({ ...STATEMENT, ...options }));
}

const SIGNED = { signer: /^key sha256:[0-9a-f]{64}$/, says: { kind: "signature" } };

t.test("what the key signed counts, in all of cosign's formats", async (t) => {
  t.match(verify(await bundle()), SIGNED);
  t.match(verify(legacyCandidate(await home.legacySignature(STATEMENT))), SIGNED);
  const attestation = { predicateType: SLSA_PROVENANCE, predicate: { a: 1 } };
  const says = { kind: "attestation", ...attestation };
  t.match(verify(await bundle(attestation)), { says });
  const layer = await home.legacyAttestation({ ...STATEMENT, ...attestation });
  t.match(verify(legacyCandidate(layer, "cosign-attestation")), { says });
});

t.test("every kind of key that node:crypto can verify", async (t) => {
  const ec = (namedCurve: string): [KeyObject, KeyObject] => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
    return [publicKey, privateKey];
  };
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pss = generateKeyPairSync("rsa-pss", { modulusLength: 2048 });
  const ed25519 = generateKeyPairSync("ed25519");
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const p384 = ec("secp384r1");
  const p521 = ec("secp521r1");
  const made: readonly (readonly [string, KeyObject, (bytes: Buffer) => Buffer])[] = [
    ["P-384, SHA-384", p384[0], (bytes) => sign("sha384", bytes, p384[1])],
    ["P-384, SHA-256", p384[0], (bytes) => sign("sha256", bytes, p384[1])],
    ["P-521, SHA-512", p521[0], (bytes) => sign("sha512", bytes, p521[1])],
    ["P-521, SHA-256", p521[0], (bytes) => sign("sha256", bytes, p521[1])],
    ["RSA, SHA-256", rsa.publicKey, (bytes) => sign("sha256", bytes, rsa.privateKey)],
    ["RSA, SHA-512", rsa.publicKey, (bytes) => sign("sha512", bytes, rsa.privateKey)],
    ["PSS", rsa.publicKey, (bytes) => sign("sha384", bytes, { key: rsa.privateKey, padding })],
    ["a PSS key", pss.publicKey, (bytes) => sign("sha256", bytes, pss.privateKey)],
    ["Ed25519", ed25519.publicKey, (bytes) => sign(null, bytes, ed25519.privateKey)],
  ];
  for (const [name, publicKey, signer] of made) {
    const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
    const by: KeySigner = { ...mine, publicKey, publicKeyPem: pem };
    const bytes = envelopeOf(STATEMENT).toBeSigned;
    t.match(verify(await bundle({ by, signature: signer(bytes) }), { pem }), SIGNED, name);
    const changed = await bundle({ by, signature: signer(Buffer.concat([bytes, bytes])) });
    t.throws(() => verify(changed, { pem }), { message: /was not made with the key/ }, name);
  }
});

t.test("what another signed, or over something else, does not count", async (t) => {
  const refused: Readonly<Record<string, [Partial<BundleOptions>, RegExp]>> = {
    "another key": [{ by: other }, /^was not made with the key cosign\.pub: its hint is '/],
    "another key, under the right hint": [
      { signingKey: other.privateKey },
      /^was not made with the key cosign\.pub, or over other content$/,
    ],
    "another image": [{ digest: OTHER_IMAGE }, /^is about sha256:[0-9a-f]{64}, another image$/],
    "a stranger with a certificate of an authority that the root names": [
      { by: keyless("https://evil.example/", "https://issuer.example") },
      /^was made with a certificate that claims to be for https:\/\/evil.*the key cosign\.pub$/,
    ],
  };
  for (const [name, [options, message]] of Object.entries(refused)) {
    const candidate = await bundle(options);
    for (const log of ["ignore", "require"] as const) {
      t.throws(() => verify(candidate, { log }), { name: "SignatureProblem" }, name);
    }
    t.throws(() => verify(candidate), { message }, name);
  }
  const by = keyless("https://evil.example/", "https://issuer.example");
  const layer = legacyCandidate(await home.legacySignature({ ...STATEMENT, by }));
  t.throws(() => verify(layer), { message: /^was made with a certificate/ });
});

t.test("a hint is a name, and no reason for anything", async (t) => {
  const edit: BundleOptions["edit"] = ({ verificationMaterial }) => {
    verificationMaterial.publicKey = { hint: "https://evil.example/key" };
  };
  t.match(verify(await bundle({ edit })), SIGNED);
});

t.test("where the log is ignored, nothing of it is looked at, nor are stamps", async (t) => {
  const strange = { log: "v1", timestamp: true, loggedBy: stranger, stampedBy: stranger } as const;
  t.match(verify(await bundle(strange)), SIGNED);
  t.match(
    verify(legacyCandidate(await home.legacySignature({ ...STATEMENT, ...strange }))),
    SIGNED,
  );
});

t.test("where the log is required, it must know this signature by this key", async (t) => {
  const log = "require" as const;
  for (const version of ["v1", "v2"] as const) {
    t.match(verify(await bundle({ log: version }), { log }), SIGNED, version);
    const logVerifier = keyVerifier(other.publicKey);
    const foreign = await bundle({ log: version, logVerifier });
    t.throws(() => verify(foreign, { log }), { message: /its log entry is for another key/ });
  }
  t.match(
    verify(legacyCandidate(await home.legacySignature({ ...STATEMENT, log: "v1" })), { log }),
    SIGNED,
  );
  const unlogged = await bundle();
  t.throws(() => verify(unlogged, { log }), { message: /^is in no transparency log/ });
  const elsewhere = await bundle({ log: "v1", loggedBy: stranger });
  t.throws(() => verify(elsewhere, { log }), {
    message: /not signed by a log of the trusted root/,
  });
});

t.test("where the log is required, it must know what was signed", async (t) => {
  const { toBeSigned, payload } = envelopeOf(STATEMENT);
  const signature = sign("sha256", toBeSigned, mine.privateKey);
  const verifier = keyVerifier(mine.publicKey);
  const others = Buffer.from("something else");
  const bodies = {
    "dsse 0.0.1": [payload, others].map((bytes) =>
      dsseEntry({ json: "{}", payload: bytes }, signature, verifier),
    ),
    "hashedrekord 0.0.1": [toBeSigned, others].map((bytes) =>
      hashedRekord(bytes, signature, verifier),
    ),
  };
  for (const [name, [right, wrong]] of Object.entries(bodies)) {
    const options = { signature, log: "v1" as const };
    const good = await bundle({ ...options, ...(right && { logBody: right }) });
    t.match(verify(good, { log: "require" }), SIGNED, name);
    const bad = await bundle({ ...options, ...(wrong && { logBody: wrong }) });
    const message = /its log entry is for another signature \(.*mismatch\)/;
    t.throws(() => verify(bad, { log: "require" }), { message }, name);
  }
});

t.test("every kind of log entry names its signer, and that is compared", async (t) => {
  const signature = Buffer.from("signature");
  const [me, they] = [mine, other].map(({ publicKey }) => keyVerifier(publicKey));
  const pem = base64(me?.pem ?? "");
  const rawBytes = base64(me?.der ?? "");
  const envelope = { signatures: [{ sig: base64(base64(signature)), publicKey: pem }] };
  const entries: Readonly<Record<string, object>> = {
    "hashedrekord 0.0.1": {
      signature: { content: base64(signature), publicKey: { content: pem } },
    },
    "dsse 0.0.1": { signatures: [{ signature: base64(signature), verifier: pem }] },
    "intoto 0.0.2": { content: { envelope } },
    "hashedrekord 0.0.2": {
      hashedRekordV002: {
        signature: { content: base64(signature), verifier: { publicKey: { rawBytes } } },
      },
    },
    "dsse 0.0.2": {
      dsseV002: {
        signatures: [{ content: base64(signature), verifier: { publicKey: { rawBytes } } }],
      },
    },
  };
  const check = (name: string, spec: object, by = me, over = signature): void => {
    const [kind, apiVersion] = name.split(" ");
    const canonicalizedBody = Buffer.from(JSON.stringify({ kind, apiVersion, spec }));
    const der = Buffer.from(by?.der ?? "");
    checkLogEntry({ canonicalizedBody }, over, { kind: "key", der });
  };
  for (const [name, spec] of Object.entries(entries)) {
    t.doesNotThrow(() => check(name, spec), name);
    t.throws(() => check(name, spec, they), { message: /for another key/ }, name);
    const message = /for another signature/;
    t.throws(() => check(name, spec, me, Buffer.from("x")), { message }, name);
    t.throws(() => check(name, {}), { name: "SignatureProblem" }, name);
  }
  t.throws(() => check("intoto 0.0.1", {}), { message: /a kind that is not supported/ });
  t.throws(() => check("constructor 0", {}), { message: /a kind that is not supported/ });
});

t.test("a key that cannot be used is refused at once", async (t) => {
  const { privateKey } = mine;
  const candidate = await bundle();
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  t.throws(() => verify(candidate, { pem }), { message: /the key is a private key/ });
});
