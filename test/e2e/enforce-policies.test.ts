import type { Test } from "tap";
import t from "tap";
import type { AskExample } from "../support/enforce-examples.ts";
import { startExample } from "../support/enforce-examples.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { mintNotationSigner } from "../support/notation-fixture.ts";
import { byKey, byOtherKey, key, messageOf, otherKey, sigstore } from "../support/policy-rig.ts";
import { GOOGLE, kubernetesImage, STAGER } from "../support/sign-kubernetes.ts";
import { asNotation } from "../support/sign-placements.ts";
import { SigningRows } from "../support/sign-rows.ts";
import { SLSA_PROVENANCE, VULNERABILITIES } from "../support/sign-statements.ts";
import { keyless } from "../support/sign-with.ts";
import type { AddedImage, Sign } from "../support/signed-images.ts";
import { addSignedImage } from "../support/signed-images.ts";

// The policies that people start from, as they stand in deploy/policies, do what they say.

t.setTimeout(120_000);

const PLATFORMS = ["linux/amd64", "linux/arm64"];
const GITHUB = "https://token.actions.githubusercontent.com";
const rows = new SigningRows(sigstore);

/** What is asked for, and its status; a text is part of the message or of the warning. */
type Expected = readonly [image: string, status: number, says?: string | RegExp];

async function expectAnswers(
  t: Test,
  ask: AskExample,
  expected: readonly Expected[],
): Promise<void> {
  for (const [image, status, says] of expected) {
    const response = await ask(image);
    t.equal(response.status, status, image);
    const said = response.ok ? (response.headers.get("warning") ?? "") : await messageOf(response);
    t.match(said, says ?? (response.ok ? /^$/ : /policy/), image);
  }
}

function adder(upstream: FakeUpstream, repository: string, platforms: readonly string[] = []) {
  return async (tag: string, ...signatures: readonly Sign[]): Promise<AddedImage> =>
    await addSignedImage(upstream, { repository, tag, platforms, signatures });
}

t.test("key.yaml", async (t) => {
  let base = "";
  const children: Record<string, string> = {};
  const ask = await startExample(t, {
    name: "key.yaml",
    files: { "cosign.pub": key.publicKeyPem },
    fill: async (upstream) => {
      const image = adder(upstream, "prod/app");
      await image("signed", byKey);
      await image("unsigned");
      await image("theirs", byOtherKey);
      const half = await adder(upstream, "prod/app", PLATFORMS)("half", byKey);
      const whole = await addSignedImage(upstream, {
        repository: "prod/app",
        tag: "whole",
        platforms: PLATFORMS,
        signatures: [byKey],
        childSignatures: [byKey],
      });
      children["half"] = half.children[0]?.digest ?? "";
      children["whole"] = whole.children[0]?.digest ?? "";
      await adder(upstream, "dev/app")("unsigned");
      await adder(upstream, "dev/app")("signed", byKey);
      await adder(upstream, "stage/app")("signed", byKey);
      base = (await adder(upstream, "library/base")("v1")).digest;
    },
  });
  await expectAnswers(t, ask, [
    ["team.example/prod/app:signed", 200],
    ["team.example/prod/app:unsigned", 403, /rule "production" denies .*not signed by key/],
    ["team.example/prod/app:theirs", 403, /not signed by key cosign\.pub/],
    ["team.example/prod/app:half", 200],
    [`team.example/prod/app@${children["half"]}`, 403],
    ["team.example/prod/app:whole", 200],
    [`team.example/prod/app@${children["whole"]}`, 200],
    ["team.example/dev/app:unsigned", 200, /^299 - ".*'development' would deny/],
    ["team.example/dev/app:signed", 200],
    ["team.example/stage/app:signed", 403, "no rule names this repository"],
    ["docker.io/library/base:v1", 403, /digest/],
    [`docker.io/library/base@${base}`, 200],
  ]);
});

t.test("kubernetes.yaml", async (t) => {
  let child = "";
  const ask = await startExample(t, {
    name: "kubernetes.yaml",
    trustedRootJson: sigstore.trustedRootJson,
    fill: async (upstream) => {
      const repository = "kube-apiserver";
      const at = { repository, tag: "v1.30.1" };
      const index = await addSignedImage(upstream, kubernetesImage(sigstore, at));
      child = index.children[1]?.digest ?? "";
      const staged = rows.signatureTag([{ by: keyless(STAGER, GOOGLE) }]);
      await adder(upstream, repository)("staged", staged);
      await adder(upstream, repository)("unsigned");
      await adder(upstream, "library/any")("v1");
    },
  });
  await expectAnswers(t, ask, [
    [`registry.k8s.io/kube-apiserver@${child}`, 200],
    ["registry.k8s.io/kube-apiserver:v1.30.1", 200],
    ["registry.k8s.io/kube-apiserver:staged", 403, /krel-trust@.*krel-staging@/],
    ["registry.k8s.io/kube-apiserver:unsigned", 403, /krel-trust@/],
    ["docker.io/library/any:v1", 200],
  ]);
});

t.test("github-actions.yaml", async (t) => {
  const workflow = (ref: string, owner = "acme"): string =>
    `https://github.com/${owner}/app/.github/workflows/release.yml@${ref}`;
  const signed = (identity: string, issuer = GITHUB): Sign =>
    rows.bundle({ by: keyless(identity, issuer) });
  const provenance = (identity: string, uri: string): Sign =>
    rows.bundle({
      by: keyless(identity, GITHUB),
      predicateType: SLSA_PROVENANCE,
      predicate: {
        buildDefinition: { resolvedDependencies: [{ uri }] },
        runDetails: { builder: { id: "https://github.com/actions/runner/github-hosted" } },
      },
    });
  const tag = workflow("refs/tags/v1.2.3");
  const source = "git+https://github.com/acme/app@refs/tags/v1.2.3";
  const built = provenance(tag, source);
  const branch = workflow("refs/heads/main");
  const ask = await startExample(t, {
    name: "github-actions.yaml",
    trustedRootJson: sigstore.trustedRootJson,
    fill: async (upstream) => {
      const image = adder(upstream, "acme/app");
      await image("v1.2.3", signed(tag), built);
      await image("latest", signed(tag), built);
      await image("v1.0.1", signed(branch), built);
      await image("v1.0.2", signed(tag));
      await image("v1.0.3", built);
      await image("v1.0.4", signed(tag), provenance(branch, source));
      await image("v1.0.5", signed(tag), provenance(tag, "git+https://github.com/evil/app@main"));
      await image("v1.0.6", signed(workflow("refs/tags/v1", "acme-evil")), built);
      await image("v1.0.7", signed(tag, GOOGLE), built);
    },
  });
  await expectAnswers(t, ask, [
    ["ghcr.io/acme/app:v1.2.3", 200],
    ["ghcr.io/acme/app:latest", 403, "the tag latest"],
    ["ghcr.io/acme/app:v1.0.1", 403, "refs/heads/main"],
    ["ghcr.io/acme/app:v1.0.2", 403, SLSA_PROVENANCE],
    ["ghcr.io/acme/app:v1.0.3", 403, "not signed by"],
    ["ghcr.io/acme/app:v1.0.4", 403, SLSA_PROVENANCE],
    ["ghcr.io/acme/app:v1.0.5", 403, /evil|source/],
    ["ghcr.io/acme/app:v1.0.6", 403, "acme-evil"],
    ["ghcr.io/acme/app:v1.0.7", 403, GOOGLE],
  ]);
});

t.test("notation.yaml", async (t) => {
  const subjectDN = "C=US, ST=WA, O=acme, OU=release, CN=app";
  const signer = mintNotationSigner({ subjectDN });
  const other = mintNotationSigner({ like: signer, subjectDN: "C=US, ST=WA, O=acme, OU=intern" });
  const by = (who: typeof signer, format: "jws" | "cose"): Sign => {
    return (target) => {
      const { digest, size } = target;
      const signed = who.sign({ format, target: { mediaType: target.mediaType, digest, size } });
      return asNotation(signed.envelope, { mediaType: signed.mediaType });
    };
  };
  const ask = await startExample(t, {
    name: "notation.yaml",
    files: { "ca/acme.pem": signer.rootPem },
    fill: async (upstream) => {
      const image = adder(upstream, "app");
      await image("jws", by(signer, "jws"));
      await image("cose", by(signer, "cose"));
      await image("intern", by(other, "jws"));
      await image("stranger", by(mintNotationSigner({ subjectDN }), "jws"));
      await image("cosign", byKey);
    },
  });
  await expectAnswers(t, ask, [
    ["team.example/app:jws", 200],
    ["team.example/app:cose", 200],
    ["team.example/app:intern", 403, /OU=intern/],
    ["team.example/app:stranger", 403],
    ["team.example/app:cosign", 403],
  ]);
});

t.test("vulnerabilities.yaml", async (t) => {
  const scan = (by: typeof key, daysAgo: number, ...severities: readonly string[]): Sign => {
    const at = new Date(Date.now() - daysAgo * 86_400_000).toISOString();
    const found = severities.map((Severity, id) => ({ VulnerabilityID: `CVE-${id}`, Severity }));
    return rows.bundle({
      by,
      predicateType: VULNERABILITIES,
      predicate: {
        scanner: {
          uri: "trivy",
          result: { SchemaVersion: 2, Results: [{ Vulnerabilities: found }] },
        },
        metadata: { scanFinishedOn: at },
      },
    });
  };
  const ask = await startExample(t, {
    name: "vulnerabilities.yaml",
    files: { "cosign.pub": key.publicKeyPem, "scanner.pub": otherKey.publicKeyPem },
    fill: async (upstream) => {
      const image = adder(upstream, "prod/app");
      await image("good", byKey, scan(otherKey, 1, "LOW", "HIGH"));
      await image("again", byKey, scan(otherKey, 9), scan(otherKey, 1));
      await image("old", byKey, scan(otherKey, 8));
      await image("grave", byKey, scan(otherKey, 2), scan(otherKey, 1, "CRITICAL"));
      await image("own", byKey, scan(key, 1));
      await image("unscanned", byKey);
      await image("unsigned", scan(otherKey, 1));
    },
  });
  await expectAnswers(t, ask, [
    ["team.example/prod/app:good", 200],
    ["team.example/prod/app:again", 200],
    ["team.example/prod/app:old", 403, "is older than 7 d"],
    ["team.example/prod/app:grave", 403, "found 1 critical"],
    ["team.example/prod/app:own", 403, "scanner.pub"],
    ["team.example/prod/app:unscanned", 403, "scanner.pub"],
    ["team.example/prod/app:unsigned", 403, "not signed by key cosign.pub"],
  ]);
});

t.test("exceptions.yaml", async (t) => {
  const day = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
  const exception = { digest: `sha256:${"0".repeat(64)}`, until: day };
  const ask = await startExample(t, {
    name: "exceptions.yaml",
    files: { "cosign.pub": key.publicKeyPem, "stolen.pub": otherKey.publicKeyPem },
    exception,
    fill: async (upstream) => {
      const billing = adder(upstream, "prod/billing");
      exception.digest = (await billing("legacy")).digest;
      await billing("newer");
      await adder(upstream, "prod/app")("signed", byKey);
      await adder(upstream, "prod/app")("stolen", byOtherKey);
      await adder(upstream, "dev/app")("stolen", byOtherKey);
      await adder(upstream, "dev/app")("unsigned");
    },
  });
  await expectAnswers(t, ask, [
    ["team.example/prod/billing:legacy", 200],
    ["team.example/prod/billing:newer", 403, "not signed by key cosign.pub"],
    ["team.example/prod/app:signed", 200],
    ["team.example/prod/app:stolen", 403, "deny list"],
    ["team.example/dev/app:stolen", 403, "deny list"],
    ["team.example/dev/app:unsigned", 200],
  ]);
});
