import type { KeyObject } from "node:crypto";
import { createHash, createPublicKey } from "node:crypto";
import { basename } from "node:path";
import { VerificationError } from "@sigstore/verify";
import type { KeySettings } from "../../policy-settings.ts";
import type { Authority } from "../authority.ts";
import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";
import { checkPublicKey } from "../trust/trusted-root.ts";
import { keyHintOf, leafOf } from "./bundle.ts";
import { identityOf, parseCertificate } from "./certificate.ts";
import { nameOf } from "./identity.ts";
import type { SignedBundle, SignerCheck } from "./sigstore-authority.ts";
import { sigstoreAuthority } from "./sigstore-authority.ts";
import type { LogMode, Trust, TrustedSigner } from "./trust-material.ts";
import { keyTrust } from "./trust-material.ts";

/**
 * Who signs with a key pair.
 *
 * @param trustedRootJson A Sigstore TrustedRoot as JSON; only looked at when the log is required.
 * @throws Error when key or root cannot be read, or the root names no log where one is required.
 */
export function keyAuthority(settings: KeySettings, trustedRootJson: string): Authority {
  return sigstoreAuthority(keyCheck(settings, trustedRootJson, settings.log));
}

/** @throws Error when key or root cannot be read, or the root names no log where one is required. */
export function keyCheck(
  { file, pem }: Pick<KeySettings, "file" | "pem">,
  trustedRootJson: string,
  log: LogMode,
): SignerCheck {
  const problem = checkPublicKey(pem);
  if (problem !== undefined) {
    throw new Error(`the key ${problem}`);
  }
  const key = createPublicKey(pem);
  const trust = keyTrust(key, trustedRootJson, log);
  const der = key.export({ format: "der", type: "spki" });
  const sha256 = createHash("sha256").update(der).digest();
  const known: KnownKey = { name: `key ${basename(file)}`, key, der, sha256, trust };
  return { name: known.name, check: (signed) => check(signed, known) };
}

interface KnownKey {
  readonly name: string;
  readonly key: KeyObject;
  readonly der: Buffer;
  readonly sha256: Buffer;
  readonly trust: Trust;
}

function check(signed: SignedBundle, known: KnownKey): string {
  const leaf = leafOf(signed.bundle);
  if (leaf !== undefined) {
    throw new SignatureProblem(
      `was made with ${describeLeaf(leaf)}, the rule asks for the ${known.name}`,
    );
  }
  const signer: TrustedSigner = {
    entityKey: { $case: "public-key", hint: "" },
    logged: { kind: "key", der: known.der },
  };
  try {
    known.trust.verify(signed, signer);
  } catch (error) {
    throw explain(error, keyHintOf(signed.bundle), known);
  }
  return `key sha256:${known.sha256.toString("hex")}`;
}

function describeLeaf(der: Buffer): string {
  try {
    return `a certificate that claims to be for ${nameOf(identityOf(parseCertificate(der)))}`;
  } catch {
    return "a certificate";
  }
}

/** Says which key it was, where that can be told. */
function explain(error: unknown, hint: string, { name, key, sha256 }: KnownKey): unknown {
  if (!(error instanceof VerificationError) || error.code !== "SIGNATURE_ERROR") {
    return error;
  }
  if (hint !== "" && hint !== sha256.toString("base64")) {
    const other = `its hint is '${shown(hint)}'`;
    return new SignatureProblem(`was not made with the ${name}: ${other}`, { cause: error });
  }
  const form =
    key.asymmetricKeyType === "ed25519" ? ", or as Ed25519ph, which cannot be verified here" : "";
  return new SignatureProblem(`was not made with the ${name}, or over other content${form}`, {
    cause: error,
  });
}
