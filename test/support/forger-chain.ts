import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { mallory } from "./forger-rules.ts";
import { IDENTITY, ISSUER } from "./policies.ts";
import { sigstore } from "./policy-rig.ts";
import { BUNDLE_V02 } from "./sign-bundle.ts";
import { CODE_SIGNING, certificatePem, ecKeyPair, spkiOf } from "./sign-certificates.ts";
import { base64 } from "./sign-log.ts";
import { asBundle } from "./sign-placements.ts";
import { keyless, wholeSecond } from "./sign-with.ts";
import type { Sign } from "./signed-images.ts";

const ISSUER_OID = "1.3.6.1.4.1.57264.1.8";
const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** Everybody may have a certificate of Fulcio's: here one is used as an authority. */
export const issuedByLeaf: Sign = async ({ digest }) => {
  const notBefore = wholeSecond();
  const attacker = ecKeyPair();
  const { publicKey } = attacker;
  const leaf = await sigstore.authority.issue({ ...mallory, publicKey, notBefore });
  const victim = ecKeyPair();
  const forged = await x509.X509CertificateGenerator.create({
    serialNumber: "0102",
    issuer: new x509.X509Certificate(leaf).subject,
    notBefore,
    notAfter: new Date(notBefore.getTime() + 600_000),
    publicKey: new x509.PublicKey(spkiOf(victim.publicKey)),
    signingAlgorithm: EC,
    signingKey: await webcrypto.subtle.importKey(
      "pkcs8",
      attacker.privateKey.export({ type: "pkcs8", format: "der" }),
      EC,
      false,
      ["sign"],
    ),
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([CODE_SIGNING]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: IDENTITY }], true),
      new x509.Extension(ISSUER_OID, false, utf8(ISSUER)),
    ],
  });
  const der = Buffer.from(forged.rawData);
  const bundle = await sigstore.bundle({
    digest,
    by: keyless(IDENTITY, ISSUER),
    mediaType: BUNDLE_V02,
    certificateForm: "chain",
    signingKey: victim.privateKey,
    logVerifier: { der, pem: certificatePem(der), isCertificate: true },
    edit: ({ verificationMaterial }) => {
      const certificates = [der, leaf].map((one) => ({ rawBytes: base64(one) }));
      verificationMaterial.x509CertificateChain = { certificates };
    },
  });
  return asBundle(bundle);
};

/** DER UTF8String of less than 128 bytes. */
function utf8(text: string): Buffer<ArrayBuffer> {
  return Buffer.from([0x0c, text.length, ...Buffer.from(text)]);
}
