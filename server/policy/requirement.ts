import type { SignatureFormat } from "../decision.ts";
import type { AuthoritySettings, SignatureSettings } from "../policy-settings.ts";
import type { Authority, VerifiedSignature } from "./authority.ts";
import type { Candidate } from "./evidence.ts";

/** An authority, and what its signatures may look like. */
export interface CompiledAuthority {
  readonly authority: Authority;
  readonly kind: AuthoritySettings["kind"];
}

/** Authorities of which any will do. */
export type AuthorityGroup = readonly CompiledAuthority[];

/** One candidate with one authority that may take it. */
export interface Pair {
  readonly candidate: Candidate;
  readonly authority: Authority;
}

/** What a rule asked for and got, or what is missing. */
export type Outcome =
  | { readonly counted: VerifiedSignature; readonly validUntilMs: number | undefined }
  | { readonly missing: string };

/** `any` is one group; with `all`, each authority is a group of its own. */
export function groupsOf(
  { require, authorities }: SignatureSettings,
  compile: (settings: AuthoritySettings) => Authority,
): readonly AuthorityGroup[] {
  const compiled = authorities.map((settings) => ({
    authority: compile(settings),
    kind: settings.kind,
  }));
  return require === "any" ? [compiled] : compiled.map((one) => [one]);
}

/** Every candidate with every authority: what is likely to fit and cheap to verify comes first. */
export function pairsOf(candidates: readonly Candidate[], group: AuthorityGroup): Pair[] {
  return group
    .flatMap(({ authority, kind }) =>
      candidates.map((candidate) => ({ candidate, authority, rank: rankOf(kind, candidate) })),
    )
    .toSorted(
      (one, other) =>
        one.rank - other.rank ||
        one.candidate.payload.byteLength - other.candidate.payload.byteLength,
    );
}

/** An unlikely one is looked at, too: people want to be told what it is instead. */
function rankOf(kind: AuthoritySettings["kind"], { format }: Candidate): number {
  if ((kind === "notation") !== (format === "notation")) {
    return 2;
  }
  return format === "cosign-attestation" ? 1 : 0;
}

/** What carries attestations; the others carry signatures only. */
export function mayAttest(format: SignatureFormat): boolean {
  return format === "bundle" || format === "cosign-attestation";
}

/** `key a.pub`, or `any of: key a.pub, key b.pub`. */
export function namesOf(group: AuthorityGroup): string {
  const names = group.map(({ authority }) => authority.name);
  return names.length === 1 ? names.join() : `any of: ${names.join(", ")}`;
}
