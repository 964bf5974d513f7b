import { compileGlob } from "../glob.ts";
import { isObject } from "../json-object.ts";
import { POLICY_LIMITS } from "../limits.ts";
import type { VulnerabilitySettings } from "../policy-settings.ts";
import { listOf, memberOf, textOf } from "./bounded-json.ts";

/** A vulnerability scan, as https://cosign.sigstore.dev/attestation/vuln/v1 records it. */
export interface Scan {
  /** Empty when it does not say. */
  readonly scanner: string;
  readonly finishedAtMs: number;
  /** How many were found, by severity in lower case; undefined when its result cannot be read. */
  readonly found: ReadonlyMap<string, number> | undefined;
}

const SEVERITIES: ReadonlySet<string> = new Set([
  "critical",
  "high",
  "medium",
  "low",
  "negligible",
  "unknown",
]);
/** RFC 3339 §5.6, as Go writes it. */
const TIME_PATTERN =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})$/;
const DAY_SECONDS = 86_400;

/**
 * Reads a predicate as Trivy writes it (`trivy image --format cosign-vuln`), or with Grype's JSON
 * report for a result.
 *
 * @returns undefined when it does not say when it finished: it cannot be told from an older one.
 * @see https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md
 */
export function readScan(predicate: unknown): Scan | undefined {
  const scanner = memberOf(predicate, "scanner");
  const finishedOn = textOf(memberOf(predicate, "metadata"), "scanFinishedOn");
  const finishedAtMs = TIME_PATTERN.test(finishedOn) ? Date.parse(finishedOn) : Number.NaN;
  // Go writes the year 1 for a time that was never set.
  if (!(finishedAtMs > 0)) {
    return;
  }
  return {
    scanner: textOf(scanner, "uri"),
    finishedAtMs,
    found: countSeverities(memberOf(scanner, "result")),
  };
}

/** Whether a rule goes by what this scanner says. */
export function isScannerOf(scan: Scan, { scanner }: VulnerabilitySettings): boolean {
  return scanner === undefined || scanner.some((glob) => compileGlob(glob)(scan.scanner));
}

/** Why a scan does not satisfy a rule, as a sentence; undefined when it does. */
export function scanProblem(
  scan: Scan,
  { maxAgeSeconds, refuse }: VulnerabilitySettings,
  nowMs: number,
): string | undefined {
  const { found, finishedAtMs } = scan;
  const what = `the newest vulnerability scan, of ${new Date(finishedAtMs).toISOString()},`;
  if (finishedAtMs > nowMs + POLICY_LIMITS.clockSkewMs) {
    return `${what} lies in the future`;
  }
  if (maxAgeSeconds !== undefined && nowMs >= finishedAtMs + maxAgeSeconds * 1000) {
    return `${what} is older than ${ageOf(maxAgeSeconds)}`;
  }
  if (found === undefined) {
    return `${what} cannot be read: expected a report of Trivy or Grype`;
  }
  const counts = refuse
    .map((severity) => ({ severity, count: found.get(severity) ?? 0 }))
    .filter(({ count }) => count > 0)
    .map(({ severity, count }) => `${count} ${severity}`);
  return counts.length === 0 ? undefined : `${what} found ${counts.join(", ")}`;
}

function ageOf(seconds: number): string {
  return seconds % DAY_SECONDS === 0 ? `${seconds / DAY_SECONDS} d` : `${seconds} s`;
}

/** Undefined for any shape that we do not know to the end: a part that is passed over may be bad. */
function countSeverities(result: unknown): Map<string, number> | undefined {
  const severities = trivySeverities(result) ?? grypeSeverities(result);
  if (severities === undefined) {
    return;
  }
  const found = new Map<string, number>();
  for (const severity of severities) {
    const name = severityOf(severity);
    if (name === undefined) {
      return;
    }
    found.set(name, (found.get(name) ?? 0) + 1);
  }
  return found;
}

/** Both leave it out, or empty, when the database has none. */
function severityOf(severity: unknown): string | undefined {
  const name = typeof severity === "string" ? severity.toLowerCase() : severity;
  if (name === undefined || name === null || name === "") {
    return "unknown";
  }
  return typeof name === "string" && SEVERITIES.has(name) ? name : undefined;
}

/** `Results` and their `Vulnerabilities` are left out when there are none. */
function trivySeverities(result: unknown): unknown[] | undefined {
  if (!isObject(result) || result["SchemaVersion"] !== 2 || !isListOrAbsent(result["Results"])) {
    return;
  }
  const severities: unknown[] = [];
  for (const target of listOf(result, "Results")) {
    if (!isObject(target) || !isListOrAbsent(target["Vulnerabilities"])) {
      return;
    }
    for (const vulnerability of listOf(target, "Vulnerabilities")) {
      if (!isObject(vulnerability)) {
        return;
      }
      severities.push(vulnerability["Severity"]);
    }
  }
  return severities;
}

/** `matches` is always there. */
function grypeSeverities(result: unknown): unknown[] | undefined {
  if (!isObject(result) || !Array.isArray(result["matches"])) {
    return;
  }
  const severities: unknown[] = [];
  for (const match of listOf(result, "matches")) {
    const vulnerability = isObject(match) ? match["vulnerability"] : undefined;
    if (!isObject(vulnerability)) {
      return;
    }
    severities.push(vulnerability["severity"]);
  }
  return severities;
}

function isListOrAbsent(value: unknown): boolean {
  return value === undefined || value === null || Array.isArray(value);
}
