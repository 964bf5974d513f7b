import type { Attestation, CosignOptions, CosignSigner } from "./cosign-cli.ts";
import { CosignCli } from "./cosign-cli.ts";
import type { Artifact } from "./image-builder.ts";
import { multiPlatformImage, smallImage } from "./image-builder.ts";
import type { NotationSignOptions } from "./notation-cli.ts";
import { NotationCli } from "./notation-cli.ts";
import { SLSA_PROVENANCE, VULNERABILITIES } from "./sign-statements.ts";
import type { SignableRegistry } from "./signable-registry.ts";
import { SluiceProcess } from "./sluice-process.ts";

export const ALICE = { identity: "alice@example.com", issuer: "https://issuer.example" } as const;
export const KEY = { key: "k1" } as const;
const STRANGER = "stranger.test";
const BUILDER = "https://example.com/builder";

/** A rule each, and each for a registry of its own name: `RULE.example`. All are the same one. */
export const RULES = ["key", "keyless", "notation", "provenance", "scanned"] as const;
export type RuleName = (typeof RULES)[number];

/** What is done to an image by its maker, and by whose rule it may be pulled then. */
export interface SignedRow {
  readonly name: string;
  readonly allowedBy: readonly RuleName[];
  readonly cosign?: { readonly by: CosignSigner; readonly options: CosignOptions };
  readonly attests?: {
    readonly by: CosignSigner;
    readonly attestations: readonly Attestation[];
    readonly options: CosignOptions;
  };
  readonly notation?: NotationSignOptions;
  /** An index of two platforms, of which only itself is signed. */
  readonly index?: "oci" | "docker";
}

/** An image on the registry, with its row. */
export interface SignedRowImage extends SignedRow {
  readonly artifact: Artifact;
}

const PROVENANCE = {
  type: "slsaprovenance1",
  predicate: {
    buildDefinition: {
      buildType: "https://example.com/build",
      externalParameters: {},
      resolvedDependencies: [{ uri: "git+https://example.com/acme/app@refs/tags/v1" }],
    },
    runDetails: { builder: { id: BUILDER } },
  },
};

function scanOf(...severities: readonly string[]): Attestation {
  const at = new Date().toISOString();
  const found = severities.map((Severity, id) => ({ VulnerabilityID: `CVE-${id}`, Severity }));
  const result = { SchemaVersion: 2, Results: [{ Target: "app", Vulnerabilities: found }] };
  const scanner = { uri: "pkg:github/aquasecurity/trivy@0.60.0", version: "0.60.0", result };
  const metadata = { scanStartedOn: at, scanFinishedOn: at };
  return { type: "vuln", predicate: { invocation: {}, scanner, metadata } };
}

/** The real tools, and all kinds of what they leave on a registry. */
export class SigningTools implements AsyncDisposable {
  readonly cosign: CosignCli;
  readonly notation: NotationCli;

  private constructor(cosign: CosignCli, notation: NotationCli) {
    this.cosign = cosign;
    this.notation = notation;
  }

  static async start(): Promise<SigningTools> {
    const notation = await NotationCli.start();
    await notation.addStranger(STRANGER);
    return new SigningTools(await CosignCli.start(), notation);
  }

  /** Pushes an image a row, and signs it there. */
  async fill(registry: SignableRegistry): Promise<readonly SignedRowImage[]> {
    const images: SignedRowImage[] = [];
    for (const row of rows()) {
      const { cosign, attests, notation, index } = row;
      const text = `enforce-${row.name}`;
      const artifact = await (index ? multiPlatformImage(text, index) : smallImage(text));
      const image = await registry.push(row.name, "v1", artifact);
      if (cosign !== undefined) {
        await this.cosign.sign(image, cosign.by, cosign.options);
      }
      for (const attestation of attests?.attestations ?? []) {
        await this.cosign.attest(image, attests?.by ?? KEY, attestation, attests?.options);
      }
      if (notation !== undefined) {
        await this.notation.sign(image, notation);
      }
      images.push({ ...row, artifact });
    }
    return images;
  }

  /** In front of a registry, with a rule for each kind of signer. */
  async sluice(registry: SignableRegistry): Promise<SluiceProcess> {
    const key = { key: { file: "cosign.pub", log: "ignore" } };
    const { identity: subject, issuer } = ALICE;
    const trustedRootFile = "trusted_root.json";
    const trustStoreDir = this.notation.trustStoreDir();
    const asks: Readonly<Record<RuleName, object>> = {
      key: { signatures: { any: [key] } },
      keyless: { signatures: { any: [{ keyless: { issuer, subject, trustedRootFile } }] } },
      notation: { signatures: { any: [{ notation: { trustStoreDir, subjects: ["*"] } }] } },
      provenance: {
        attestations: [{ predicateType: SLSA_PROVENANCE, by: key, builder: [BUILDER] }],
      },
      scanned: {
        attestations: [
          {
            predicateType: VULNERABILITIES,
            by: key,
            vulnerabilities: { maxAgeDays: 1, refuse: ["critical"] },
          },
        ],
      },
    };
    const { url } = registry;
    return await SluiceProcess.start({
      config: {
        upstreams: Object.fromEntries(RULES.map((name) => [`${name}.example`, { url }])),
        policy: {
          unmatched: "deny",
          rules: RULES.map((name) => ({
            name,
            match: [`${name}.example/**`],
            tags: { allow: ["v*"] }, // of images: signatures have others
            ...asks[name],
          })),
        },
      },
      files: {
        "cosign.pub": await this.cosign.publicKey(KEY.key),
        [trustedRootFile]: this.cosign.trustedRootJson,
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cosign[Symbol.asyncDispose]();
    await this.notation[Symbol.asyncDispose]();
  }
}

function rows(): readonly SignedRow[] {
  const tag = { form: "tag" } as const;
  const both = { by: KEY, attestations: [PROVENANCE, scanOf("LOW", "HIGH")] };
  const bad = { by: KEY, attestations: [scanOf("CRITICAL")], options: {} };
  const mallory = { ...ALICE, identity: "mallory@example.com" };
  return [
    { name: "key-bundle", allowedBy: ["key"], cosign: { by: KEY, options: {} } },
    { name: "key-tag", allowedBy: ["key"], cosign: { by: KEY, options: tag } },
    { name: "key-index", allowedBy: ["key"], cosign: { by: KEY, options: {} }, index: "oci" },
    { name: "key-docker", allowedBy: ["key"], cosign: { by: KEY, options: tag }, index: "docker" },
    { name: "keyless-bundle", allowedBy: ["keyless"], cosign: { by: ALICE, options: {} } },
    { name: "keyless-v2", allowedBy: ["keyless"], cosign: { by: ALICE, options: { log: "v2" } } },
    { name: "keyless-tag", allowedBy: ["keyless"], cosign: { by: ALICE, options: tag } },
    { name: "attested", allowedBy: ["provenance", "scanned"], attests: { ...both, options: {} } },
    {
      name: "attested-tag",
      allowedBy: ["provenance", "scanned"],
      attests: { ...both, options: tag },
    },
    { name: "notation-jws", allowedBy: ["notation"], notation: { format: "jws" } },
    { name: "notation-cose", allowedBy: ["notation"], notation: { format: "cose" } },
    { name: "scanned-critical", allowedBy: [], attests: bad },
    { name: "other-key", allowedBy: [], cosign: { by: { key: "other" }, options: {} } },
    { name: "mallory", allowedBy: [], cosign: { by: mallory, options: {} } },
    { name: "mallory-tag", allowedBy: [], cosign: { by: mallory, options: tag } },
    { name: "stranger", allowedBy: [], notation: { key: STRANGER } },
    { name: "unsigned", allowedBy: [] },
    { name: "unsigned-index", allowedBy: [], index: "oci" },
  ];
}
