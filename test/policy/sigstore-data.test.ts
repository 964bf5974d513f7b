import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Candidate } from "../../server/policy/evidence.ts";
import { verifyArtifact } from "../../server/policy/sigstore/artifact.ts";
import { keyAuthority, keyCheck } from "../../server/policy/sigstore/key-authority.ts";
import { keylessAuthority, keylessCheck } from "../../server/policy/sigstore/keyless-authority.ts";
import { bundledPublicGoodRoot } from "../../server/policy/trust/public-good-root.ts";
import { digestOf } from "../../storage/digest.ts";
import { IMAGE, subjectOf } from "./sigstore-candidates.ts";

const DATA = join(import.meta.dirname, "../data");
const CASES = join(DATA, "sigstore-conformance/bundle-verify");
const IMAGES = join(DATA, "containers-image");
const IDENTITY =
  "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER = "https://token.actions.githubusercontent.com";

const LOG_ENTRY = /its log entry is for another signature/;
const PROMISE = /its log entry is not signed by a log of the trusted root/;
const PROOF = /its log entry's inclusion proof does not hold/;
const STAMP = /its timestamp is by no authority of the trusted root/;
const EXPIRED = /its certificate was not valid when it was used/;
const LACKS_PROOF = /lacks what its version requires: .*inclusionProof/;

/** A case that is refused for another reason than its own proves nothing. */
const REASONS: Readonly<Record<string, RegExp>> = {
  "bundle-from-wrong-instance_fail": /its certificate was issued by nobody the trusted root names/,
  "bundle-invalid-base64-signature_fail": PROMISE,
  "bundle-negative-log-index_fail": PROMISE,
  "bundle-unknown-version_fail": /is a bundle of an unknown version: '.*=99\.9'/,
  "checkpoint-bad-keyhint_fail": PROOF,
  "dsse-invalid-sig_fail": LOG_ENTRY,
  "dsse-mismatch-envelope_fail": LOG_ENTRY,
  "incorrect-public-key_fail": PROMISE,
  "integrated-time-in-future_fail": EXPIRED,
  "intoto-log-entry-mismatch_fail": LOG_ENTRY,
  "intoto-missing-inclusion-proof_fail": LACKS_PROOF,
  "intoto-tsa-timestamp-outside-cert-validity_fail": EXPIRED,
  "invalid-ct-key_fail": /entry in the certificate transparency log is by no log/,
  "invalid-inclusion-proof_fail": LACKS_PROOF,
  "managed-key-no-key_fail": /was made with a key, the rule asks for keyless/,
  "message-digest-mismatch_fail": /is about other bytes/,
  "rekor2-checkpoint-missing-origin_fail": PROOF,
  "rekor2-checkpoint-missing-root-hash_fail": PROOF,
  "rekor2-checkpoint-no-matching-signature_fail": PROOF,
  "rekor2-dsse-invalid-sig_fail": LOG_ENTRY,
  "rekor2-dsse-mismatch-envelope_fail": LOG_ENTRY,
  "rekor2-no-inclusion-proof_fail": LACKS_PROOF,
  "rekor2-timestamp-outside-trust-root-tsa-validity_fail": STAMP,
  "rekor2-timestamp-outside-tsa-cert-validity_fail": STAMP,
  "rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail": STAMP,
  "rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail": STAMP,
  "rekor2-timestamp-with-incorrect-time_fail": EXPIRED,
  "set-invalid-signature_fail": PROMISE,
  "signature-mismatch_fail": LOG_ENTRY,
  "wrong-hashedrekord-cert-and-sig_fail": LOG_ENTRY,
  "wrong-hashedrekord-entry_fail": LOG_ENTRY,
};

t.test("sigstore-conformance: bundles are taken and refused as their names say", async (t) => {
  const cases = readdirSync(CASES).filter((name) => name !== "a.txt");
  t.equal(cases.length, 46);
  for (const name of cases) {
    if (name.endsWith("_fail")) {
      t.throws(() => verifyCase(name), { name: "SignatureProblem", message: REASONS[name] }, name);
    } else {
      const signer = name.startsWith("managed-key") ? /^key sha256:/ : `${IDENTITY} (issuer`;
      t.match(verifyCase(name), signer, name);
    }
  }
});

function verifyCase(name: string): string {
  const read = (file: string): string | undefined => {
    const path = join(CASES, name, file);
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
  };
  const root = read("trusted_root.json") ?? bundledPublicGoodRoot();
  const pem = read("key.pub");
  const subject = { exact: read("identity")?.trim() ?? IDENTITY };
  const settings = { issuer: read("issuer")?.trim() ?? ISSUER, subject };
  const check =
    pem === undefined
      ? keylessCheck(settings, root, "require")
      : keyCheck({ file: "key.pub", pem }, root, "require");
  const own = join(CASES, name, "artifact");
  const bytes = readFileSync(existsSync(own) ? own : join(CASES, "a.txt"));
  return verifyArtifact(check, readFileSync(join(CASES, name, "bundle.sigstore.json")), { bytes });
}

const READ_ME: readonly (readonly [folder: string, key: string, refused?: RegExp])[] = [
  ["dir-img-cosign-valid", "cosign.pub"],
  ["dir-img-cosign-valid-with-tag", "cosign.pub"],
  ["dir-img-cosign-key-rekor-valid", "cosign2.pub"],
  ["dir-img-cosign-key-rekor-valid", "cosign.pub", /was not made with the key cosign\.pub/],
  ["dir-img-cosign-modified-manifest", "cosign.pub", /is about sha256:634a8f35.*, another image/],
  ["dir-img-cosign-manifest-digest-error", "cosign.pub", /is about sha256:634a8f35.*another/],
  ["dir-img-cosign-no-manifest", "cosign.pub", /is about sha256:634a8f35.*, another image/],
  ["dir-img-cosign-pki-valid", "cosign.pub", /was made with a certificate, .* key cosign\.pub/],
];

t.test("containers/image: cosign's older signatures by a key", async (t) => {
  for (const [folder, key, refused] of READ_ME) {
    const authority = keyAuthority(keySettings(key, "ignore"), "not looked at");
    const verify = (): unknown => authority.verify(layerOf(folder), manifestOf(folder), 0);
    if (refused === undefined) {
      t.match(verify(), { signer: /^key sha256:/, says: { kind: "signature" } }, folder);
    } else {
      t.throws(verify, { name: "SignatureProblem", message: refused }, folder);
    }
  }
});

t.test("containers/image: a key's signature is in the public log when it must be", async (t) => {
  const folder = "dir-img-cosign-key-rekor-valid";
  const root = bundledPublicGoodRoot();
  const logged = keyAuthority(keySettings("cosign2.pub", "require"), root);
  t.match(logged.verify(layerOf(folder), manifestOf(folder), 0), { signer: /^key sha256:/ });

  const unlogged = keyAuthority(keySettings("cosign.pub", "require"), root);
  const verify = (): unknown =>
    unlogged.verify(layerOf("dir-img-cosign-valid"), manifestOf("dir-img-cosign-valid"), 0);
  t.throws(verify, { message: /is in no transparency log, where it has to be/ });
});

t.test("containers/image: a certificate of a private authority is not Fulcio's", async (t) => {
  const folder = "dir-img-cosign-pki-valid";
  for (const log of ["require", "ignore"] as const) {
    const authority = keylessAuthority(
      {
        kind: "keyless",
        issuer: "https://issuer.example",
        subject: { glob: "**" },
        trustedRoot: "public-good",
        log,
      },
      bundledPublicGoodRoot(),
    );
    const verify = (): unknown => authority.verify(layerOf(folder), manifestOf(folder), 0);
    t.throws(verify, { name: "SignatureProblem" }, log);
  }
});

function keySettings(file: string, log: "require" | "ignore"): Parameters<typeof keyAuthority>[0] {
  const pem = readFileSync(join(IMAGES, file), "utf8");
  return { kind: "key", file, pem, log, trustedRoot: "public-good" };
}

function manifestOf(folder: string): ReturnType<typeof subjectOf> {
  const file = join(IMAGES, folder, "manifest.json");
  return subjectOf(existsSync(file) ? digestOf(readFileSync(file)) : IMAGE);
}

/** After a NUL byte and the line `sigstore-json` comes JSON. */
function layerOf(folder: string): Candidate {
  const file = readFileSync(join(IMAGES, folder, "signature-1"), "utf8");
  const layer = JSON.parse(file.slice(file.indexOf("\n"))) as {
    readonly mimeType: string;
    readonly payload: string;
    readonly annotations: Record<string, string>;
  };
  return {
    format: "cosign-signature",
    artifact: IMAGE,
    mediaType: layer.mimeType,
    payload: Buffer.from(layer.payload, "base64"),
    annotations: layer.annotations,
  };
}
