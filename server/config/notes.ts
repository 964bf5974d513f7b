import { createPublicKey } from "node:crypto";
import type { PolicySettings } from "../policy-settings.ts";
import type { Settings } from "../settings.ts";
import { clientNotes } from "./client-notes.ts";
import { policyAuthorities } from "./policy-sources.ts";

const YEAR_MS = 31_536_000_000;

/**
 * What is no mistake and still worth a look: for `sluice check`. One sentence each. Nothing that
 * only time has changed keeps the program from starting.
 */
export function configNotes(settings: Settings, nowMs: number): readonly string[] {
  const { policy, storage } = settings;
  return [
    ...clientNotes(settings),
    ...(storage.s3?.region === undefined && storage.s3?.endpoint === undefined && storage.s3
      ? ["storage.s3 has neither region nor endpoint: AWS_REGION has to say where the bucket is"]
      : []),
    ...(policy === undefined ? [] : policyNotes(policy, nowMs)),
  ];
}

function policyNotes(policy: PolicySettings, nowMs: number): readonly string[] {
  const expired = policy.exceptions.filter(({ untilMs }) => untilMs <= nowMs);
  const onTrial = policy.rules.filter(({ mode }) => mode !== "enforce");
  return [
    ...expired.map(
      ({ name, untilMs }) =>
        `exception ${name} ended at ${new Date(untilMs).toISOString()}: it does not count any more`,
    ),
    ...onTrial.map(({ name, mode }) => `rule ${name} is in mode ${mode}: it refuses nothing`),
    ...policyAuthorities(policy)
      .filter((authority) => authority.kind === "key")
      .filter(({ pem }) => createPublicKey(pem).asymmetricKeyType === "ed25519")
      .map(
        ({ file }) =>
          `${file} is an Ed25519 key: cosign signs with those as Ed25519ph, which does not count here`,
      ),
    ...policy.exceptions
      .filter(({ digest, untilMs }) => digest === undefined && untilMs > nowMs + YEAR_MS)
      .map(({ name }) => `exception ${name} is for any digest, and for more than a year`),
    ...[...trustedRoots(policy)]
      .filter(([, json]) => isExpired(json, nowMs))
      .map(([file]) => `${file} names no certificate authority that is still valid`),
  ];
}

/** Those that keyless signatures are measured with, by file. */
function trustedRoots(policy: PolicySettings): ReadonlyMap<string, string> {
  const roots = new Map<string, string>();
  for (const authority of policyAuthorities(policy)) {
    if (authority.kind === "keyless" && authority.trustedRoot !== "public-good") {
      roots.set(authority.trustedRoot.file, authority.trustedRoot.json);
    }
  }
  return roots;
}

/** What it was signed by before still counts: a period may have an end, and usually has none. */
function isExpired(json: string, nowMs: number): boolean {
  const { certificateAuthorities } = JSON.parse(json); // it has been checked when it was read
  const authorities: readonly unknown[] = certificateAuthorities;
  return authorities.every((one) => Date.parse(Object(Object(one).validFor).end) <= nowMs);
}
