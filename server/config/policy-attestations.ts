import type {
  AttestationSettings,
  SignatureSettings,
  VulnerabilitySettings,
} from "../policy-settings.ts";
import type { ListDraft } from "./draft.ts";
import type { Path } from "./nodes.ts";
import type { AuthorityReader } from "./policy-authorities.ts";
import type { AttestationDraft, VulnerabilitiesDraft } from "./policy-draft.ts";
import type { ConfigScope } from "./scope.ts";

const DAY_SECONDS = 86_400;
const SLSA_PATTERN = /^https:\/\/slsa\.dev\/provenance\/(?:v0\.2|v1(?:\.[0-9]+)?)$/u;
const SLSA_EXPECTED = "https://slsa.dev/provenance/v1 or v0.2";
const VULNERABILITIES = "https://cosign.sigstore.dev/attestation/vuln/v1";
/** What cosign writes to sign an image: it vouches for the image, and says nothing about it. */
const IMAGE_SIGNATURE = "https://sigstore.dev/cosign/sign/v1";

/** What `cosign attest --type` takes for short: it is the long form that stands in attestations. */
const SHORT_FORMS: Readonly<Record<string, string>> = {
  slsaprovenance: "https://slsa.dev/provenance/v0.2",
  slsaprovenance02: "https://slsa.dev/provenance/v0.2",
  slsaprovenance1: "https://slsa.dev/provenance/v1",
  link: "https://in-toto.io/Link/v1",
  spdx: "https://spdx.dev/Document",
  spdxjson: "https://spdx.dev/Document",
  cyclonedx: "https://cyclonedx.org/bom",
  vuln: VULNERABILITIES,
  openvex: "https://openvex.dev/ns",
  custom: "https://cosign.sigstore.dev/attestation/v1",
};

export interface AttestationContext {
  readonly scope: ConfigScope;
  readonly authorities: AuthorityReader;
}

/** One attestation that a rule asks for; undefined when it is too incomplete to go on with. */
export function readAttestation(
  { scope, authorities }: AttestationContext,
  path: Path,
  draft: AttestationDraft,
): AttestationSettings | undefined {
  const { predicateType } = draft;
  const by = readSigners(authorities, [...path, "by"], draft.by);
  const builder = readGlobs(scope, [...path, "builder"], draft.builder);
  const source = readGlobs(scope, [...path, "source"], draft.source);
  const vulnerabilities = readVulnerabilities(scope, [...path, "vulnerabilities"], draft);
  if (predicateType === undefined) {
    return undefined;
  }
  checkPredicate(scope, path, predicateType);
  return (
    by && {
      predicateType,
      by,
      ...(builder && { builder }),
      ...(source && { source }),
      ...(vulnerabilities && { vulnerabilities }),
    }
  );
}

function readSigners(
  authorities: AuthorityReader,
  path: Path,
  by: AttestationDraft["by"],
): SignatureSettings | undefined {
  if (by?.any !== undefined || by?.all !== undefined) {
    return authorities.several(path, by);
  }
  const one = authorities.one(path, by, "require");
  return one && { require: "any", authorities: [one] };
}

function readGlobs(
  scope: ConfigScope,
  path: Path,
  list: ListDraft | undefined,
): readonly string[] | undefined {
  return list?.filter((glob, index): glob is string => {
    const place = [...path, index];
    const problem = glob === undefined ? undefined : checkUriGlob(glob);
    if (problem !== undefined) {
      scope.problem(place, `found ${scope.quote(place)}: ${problem}`);
    }
    return glob !== undefined;
  });
}

/** As checkSubjectGlob, for what a signer states: any uri, `git+https:` and `pkg:` among them. */
function checkUriGlob(glob: string): string | undefined {
  if (/\s/u.test(glob)) {
    return "it has a space in it";
  }
  return glob.startsWith("*") ? "it begins with a wildcard: it would match strangers" : undefined;
}

function readVulnerabilities(
  scope: ConfigScope,
  path: Path,
  { vulnerabilities: draft }: { readonly vulnerabilities?: VulnerabilitiesDraft },
): VulnerabilitySettings | undefined {
  const scanner = readGlobs(scope, [...path, "scanner"], draft?.scanner);
  const days = draft?.maxAgeDays;
  return (
    draft && {
      ...(scanner && { scanner }),
      ...(days !== undefined && { maxAgeSeconds: days * DAY_SECONDS }),
      refuse: draft.refuse?.filter((severity) => severity !== undefined) ?? [],
    }
  );
}

/** Each of these asks for something that attestations of another type never say. */
const NEEDS: readonly {
  readonly key: "builder" | "source" | "vulnerabilities";
  readonly isIn: (predicateType: string) => boolean;
  readonly expected: string;
}[] = [
  { key: "builder", isIn: isSlsa, expected: SLSA_EXPECTED },
  { key: "source", isIn: isSlsa, expected: SLSA_EXPECTED },
  { key: "vulnerabilities", isIn: (type) => type === VULNERABILITIES, expected: VULNERABILITIES },
];

function isSlsa(predicateType: string): boolean {
  return SLSA_PATTERN.test(predicateType);
}

function checkPredicate(scope: ConfigScope, path: Path, predicateType: string): void {
  const place = [...path, "predicateType"];
  const long = Object.hasOwn(SHORT_FORMS, predicateType) ? SHORT_FORMS[predicateType] : undefined;
  if (long !== undefined) {
    scope.mismatch(place, `the type's uri, ${long}`);
  } else if (predicateType === IMAGE_SIGNATURE) {
    scope.mismatch(place, "signatures in the rule: that is the type of an image's signature");
  } else if (!/^[^\s/]+\/\S+$/u.test(predicateType)) {
    scope.mismatch(place, "a uri such as https://slsa.dev/provenance/v1");
  } else {
    for (const { key, isIn, expected } of NEEDS) {
      if (scope.has([...path, key]) && !isIn(predicateType)) {
        const message = `found ${key} for another predicateType, expected predicateType: ${expected}`;
        scope.problem([...path, key], message, "key");
      }
    }
  }
}
