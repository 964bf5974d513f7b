import { compileGlob } from "../../glob.ts";
import type { SubjectSettings } from "../../policy-settings.ts";
import { SignatureProblem } from "../authority.ts";
import { shown } from "../printable.ts";

/** Who a Fulcio certificate is for. */
export interface Identity {
  /** The certificate's one subject alternative name: an e-mail address, or a workflow's URI. */
  readonly subject: string;
  /** Who vouched for the subject: the OIDC issuer's URL. */
  readonly issuer: string;
}

/** Whom a rule asks for. Both are always compared. */
export interface IdentitySettings {
  readonly issuer: string;
  readonly subject: SubjectSettings;
}

/** An identity that a rule asks for, compiled once. */
export interface ExpectedIdentity {
  /** For people: `https://… (issuer https://…)`. */
  readonly name: string;
  matches(identity: Identity): boolean;
}

/**
 * Exact names are compared as they are; a glob is anchored at both ends, `*` stands for anything
 * but `/`, `**` for anything. Nothing is a regular expression: `.` is a full stop.
 */
export function expectIdentity({ issuer, subject }: IdentitySettings): ExpectedIdentity {
  const isSubject =
    "exact" in subject
      ? (text: string): boolean => text === subject.exact
      : compileGlob(subject.glob);
  const subjectName = "exact" in subject ? subject.exact : subject.glob;
  return {
    name: nameOf({ subject: subjectName, issuer }),
    matches: (identity) => identity.issuer === issuer && isSubject(identity.subject),
  };
}

/** On one line, as a verdict shows it. */
export function nameOf({ subject, issuer }: Identity): string {
  return `${shown(subject)} (issuer ${shown(issuer)})`;
}

/** @throws SignatureProblem that names who signed, and who should have. */
export function checkIdentity(identity: Identity, expected: ExpectedIdentity): void {
  if (!expected.matches(identity)) {
    throw new SignatureProblem(
      `was signed by ${nameOf(identity)}, the rule asks for ${expected.name}`,
    );
  }
}
