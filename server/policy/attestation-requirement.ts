import { compileGlob } from "../glob.ts";
import type { AttestationSettings, VulnerabilitySettings } from "../policy-settings.ts";
import type { VerifiedSignature } from "./authority.ts";
import type { Looks } from "./looks.ts";
import type { AuthorityGroup, Outcome, Pair } from "./requirement.ts";
import { mayAttest, namesOf, pairsOf } from "./requirement.ts";
import { readProvenance } from "./slsa.ts";
import type { Scan } from "./vulnerabilities.ts";
import { isScannerOf, readScan, scanProblem } from "./vulnerabilities.ts";

/** A genuine attestation of the type that is asked for. */
interface Attestation extends Pair {
  readonly verified: VerifiedSignature;
  readonly predicate: unknown;
}

interface Dated extends Attestation {
  readonly scan: Scan;
}

/** Whether some attestation by one of the group says what a rule asks for. */
export function findAttestation(
  looks: Looks,
  settings: AttestationSettings,
  group: AuthorityGroup,
  nowMs: number,
): Outcome {
  const found = attestations(looks, settings, group);
  const outcome =
    settings.vulnerabilities === undefined
      ? takeFirst(looks, found)
      : takeNewest({ looks, found, settings: settings.vulnerabilities, nowMs });
  return outcome ?? { missing: missingOf(settings, group) };
}

function* attestations(
  looks: Looks,
  settings: AttestationSettings,
  group: AuthorityGroup,
): Generator<Attestation> {
  const candidates = looks.candidates.filter(({ format }) => mayAttest(format));
  for (const { candidate, authority } of pairsOf(candidates, group)) {
    const verified = looks.verify(candidate, authority);
    if (verified === undefined) {
      continue;
    }
    const problem = contentProblem(verified, settings);
    if (problem !== undefined) {
      looks.reject(candidate, authority, problem);
    } else if (verified.says.kind === "attestation") {
      yield { candidate, authority, verified, predicate: verified.says.predicate };
    }
  }
}

function contentProblem(
  { says }: VerifiedSignature,
  { predicateType, builder, source }: AttestationSettings,
): string | undefined {
  if (says.kind === "signature") {
    return "is a signature, not an attestation";
  }
  if (says.predicateType !== predicateType) {
    return `is an attestation of type ${says.predicateType}`;
  }
  if (builder === undefined && source === undefined) {
    return;
  }
  const provenance = readProvenance(predicateType, says.predicate);
  if (builder !== undefined && !fitsAny(builder, [provenance.builder])) {
    return `names ${provenance.builder === "" ? "no builder" : `the builder ${provenance.builder}`}`;
  }
  if (source !== undefined && !fitsAny(source, provenance.sources)) {
    return "names none of the sources that are asked for";
  }
  return;
}

function fitsAny(globs: readonly string[], texts: readonly string[]): boolean {
  return globs.map(compileGlob).some((fits) => texts.some((text) => text !== "" && fits(text)));
}

function takeFirst(looks: Looks, found: Iterable<Attestation>): Outcome | undefined {
  for (const { candidate, authority, verified } of found) {
    looks.count(candidate, authority);
    return { counted: verified, validUntilMs: verified.validUntilMs };
  }
  return;
}

interface ScanSearch {
  readonly looks: Looks;
  readonly found: Iterable<Attestation>;
  readonly settings: VulnerabilitySettings;
  readonly nowMs: number;
}

/** The latest scan decides alone: an old clean one must not hide what was found since. */
function takeNewest(search: ScanSearch): Outcome | undefined {
  const { looks, settings, nowMs } = search;
  const scans = datedScans(search);
  const newestMs = scans.reduce((latest, { scan }) => Math.max(latest, scan.finishedAtMs), 0);
  const newest = scans.filter(({ scan }) => scan.finishedAtMs === newestMs);
  for (const { candidate, authority, scan } of scans.filter((one) => !newest.includes(one))) {
    const at = new Date(scan.finishedAtMs).toISOString();
    looks.reject(candidate, authority, `is a scan of ${at}: there is a newer one`);
  }
  for (const { candidate, authority, scan } of newest) {
    const problem = scanProblem(scan, settings, nowMs);
    if (problem !== undefined) {
      looks.reject(candidate, authority, problem);
      return { missing: problem };
    }
  }
  const [decisive] = newest;
  if (decisive === undefined) {
    return;
  }
  const { candidate, authority, verified } = decisive;
  looks.count(candidate, authority);
  return { counted: verified, validUntilMs: validUntil(decisive, settings) };
}

function datedScans({ looks, found, settings }: ScanSearch): Dated[] {
  const scans: Dated[] = [];
  for (const attestation of found) {
    const scan = readScan(attestation.predicate);
    const { candidate, authority } = attestation;
    if (scan === undefined) {
      looks.reject(candidate, authority, "is a scan that does not say when it finished");
    } else if (!isScannerOf(scan, settings)) {
      looks.reject(candidate, authority, `is a scan by ${scan.scanner}`);
    } else {
      scans.push({ ...attestation, scan });
    }
  }
  return scans;
}

function validUntil(
  { verified, scan }: Dated,
  { maxAgeSeconds }: VulnerabilitySettings,
): number | undefined {
  const ends = [
    ...(verified.validUntilMs === undefined ? [] : [verified.validUntilMs]),
    ...(maxAgeSeconds === undefined ? [] : [scan.finishedAtMs + maxAgeSeconds * 1000]),
  ];
  return ends.length === 0 ? undefined : Math.min(...ends);
}

function missingOf(settings: AttestationSettings, group: AuthorityGroup): string {
  const { predicateType, builder, source, vulnerabilities } = settings;
  const scanner = vulnerabilities?.scanner;
  const conditions = [
    ...(builder === undefined ? [] : [` with the builder ${builder.join(" or ")}`]),
    ...(source === undefined ? [] : [` of the source ${source.join(" or ")}`]),
    ...(scanner === undefined ? [] : [` with the scanner ${scanner.join(" or ")}`]),
  ];
  return `no attestation ${predicateType}${conditions.join("")} by ${namesOf(group)}`;
}
