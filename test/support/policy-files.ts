import { generateKeyPairSync } from "node:crypto";
import seeds from "@sigstore/tuf/seeds.json" with { type: "json" };
import { GOOD_CERTIFICATE, TEST_CA } from "./tls-fixture.ts";

/** Sigstore's own trusted root and the start of its TUF repository, as they come with its library. */
const PUBLIC_GOOD = seeds["https://tuf-repo-cdn.sigstore.dev"];

/** For `t.testdir`: what a policy may name, and what it may name by mistake. */
export const POLICY_FILES: Readonly<Record<string, string | Readonly<Record<string, string>>>> = {
  "cosign.pub": publicKey(),
  "private.key": GOOD_CERTIFICATE.key,
  "leaf.crt": GOOD_CERTIFICATE.cert,
  "trusted_root.json": decoded(PUBLIC_GOOD.targets["trusted_root.json"]),
  "no-authority.json": withAuthorities(() => []),
  "retired.json": withAuthorities((all) =>
    all.map((one) => ({
      ...one,
      validFor: { start: "2020-01-01T00:00:00Z", end: "2021-01-01T00:00:00Z" },
    })),
  ),
  "root.json": decoded(PUBLIC_GOOD["root.json"]),
  ca: { "acme.crt": TEST_CA, ".hidden": "what an editor leaves" },
  empty: {},
  mixed: { "acme.crt": TEST_CA, README: "not a certificate" },
  leaves: { "leaf.crt": GOOD_CERTIFICATE.cert },
  keys: { "tls.pem": GOOD_CERTIFICATE.cert + GOOD_CERTIFICATE.key },
};

function publicKey(): string {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return publicKey.export({ type: "spki", format: "pem" }).toString();
}

function withAuthorities(change: (all: readonly object[]) => readonly object[]): string {
  const root: unknown = JSON.parse(decoded(PUBLIC_GOOD.targets["trusted_root.json"]));
  const { certificateAuthorities } = Object(root);
  return JSON.stringify({
    ...Object(root),
    certificateAuthorities: change(certificateAuthorities),
  });
}

function decoded(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}
