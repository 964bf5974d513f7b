import type { Check, Decision, DecisionReason } from "../decision.ts";
import { isServed } from "../decision.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { Case, Finding } from "./finding.ts";
import { printable } from "./printable.ts";

/** With these, the first 150 characters of a denial tell who refuses what, and the start of why. */
const RULE_LENGTH_MAX = 24;
const NAME_LENGTH_MAX = 40;
const DIGEST_LENGTH = 12;
const WHY_LENGTH_MAX = 1200;
const CHECK_LENGTH_MAX = 260;
const IMAGE_LENGTH_MAX = 480;
const SIGNERS_LENGTH_MAX = 600;

/** Of what is refused: what whoever pulls can do about it. */
const ADVICE: Partial<Readonly<Record<DecisionReason, string>>> = {
  unsigned: "Have it signed by whom the rule asks for",
  untrusted: "Have it signed by whom the rule asks for",
  attestation: "Have what is missing attested by whom the rule asks for",
  tag: "Ask for it by its digest, or by a tag that the rule allows if there is one",
  denied_digest: "Use another build: no exception lets this one pass",
  denied_signer: "Use a build that was signed by others: no exception lets this one pass",
  foreign_layers: "Push its layers to the registry",
  malformed: "Build and push it again with a current tool",
  unmatched: "Ask the policy's owner for a rule that names it",
};
/** No exception is asked about these. */
const UNEXCEPTIONAL: ReadonlySet<DecisionReason> = new Set([
  "denied_digest",
  "denied_signer",
  "malformed",
  "unmatched",
]);
/** Of what is refused, where nothing more is to be said. */
const REFUSALS: Partial<Readonly<Record<DecisionReason, string>>> = {
  unmatched: "no rule names this repository",
  foreign_layers: "it has layers with urls, which clients fetch past this proxy",
  denied_signer: "it is signed by a signer on the deny list",
};
const PERMITS: Partial<Readonly<Record<DecisionReason, string>>> = {
  artefact: "it is a signature or an attestation itself",
  permitted: "the rule asks for no signature",
  off: "the rule is off",
  unmatched: "no rule names this repository",
};

/**
 * What was decided about a manifest, in one line of printable ASCII, 4 KiB at most. It begins with
 * what clients show where they cut it: who refuses which image, and why.
 */
export function messageOf(about: Case, finding: Finding): string {
  switch (finding.verdict) {
    case "allow":
      return allowMessage(about, finding);
    case "deny":
      return denialMessage(about, finding);
    case "indeterminate":
      return indeterminateMessage(about, finding);
  }
}

/** A decision for people who ask why, line by line. */
export function explainLines(decision: Decision, image: string): string[] {
  const { verdict, reason, rule, mode, signers, checks, exception } = decision;
  const { policyRevision, trustRevision, evidence, decidedAtMs, digest } = decision;
  return [
    printable(image, IMAGE_LENGTH_MAX),
    `  verdict   ${verdict} (${reason})`,
    `  rule      ${printable(rule, IMAGE_LENGTH_MAX)}, ${mode}`,
    ...(digest === undefined ? [] : [`  digest    ${digest}`]),
    `  why       ${decision.message}`,
    ...signers.map((signer) => `  signer    ${printable(signer, IMAGE_LENGTH_MAX)}`),
    ...checks.map((check) => `  ${check.counts ? "counts  " : "does not"}  ${wordsOf(check)}`),
    `  served    ${isServed(decision) ? "yes" : "no"}`,
    ...(exception === undefined ? [] : [`  exception ${printable(exception, IMAGE_LENGTH_MAX)}`]),
    ...(evidence === undefined ? [] : [`  evidence  ${evidence}`]),
    `  policy    ${policyRevision}, trust ${trustRevision}`,
    `  decided   ${new Date(decidedAtMs).toISOString()}`,
  ];
}

function allowMessage(about: Case, finding: Finding): string {
  const { reason, parent, exception, signers = [] } = finding;
  const by = printable(signers.join(", "), SIGNERS_LENGTH_MAX);
  if (reason === "inherited") {
    const from = `the index ${parent ?? "that contains it"} is allowed`;
    return `${headOf(about, "allows")}: ${from}${by === "" ? "" : `, signed by ${by}`}`;
  }
  if (reason === "exception" && exception !== undefined) {
    const { name, untilMs, reason: because, ticket } = exception;
    const until = new Date(untilMs).toISOString();
    const words = `the exception ${name} lets it pass until ${until}: ${because}`;
    const from = ticket === undefined ? words : `${words} (${ticket})`;
    return `${headOf(about, "allows")}: ${printable(from, WHY_LENGTH_MAX)}`;
  }
  return `${headOf(about, "allows")}: ${PERMITS[reason] ?? `signed by ${by}`}`;
}

function denialMessage(about: Case, finding: Finding): string {
  const { mode } = about.rule;
  const isListed = finding.reason === "denied_digest" || finding.reason === "denied_signer";
  const head = headOf(about, mode === "enforce" || isListed ? "denies" : "would deny");
  const owner = UNEXCEPTIONAL.has(finding.reason)
    ? ""
    : ", or ask the policy's owner for an exception";
  const advice = `${ADVICE[finding.reason] ?? "Ask the policy's owner"}${owner}`;
  const look = `"sluice explain --config FILE ${fullName(about)}" tells more`;
  const end = ` ${advice}; ${look}. ${revisionsOf(about)}`;
  return assemble(`${head}: ${whyDenied(finding)}.`, lookedAt(finding), end);
}

function indeterminateMessage(about: Case, finding: Finding): string {
  const { failures = [], problem } = finding;
  const why = [...(problem === undefined ? [] : [problem]), ...failures].join("; ");
  const head = `${headOf(about, "cannot judge")} now: ${printable(why, WHY_LENGTH_MAX)}.`;
  const end = ` This says nothing against ${fullName(about)}: try again. ${revisionsOf(about)}`;
  return assemble(head, lookedAt(finding), end);
}

/** `policy rule "team" denies team.example/prod/app@sha256:ab12cd34ef56...` */
function headOf({ rule, name, tag, digest }: Case, verb: string): string {
  const who =
    rule.settings === undefined
      ? "the policy"
      : `policy rule "${printable(rule.name, RULE_LENGTH_MAX)}"`;
  const start = digest.indexOf(":") + 1;
  const short = `${digest.slice(0, start + DIGEST_LENGTH)}...`;
  const reference = tag === undefined ? `@${short}` : `:${printable(tag, NAME_LENGTH_MAX)}`;
  // The end of a name tells more than its start, which clients show, too.
  const shortName = name.length > NAME_LENGTH_MAX ? `...${name.slice(3 - NAME_LENGTH_MAX)}` : name;
  return `${who} ${verb} ${printable(shortName, NAME_LENGTH_MAX)}${reference}`;
}

function whyDenied({ reason, problem, missing = [] }: Finding): string {
  if (reason === "denied_digest") {
    return printable(`it is on the deny list: ${problem ?? ""}`, WHY_LENGTH_MAX);
  }
  const refusal = REFUSALS[reason];
  if (refusal !== undefined) {
    return refusal;
  }
  const words = problem ?? (missing.length === 0 ? "not signed" : missing.join("; "));
  const hint = reason === "unsigned" ? "no signature found; " : "";
  return `${hint}${printable(words, WHY_LENGTH_MAX)}`;
}

/** What was found and does not count, one after the other, the first few. */
function lookedAt({ checks = [], passedOver = [] }: Finding): string {
  const words = [
    ...checks.filter(({ counts }) => !counts).map(wordsOf),
    ...passedOver.map(({ artifact, problem }) => `${artifact} was passed over: ${problem}`),
  ].map((text) => printable(text, CHECK_LENGTH_MAX));
  if (words.length === 0) {
    return "";
  }
  const left = words.length - POLICY_LIMITS.messageChecksMax;
  const more = left > 0 ? `; and ${left} more` : "";
  return ` Looked at: ${words.slice(0, POLICY_LIMITS.messageChecksMax).join("; ")}${more}.`;
}

function wordsOf({ format, artifact, authority, counts, signer, problem }: Check): string {
  const by = signer === undefined ? "" : ` by ${signer}`;
  const what = `${format} ${artifact.slice(0, "sha256:".length + DIGEST_LENGTH)}${by}`;
  const words = counts ? `counts for ${authority}` : `${problem ?? ""} [asked: ${authority}]`;
  return printable(`${what} ${words}`, IMAGE_LENGTH_MAX);
}

function fullName({ name, tag, digest }: Case): string {
  return printable(`${name}${tag === undefined ? `@${digest}` : `:${tag}`}`, IMAGE_LENGTH_MAX);
}

function revisionsOf({ policyRevision, trustRevision }: Case): string {
  const trust =
    trustRevision === "none" ? "" : `, trust ${printable(trustRevision, NAME_LENGTH_MAX)}`;
  return `Policy ${policyRevision}${trust}.`;
}

/** The middle is what is cut, when it is too much. */
function assemble(start: string, middle: string, end: string): string {
  const room = POLICY_LIMITS.messageBytesMax - start.length - end.length;
  return `${start}${printable(middle, Math.max(room, 0))}${end}`;
}
