import assert from "node:assert";
import t from "tap";
import type { CosignOptions, CosignSigner } from "../support/cosign-cli.ts";
import { CosignCli } from "../support/cosign-cli.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { multiPlatformImage, smallImage } from "../support/image-builder.ts";
import { NotationCli } from "../support/notation-cli.ts";
import type { NotationSigner } from "../support/notation-fixture.ts";
import { mintNotationSigner } from "../support/notation-fixture.ts";
import type { PrivateSigstore } from "../support/private-sigstore.ts";
import { createPrivateSigstore } from "../support/private-sigstore.ts";
import { BUNDLE_V03 } from "../support/sign-bundle.ts";
import { SERVER_AUTH } from "../support/sign-certificates.ts";
import { GOOGLE, kubernetesImage, PROMOTER } from "../support/sign-kubernetes.ts";
import type { RekorBundleJson } from "../support/sign-legacy.ts";
import { editRekorBundle } from "../support/sign-legacy.ts";
import { keyVerifier } from "../support/sign-log.ts";
import {
  asNotation,
  LEGACY_REFERRER,
  NOTATION_SIGNATURE,
  tagOf,
} from "../support/sign-placements.ts";
import { REFERRERS_REGISTRY, ReferrersRegistry } from "../support/sign-registry.ts";
import { SigningRows } from "../support/sign-rows.ts";
import { SLSA_PROVENANCE } from "../support/sign-statements.ts";
import { keyless, keySigner } from "../support/sign-with.ts";
import type { Sign } from "../support/signed-images.ts";
import { addSignedImage } from "../support/signed-images.ts";
import { toolOptions } from "../support/tools.ts";

// What the other tests put Sluice between: real tools sign onto a real registry, and take what
// they and the fixtures have signed.

const ALICE = { identity: "alice@example.com", issuer: "https://issuer.example" };
const WORKFLOW = {
  identity: "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main",
  issuer: "https://token.actions.githubusercontent.com",
};
const KEY = { key: "k1" };
const SIGNER = keySigner();
const OTHER = `sha256:${"0".repeat(64)}`;
const PROVENANCE = {
  buildDefinition: { buildType: "https://example.com/build", externalParameters: {} },
  runDetails: { builder: { id: "https://example.com/builder" } },
};

/** What lies beside an image: tags by their suffix, referrers by their type. */
async function besides(registry: ReferrersRegistry, image: string): Promise<readonly string[]> {
  const [name = "", digest = ""] = image.split("@");
  const base = `${registry.url}/v2/${name.slice(registry.host.length + 1)}`;
  const { tags } = await json<{ readonly tags: readonly string[] }>(`${base}/tags/list`);
  const { manifests } = await json<{
    readonly manifests: readonly { readonly artifactType: string }[];
  }>(`${base}/referrers/${digest}`);
  const prefix = tagOf(digest);
  return [
    ...tags.filter((tag) => tag.startsWith(prefix)).map((tag) => tag.slice(prefix.length)),
    ...manifests.map(({ artifactType }) => artifactType),
  ];
}

async function json<T>(url: string): Promise<T> {
  const response = await fetch(url);
  assert.equal(response.status, 200, url);
  return (await response.json()) as T;
}

t.test("cosign", toolOptions("cosign", REFERRERS_REGISTRY), async (t) => {
  await using registry = await ReferrersRegistry.start();
  await using cosign = await CosignCli.start();

  const rows: [name: string, by: CosignSigner, options: CosignOptions, left: string[]][] = [
    ["keyless, logged", ALICE, {}, [BUNDLE_V03]],
    ["keyless, a workflow", WORKFLOW, {}, [BUNDLE_V03]],
    ["keyless, in the second Rekor", ALICE, { log: "v2" }, [BUNDLE_V03]],
    ["keyless, stamped only", ALICE, { log: "none" }, [BUNDLE_V03]],
    ["keyless, older", ALICE, { form: "tag" }, [".sig"]],
    ["keyless, older, stamped", ALICE, { form: "tag", timestamps: true }, [".sig"]],
    ["keyless, older, a referrer", ALICE, { form: "legacy-referrer" }, [LEGACY_REFERRER]],
    ["with a key", KEY, {}, [BUNDLE_V03]],
    ["with a key, logged", KEY, { log: "v1" }, [BUNDLE_V03]],
    ["with a key, in the second Rekor", KEY, { log: "v2" }, [BUNDLE_V03]],
    ["with a key, older", KEY, { form: "tag" }, [".sig"]],
    ["with a key, older, logged", KEY, { form: "tag", log: "v1" }, [".sig"]],
  ];
  for (const [at, [name, by, options, left]] of rows.entries()) {
    await t.test(`signs ${name}`, async (t) => {
      const image = await registry.push(`app/${at}`, "v1", await smallImage(`cosign-${at}`));
      await cosign.sign(image, by, options);
      t.same(await besides(registry, image), left);
      const verified = await cosign.verify(image, by, options);
      t.equal(verified.code, 0, verified.output);
      const other = "key" in by ? { key: "other" } : { ...by, identity: "mallory@example.com" };
      t.not((await cosign.verify(image, other, options)).code, 0, "nobody else has signed");
    });
  }

  for (const form of ["bundle", "tag"] as const) {
    await t.test(`attests, as a ${form}`, async (t) => {
      const image = await registry.push(`att/${form}`, "v1", await smallImage(`attest-${form}`));
      const attestations = [
        { type: "slsaprovenance1", predicate: PROVENANCE },
        { type: "vuln", predicate: { scanner: { uri: "pkg:example/scanner", result: {} } } },
      ];
      for (const attestation of attestations) {
        await cosign.attest(image, KEY, attestation, { form });
        const verified = await cosign.verifyAttestation(image, KEY, attestation.type, { form });
        t.equal(verified.code, 0, verified.output);
      }
      await cosign.attest(image, ALICE, { type: "custom", predicate: { a: 1 } }, { form });
      const verified = await cosign.verifyAttestation(image, ALICE, "custom", { form });
      t.equal(verified.code, 0, verified.output);
      const left = await besides(registry, image);
      t.same(new Set(left), new Set([form === "tag" ? ".att" : BUNDLE_V03]));
    });
  }

  await t.test("signs an index and its children", async (t) => {
    const artifact = await multiPlatformImage("recursive");
    const index = await registry.push("index", "v1", artifact);
    await cosign.signKeyed(index, "k1", { recursive: true });
    for (const { digest } of artifact.manifests) {
      const verified = await cosign.verify(`${registry.host}/index@${digest}`, KEY);
      t.equal(verified.code, 0, verified.output);
    }
  });
});

t.test("notation", toolOptions("notation", REFERRERS_REGISTRY), async (t) => {
  await using registry = await ReferrersRegistry.start();
  await using notation = await NotationCli.start();
  await notation.addStranger("stranger.test");

  for (const format of ["jws", "cose"] as const) {
    for (const fallbackTag of [false, true]) {
      const name = `${format}-by-${fallbackTag ? "tag" : "api"}`;
      await t.test(`signs: ${name}`, async (t) => {
        const image = await registry.push(name, "v1", await smallImage(`notation-${name}`));
        await notation.sign(image, { format, fallbackTag });
        t.same(await besides(registry, image), [...(fallbackTag ? [""] : []), NOTATION_SIGNATURE]);
        const verified = await notation.verify(image);
        t.equal(verified.code, 0, verified.output);
      });
    }
  }

  await t.test("signs with a chain of certificates", async (t) => {
    const { keys, chainPem } = mintNotationSigner({ key: "p384" });
    await notation.addSigner("acme", { privateKey: keys.privateKey, chainPem });
    const image = await registry.push("chain", "v1", await smallImage("notation-chain"));
    await notation.sign(image, { key: "acme", expiry: "24h", metadata: { build: "12" } });
    const verified = await notation.verify(image);
    t.equal(verified.code, 0, verified.output);
  });

  await t.test("does not take a stranger's", async (t) => {
    const image = await registry.push("stranger", "v1", await smallImage("notation-stranger"));
    await notation.sign(image, { key: "stranger.test" });
    t.not((await notation.verify(image)).code, 0);
  });
});

t.test("notation judges what the fixtures sign", toolOptions("notation"), async (t) => {
  await using notation = await NotationCli.start();
  const signer = mintNotationSigner();
  await notation.trust("acme", signer.rootPem);
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());

  const signedBy = (by: NotationSigner, format: "jws" | "cose", digest?: string): Sign => {
    return ({ mediaType, size, ...image }) => {
      const target = { mediaType, size, digest: digest ?? image.digest };
      const { envelope, mediaType: layer } = by.sign({ format, target });
      return asNotation(envelope, { mediaType: layer, thumbprints: [] });
    };
  };
  const table: [name: string, sign: Sign, counts: boolean][] = [
    ["jws", signedBy(signer, "jws"), true],
    ["cose", signedBy(signer, "cose"), true],
    ["a stranger's", signedBy(mintNotationSigner(), "jws"), false],
    ["of another image", signedBy(signer, "cose", OTHER), false],
  ];
  for (const [at, [name, sign, counts]] of table.entries()) {
    await t.test(`${counts ? "takes" : "refuses"} ${name}`, async (t) => {
      const options = { repository: `fixtures/${at}`, tag: "v1", signatures: [sign] };
      const { repository, digest } = await addSignedImage(upstream, options);
      const verified = await notation.verify(`${upstream.host}/${repository}@${digest}`);
      t.equal(verified.code === 0, counts, verified.output);
    });
  }
});

t.test("cosign judges what the fixtures sign", toolOptions("cosign"), async (t) => {
  await using cosign = await CosignCli.start();
  const { sigstore } = cosign.services;
  const foreign = await createPrivateSigstore("http://foreign.test");
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());

  for (const row of [...honest(sigstore), ...forged(sigstore, foreign)]) {
    await t.test(`${row.counts ? "takes" : "refuses"} ${row.name}`, async (t) => {
      const repository = `fixtures/${row.name.replaceAll(/[^a-z0-9]+/g, "-")}`;
      const signatures = [row.sign];
      const { digest } = await addSignedImage(upstream, { repository, tag: "v1", signatures });
      const image = `${upstream.host}/${repository}@${digest}`;
      const by = row.isKeyed === true ? { publicKeyPem: SIGNER.publicKeyPem } : ALICE;
      const { options = {} } = row;
      const verified =
        row.attests === undefined
          ? await cosign.verify(image, by, options)
          : await cosign.verifyAttestation(image, by, row.attests, options);
      t.equal(verified.code === 0, row.counts, verified.output);
    });
  }

  await t.test("takes an image as Kubernetes signs them, and each of its children", async (t) => {
    const index = await addSignedImage(
      upstream,
      kubernetesImage(sigstore, { repository: "kube-apiserver", tag: "v1.30.1" }),
    );
    const promoter = { identity: PROMOTER, issuer: GOOGLE };
    for (const { digest } of [index, ...index.children]) {
      const image = `${upstream.host}/kube-apiserver@${digest}`;
      const verified = await cosign.verify(image, promoter, { form: "tag" });
      t.equal(verified.code, 0, verified.output);
    }
  });
});

interface Row {
  readonly name: string;
  readonly counts: boolean;
  readonly sign: Sign;
  readonly isKeyed?: boolean;
  /** The type, for an attestation. */
  readonly attests?: string;
  readonly options?: CosignOptions;
}

function honest(sigstore: PrivateSigstore): readonly Row[] {
  const rows = new SigningRows(sigstore);
  const by = keyless(ALICE.identity, ALICE.issuer);
  const tag = { form: "tag" } as const;
  const stampedOnly = { by, log: "none" } as const;
  const slsa = { predicateType: SLSA_PROVENANCE, predicate: PROVENANCE };
  const table: [name: string, sign: Sign, how?: Partial<Row>][] = [
    ["a bundle, logged", rows.bundle({ by })],
    ["a bundle in the second Rekor", rows.bundle({ by, log: "v2" }), { options: { log: "v2" } }],
    ["a bundle, stamped only", rows.bundle(stampedOnly), { options: { log: "none" } }],
    ["a bundle of before 2023's issuer", rows.bundle({ by: { ...by, issuerForm: "legacy" } })],
    ["a bundle with a key", rows.bundle({ by: SIGNER }), { isKeyed: true }],
    ["an attestation", rows.bundle({ by, ...slsa }), { attests: SLSA_PROVENANCE }],
    ["an older signature", rows.signatureTag([{ by }]), { options: tag }],
    [
      "an older signature of years ago",
      rows.signatureTag([{ by, at: new Date("2022-06-01T00:00:00Z") }]),
      { options: tag },
    ],
    [
      "an older signature, stamped only",
      rows.signatureTag([stampedOnly]),
      { options: { ...tag, log: "none" } },
    ],
    [
      "an older signature, logged and stamped",
      rows.signatureTag([{ by, timestamp: true }]),
      { options: { ...tag, timestamps: true } },
    ],
    [
      "an older signature with a key",
      rows.signatureTag([{ by: SIGNER }]),
      { isKeyed: true, options: tag },
    ],
    [
      "an older signature after a forged one",
      rows.signatureTag([{ by, digest: OTHER }, { by }]),
      { options: tag },
    ],
    [
      "an older signature as a referrer",
      rows.legacyReferrer([{ by }]),
      { options: { form: "legacy-referrer" } },
    ],
    [
      "an older attestation",
      rows.attestationTag([{ by, ...slsa }]),
      { attests: SLSA_PROVENANCE, options: tag },
    ],
    [
      "an older attestation, stamped only",
      rows.attestationTag([{ ...stampedOnly, ...slsa }]),
      { attests: SLSA_PROVENANCE, options: { ...tag, log: "none" } },
    ],
  ];
  return table.map(([name, sign, how]) => ({ name, counts: true, sign, ...how }));
}

function forged(sigstore: PrivateSigstore, foreign: PrivateSigstore): readonly Row[] {
  const rows = new SigningRows(sigstore);
  const by = keyless(ALICE.identity, ALICE.issuer);
  const certificateAt = new Date(Date.now() - 3_600_000);
  const logVerifier = keyVerifier(keySigner().publicKey);
  const tag = { options: { form: "tag" } } as const;
  const table: [name: string, sign: Sign, how?: Partial<Row>][] = [
    ["of another image", rows.bundle({ by, digest: OTHER })],
    ["of a stranger's certificate", rows.bundle({ by, issuedBy: foreign })],
    ["in a stranger's log", rows.bundle({ by, loggedBy: foreign })],
    [
      "stamped by a stranger",
      rows.bundle({ by, log: "none", stampedBy: foreign }),
      { options: { log: "none" } },
    ],
    ["of another issuer", rows.bundle({ by: { ...by, issuer: "https://evil.example" } })],
    ["of another payload type", rows.bundle({ by, payloadType: "application/json" })],
    ["after its certificate ended", rows.bundle({ by, certificateAt })],
    ["of a certificate that was not logged", rows.bundle({ by: { ...by, isLogged: false } })],
    ["with another key than its certificate's", rows.bundle({ by, signingKey: SIGNER.privateKey })],
    ["of another key in its log entry", rows.bundle({ by, logVerifier })],
    ["for a server", rows.bundle({ by: { ...by, usages: [SERVER_AUTH] } })],
    ["older, of another image", rows.signatureTag([{ by, digest: OTHER }]), tag],
    ["older, of a stranger", rows.signatureTag([{ by, issuedBy: foreign }]), tag],
    [
      "older, of another time than its entry's",
      rows.signatureTag([{ by, edit: (layer) => editRekorBundle(layer, antedate) }]),
      tag,
    ],
  ];
  return table.map(([name, sign, how]) => {
    return { name: `a signature ${name}`, counts: false, sign, ...how };
  });
}

function antedate({ Payload }: RekorBundleJson): void {
  Payload.integratedTime -= 60;
}
