import { release } from "./forger-rules.ts";
import { sigstore } from "./policy-rig.ts";
import { logEntryJson } from "./sign-bundle.ts";
import { certificatePem } from "./sign-certificates.ts";
import type { EntryBody, LogVerifier } from "./sign-log.ts";
import { base64, sha256 } from "./sign-log.ts";
import { asBundle } from "./sign-placements.ts";
import { wholeSecond } from "./sign-with.ts";
import type { Sign } from "./signed-images.ts";

/** What an entry says in place of the truth. */
export interface IntotoLies {
  readonly verifier?: LogVerifier;
  readonly signature?: Uint8Array;
  readonly payload?: Uint8Array;
}

/** A bundle that is logged as cosign 2 and GitHub did it: intoto 0.0.2, where much is encoded twice. */
export function intotoBundle(lies: IntotoLies = {}): Sign {
  return async ({ digest }) => {
    const at = wholeSecond();
    const bundle = await sigstore.bundle({
      digest,
      by: release,
      log: "none",
      timestamp: false,
      at,
    });
    const { dsseEnvelope: envelope, verificationMaterial: material } = bundle;
    const der = Buffer.from(material.certificate?.rawBytes ?? "", "base64");
    const entry = intotoEntry({
      payload: lies.payload ?? Buffer.from(envelope?.payload ?? "", "base64"),
      signature: lies.signature ?? Buffer.from(envelope?.signatures[0]?.sig ?? "", "base64"),
      pem: lies.verifier?.pem ?? certificatePem(der),
    });
    material.tlogEntries = [logEntryJson(await sigstore.log.append(entry, at), "v1")];
    return asBundle(bundle);
  };
}

/** https://github.com/sigstore/rekor/blob/v1.4.2/pkg/types/intoto/v0.0.2/intoto_v0_0_2_schema.json */
function intotoEntry(signed: {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  readonly pem: string;
}): EntryBody {
  const { payload, signature, pem } = signed;
  const hash = (bytes: Uint8Array | string): object => {
    return { algorithm: "sha256", value: sha256(bytes).toString("hex") };
  };
  const signatures = [{ sig: base64(base64(signature)), publicKey: base64(pem) }];
  const envelope = { payloadType: "application/vnd.in-toto+json", signatures };
  return {
    apiVersion: "0.0.2",
    kind: "intoto",
    spec: { content: { envelope, hash: hash("envelope"), payloadHash: hash(payload) } },
  };
}
