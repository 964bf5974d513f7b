import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Candidate } from "../../server/policy/evidence.ts";
import { parseTimestamp } from "../../server/policy/sigstore/timestamp.ts";
import { createPrivateSigstore } from "../support/private-sigstore.ts";
import type { BundleOptions } from "../support/sign-bundle.ts";
import { BUNDLE_V01, BUNDLE_V02 } from "../support/sign-bundle.ts";
import { certificatePem, ecKeyPair, SERVER_AUTH } from "../support/sign-certificates.ts";
import { editRekorBundle } from "../support/sign-legacy.ts";
import { hashedRekord, keyVerifier } from "../support/sign-log.ts";
import { SLSA_PROVENANCE, STATEMENT_V01 } from "../support/sign-statements.ts";
import { keyless, keySigner, wholeSecond } from "../support/sign-with.ts";
import type { KeylessRule } from "./sigstore-candidates.ts";
import {
  bundleCandidate,
  IMAGE,
  ISSUER,
  legacyCandidate,
  OTHER_IMAGE,
  verifyKeyless,
  WORKFLOW,
} from "./sigstore-candidates.ts";

const BY = keyless(WORKFLOW, ISSUER);
const STATEMENT = { digest: IMAGE, by: BY };

const home = await createPrivateSigstore();
const stranger = await createPrivateSigstore();
const somebody = keySigner();

function verify(candidate: Candidate, rule?: KeylessRule): unknown {
  return verifyKeyless(home, candidate, rule);
}

async function bundle(options: Partial<BundleOptions> = {}): Promise<Candidate> {
  return bundleCandidate(await home.bundle({ ...STATEMENT, ...options }));
}

const SIGNED = { signer: `${WORKFLOW} (issuer ${ISSUER})`, says: { kind: "signature" } };

t.test("what an honest signer makes counts", async (t) => {
  const counts: Readonly<Record<string, Partial<BundleOptions>>> = {
    "logged in Rekor v1": {},
    "logged in Rekor v1, and stamped": { timestamp: true },
    "logged in Rekor v2, and stamped": { log: "v2" },
    "as v0.1, with only the log's promise": {
      mediaType: BUNDLE_V01,
      certificateForm: "chain",
      edit: ({ verificationMaterial: { tlogEntries = [] } }) => {
        delete tlogEntries[0]?.inclusionProof;
      },
    },
    "as v0.2": { mediaType: BUNDLE_V02, certificateForm: "chain" },
    "an older statement": { statementType: STATEMENT_V01 },
    "one of two subjects": {
      subjects: [OTHER_IMAGE, IMAGE].map((digest) => ({ digest: { sha256: digest.slice(7) } })),
    },
    "an issuer in the newer extension only": { by: { ...BY, issuerForm: "current" } },
    "an issuer in the older extension only": { by: { ...BY, issuerForm: "legacy" } },
  };
  for (const [name, options] of Object.entries(counts)) {
    t.match(verify(await bundle(options)), SIGNED, name);
  }
  const layer = await home.legacySignature(STATEMENT);
  t.match(verify(legacyCandidate(layer)), SIGNED, "cosign's older format");
  const stamped = await home.legacySignature({ ...STATEMENT, timestamp: true });
  t.match(verify(legacyCandidate(stamped)), SIGNED, "cosign's older format, stamped");
  const tekton = await home.legacySignature({ ...STATEMENT, type: "Tekton container signature" });
  t.match(verify(legacyCandidate(tekton)), SIGNED, "what Tekton Chains writes");
});

t.test("an attestation says what it says, and is no signature", async (t) => {
  const attestation = { predicateType: SLSA_PROVENANCE, predicate: { builder: { id: "b" } } };
  const says = { kind: "attestation", ...attestation };
  t.match(verify(await bundle(attestation)), { says });
  const layer = await home.legacyAttestation({ ...STATEMENT, ...attestation });
  t.match(verify(legacyCandidate(layer, "cosign-attestation")), { says });
  const stamped = await home.legacyAttestation({ ...STATEMENT, ...attestation, timestamp: true });
  t.match(verify(legacyCandidate(stamped, "cosign-attestation")), { says }, "stamped as a whole");
});

t.test("what is not about the image, or not by whom the rule names, does not count", async (t) => {
  const main = WORKFLOW;
  const refused: Readonly<Record<string, [Partial<BundleOptions>, RegExp]>> = {
    "another image": [{ digest: OTHER_IMAGE }, /^is about sha256:[0-9a-f]{64}, another image$/],
    "another payload type": [{ payloadType: "text/plain" }, /something else than an in-toto/],
    "no statement": [{ payload: "hello" }, /its statement is not JSON/],
    "a branch that begins like the right one": [
      { by: keyless(`${main}-attacker`, ISSUER) },
      /^was signed by .*main-attacker \(issuer .*, the rule asks for .*main \(issuer/,
    ],
    "a host in whose name a full stop is another character": [
      { by: keyless(main.replace("github.com", "githubXcom"), ISSUER) },
      /^was signed by https:\/\/githubXcom/,
    ],
    "a URI that contains the right one": [
      { by: keyless(`https://evil.example/?${main}`, ISSUER) },
      /^was signed by https:\/\/evil\.example/,
    ],
    "another issuer": [
      { by: keyless(main, "https://evil.example") },
      /^was signed by .*\(issuer https:\/\/evil\.example\), the rule asks for/,
    ],
    "two issuers": [
      {
        by: keyless(main, ISSUER, {
          issuerForm: "legacy",
          extensions: { "1.3.6.1.4.1.57264.1.8": "https://evil.example" },
        }),
      },
      /its certificate names two OIDC issuers/,
    ],
    "no issuer": [{ by: keyless(main, null) }, /names no OIDC issuer/],
    "a second name beside the right one": [
      {
        by: keyless(main, ISSUER, {
          names: [
            { type: "url", value: main },
            { type: "url", value: "https://evil.example/" },
          ],
        }),
      },
      /its certificate has 2 names/,
    ],
    "a host's name": [
      { by: keyless(main, ISSUER, { names: [{ type: "dns", value: "acme.example" }] }) },
      /for neither an e-mail address nor a URI/,
    ],
    "a server's certificate": [
      { by: keyless(main, ISSUER, { usages: [SERVER_AUTH] }) },
      /may not sign code/,
    ],
    "a certificate for no use": [
      { by: keyless(main, ISSUER, { usages: [] }) },
      /may not sign code/,
    ],
    "a key": [{ by: somebody, log: "v1" }, /^was made with a key, the rule asks for keyless/],
    "a message signature": [{ content: "message" }, /signs a file's bytes/],
  };
  for (const [name, [options, message]] of Object.entries(refused)) {
    const candidate = await bundle(options);
    t.throws(() => verify(candidate), { name: "SignatureProblem", message }, name);
  }
});

t.test("time, log and certificate must hold", async (t) => {
  const old = new Date("2024-05-14T09:12:33Z");
  const refused: Readonly<Record<string, [Partial<BundleOptions>, RegExp]>> = {
    "another Fulcio": [
      { issuedBy: stranger },
      /issued by nobody the trusted root names.*; it claims to be by .*, certified by CN=private/,
    ],
    "a certificate that no log has seen": [
      { by: keyless(WORKFLOW, ISSUER, { isLogged: false }) },
      /its certificate is in no certificate transparency log/,
    ],
    "another Rekor": [
      { loggedBy: stranger },
      /its log entry is not signed by a log of the trusted/,
    ],
    "another Rekor v2": [
      { loggedBy: stranger, log: "v2" },
      /its log entry's inclusion proof does not hold/,
    ],
    "another timestamp authority": [
      { log: "v2", stampedBy: stranger },
      /its timestamp is by no authority of the trusted root/,
    ],
    "a stamp for something else": [
      { log: "v2", stampedBytes: Buffer.from("something else") },
      /its timestamp is by no authority of the trusted root, or was not made for this/,
    ],
    "no log entry": [{ log: "none" }, /^is in no transparency log, where it has to be/],
    "no time at all": [{ log: "v2", timestamp: false }, /has no time that can be trusted/],
    "an expired certificate": [{ certificateAt: old }, /was not valid when it was used/],
    "another key": [
      { signingKey: ecKeyPair().privateKey },
      /its signature does not fit.*; it claims to be by/,
    ],
  };
  for (const [name, [options, message]] of Object.entries(refused)) {
    const candidate = await bundle(options);
    t.throws(() => verify(candidate), { name: "SignatureProblem", message }, name);
  }
  t.match(verify(await bundle({ at: old })), SIGNED, "but it may be old");
});

t.test("a log entry is for this signature by this signer", async (t) => {
  const other = keyVerifier(somebody.publicKey);
  const { authority } = home;
  const publicKey = ecKeyPair().publicKey;
  const options = { publicKey, identity: WORKFLOW, issuer: ISSUER, notBefore: wholeSecond() };
  const der = await authority.issue(options);
  const another = { der, pem: certificatePem(der), isCertificate: true };
  const mine = /its log entry is for another certificate/;
  for (const logVerifier of [other, another]) {
    const dsse = await bundle({ logVerifier });
    t.throws(() => verify(dsse), { message: mine }, "dsse 0.0.1");
    const v2 = await bundle({ logVerifier, log: "v2" });
    t.throws(() => verify(v2), { message: mine }, "hashedrekord 0.0.2");
    const layer = legacyCandidate(await home.legacySignature({ ...STATEMENT, logVerifier }));
    t.throws(() => verify(layer), { message: mine }, "hashedrekord 0.0.1");
  }
  const strange = { kind: "rekord", apiVersion: "0.0.1", spec: {} };
  const unknown = await bundle({ logBody: strange });
  const message = /^uses what is not supported \(unsupported kind: rekord\)/;
  t.throws(() => verify(unknown), { message }, "rekord");
  const logBody = hashedRekord(Buffer.from("x"), Buffer.from("y"), other);
  const unrelated = await bundle({ logBody });
  t.throws(() => verify(unrelated), { message: /its log entry is for another signature/ });
});

t.test("without the log, a stamp of a known authority is what tells the time", async (t) => {
  const ignoring = { log: "ignore", root: home.trustedRootWithout("log") } as const;
  t.match(verify(await bundle({ log: "none" }), ignoring), SIGNED);
  const foreign = await bundle({ loggedBy: stranger, timestamp: true });
  t.match(verify(foreign, ignoring), SIGNED, "a stranger's log is not looked at");
  const layer = await home.legacySignature({ ...STATEMENT, log: "none" });
  t.match(verify(legacyCandidate(layer), ignoring), SIGNED, "cosign's older format");

  const unstamped = await bundle({});
  const message = /has no time that can be trusted/;
  t.throws(() => verify(unstamped, { log: "ignore" }), { message }, "the log's time is none then");

  const unlogged = await bundle({
    log: "none",
    by: keyless(WORKFLOW, ISSUER, { isLogged: false }),
  });
  t.throws(() => verify(unlogged, ignoring), { message: /in no certificate transparency log/ });
  const root = home.trustedRootWithout("log", "ctlog");
  t.match(verify(unlogged, { log: "ignore", root }), SIGNED, "an instance that keeps no logs");
});

t.test("stamps with any number of fraction digits are read", async (t) => {
  const at = wholeSecond();
  for (const ms of [0, 7, 50, 120, 500, 999]) {
    const stampedAt = new Date(at.getTime() + ms);
    t.match(verify(await bundle({ log: "v2", stampedAt, at })), SIGNED, `${ms} ms`);
    const { signingTime } = parseTimestamp(await home.stamp(Buffer.from("x"), stampedAt));
    t.equal(signingTime.getTime(), stampedAt.getTime());
  }
});

t.test("a stamp of an authority that the root does not name says nothing", async (t) => {
  const bundleFile =
    "../data/sigstore-conformance/bundle-verify/rekor2-happy-path/bundle.sigstore.json";
  const conformance = JSON.parse(readFileSync(join(import.meta.dirname, bundleFile), "utf8"));
  const edit: BundleOptions["edit"] = ({ verificationMaterial }) => {
    const { timestampVerificationData } = conformance.verificationMaterial;
    verificationMaterial.timestampVerificationData = timestampVerificationData;
  };
  const timed = await bundle({ edit });
  t.match(verify(timed), SIGNED, "when the log tells the time");
  t.match(verify(timed, { root: home.trustedRootWithout("timestamps") }), SIGNED);
  const untimed = await bundle({ edit, log: "v2" });
  t.throws(() => verify(untimed), { message: /its timestamp is by no authority of the trusted/ });

  const known = await bundle({ timestamp: true, stampedBytes: Buffer.from("something else") });
  const message = /or was not made for this signature/;
  t.throws(() => verify(known), { message }, "one that it names must be right");
});

t.test("the log's time is worth nothing without its promise", async (t) => {
  const forged = await bundle({
    log: "v2",
    timestamp: false,
    edit: ({ verificationMaterial: { tlogEntries = [] } }) => {
      for (const entry of tlogEntries) {
        entry.integratedTime = String(Math.floor(Date.now() / 1000));
      }
    },
  });
  t.throws(() => verify(forged), { message: /has no time that can be trusted/ });
  const layer = await home.legacySignature(STATEMENT);
  editRekorBundle(layer, ({ Payload }) => {
    Payload.integratedTime += 1;
  });
  t.throws(() => verify(legacyCandidate(layer)), { message: /not signed by a log/ });
});

t.test("globs of identities are anchored, and a star stops at a slash", async (t) => {
  const subject = { glob: "https://github.com/acme/*/.github/workflows/*@refs/heads/main" };
  t.match(verify(await bundle(), { subject }), SIGNED);
  const deeper = await bundle({ by: keyless(WORKFLOW.replace("app", "app/x"), ISSUER) });
  t.throws(() => verify(deeper, { subject }), { message: /was signed by .*app\/x/ });
});

t.test("a root that could never satisfy a rule is refused at once", async (t) => {
  const compile = (root: string, log: "require" | "ignore") => () =>
    verify(bundleCandidate({}), { root, log });
  t.throws(compile(home.trustedRootWithout("log"), "require"), { message: /no transparency log/ });
  t.throws(compile(home.trustedRootWithout("ctlog"), "require"), { message: /certificate transp/ });
  t.throws(compile(home.trustedRootWithout("authority"), "require"), { message: /\(Fulcio\)/ });
  t.throws(compile(home.trustedRootWithout("timestamps"), "ignore"), { message: /timestamp auth/ });
  t.throws(compile("{}", "ignore"), { message: /the trusted root is no Sigstore trusted root/ });
});
