import t from "tap";
import {
  isArtefactIndex,
  isReferrersTag,
  isSignatureArtefact,
} from "../../server/oci/artefacts.ts";
import { MEDIA_TYPES } from "../../server/oci/media-types.ts";
import type { Inspection } from "../../server/oci/strict-manifest.ts";
import { looksLikeManifest } from "../../server/oci/strict-manifest.ts";
import {
  BUNDLE,
  CONFIG,
  DIGEST,
  descriptor,
  image,
  index,
  inspect,
  LAYER,
  withMember,
} from "../support/manifest-documents.ts";

const { ociManifest, ociIndex } = MEDIA_TYPES;

t.test("bytes that some client takes for a manifest look like one", (t) => {
  for (const text of [
    JSON.stringify(image()),
    JSON.stringify(index()),
    JSON.stringify({ blobs: [descriptor(LAYER)] }),
    JSON.stringify({ Layers: [{ Digest: DIGEST }] }),
    JSON.stringify({ "layer\u017f": [{ digest: DIGEST }] }),
    JSON.stringify({ config: { digest: DIGEST } }),
    JSON.stringify({ schemaVersion: 1, fsLayers: [{ blobSum: DIGEST }], signatures: [] }),
    JSON.stringify({ MediaType: ociIndex }),
    JSON.stringify({ mediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws" }),
    JSON.stringify({ mediaType: ociManifest.toUpperCase() }),
    ` \n\t${JSON.stringify(image())}`,
    `\ufeff${JSON.stringify(image())}`,
    `${" ".repeat(100_000)}${JSON.stringify(image())}`,
    `${JSON.stringify(image())}\ntrailing`,
    withMember({ layers: [] }, `"layers":[{"digest":"${DIGEST}"}]`),
    withMember({ x: 1, layers: [] }, `"\\u006cayers":[{"digest":"${DIGEST}"}]`),
    `{"x":${"[".repeat(200)}${"]".repeat(200)},"manifests":[]}`,
    `{${Array.from({ length: 150_000 }, (_, number) => `"${number}":1`).join(",")},"layers" :[]}`,
  ]) {
    t.equal(looksLikeManifest(Buffer.from(text)), true, text.slice(0, 100));
  }
  t.end();
});

t.test("configs, statements, bills of materials, bundles and layers do not", (t) => {
  const config = {
    architecture: "amd64",
    os: "linux",
    config: { Env: ["PATH=/bin"], Cmd: ["sh"], Labels: { layers: "3" }, Image: DIGEST },
    rootfs: { type: "layers", diff_ids: [DIGEST] },
    history: [{ created_by: "sh" }],
  };
  const subject = [{ name: "app", digest: { sha256: "a".repeat(64) } }];
  for (const document of [
    config,
    {},
    { _type: "https://in-toto.io/Statement/v1", subject, predicateType: "x", predicate: {} },
    { spdxVersion: "SPDX-2.3", packages: [{ checksums: [] }], files: [] },
    { bomFormat: "CycloneDX", specVersion: "1.5", components: [{ hashes: [] }], metadata: {} },
    { mediaType: BUNDLE, verificationMaterial: {}, dsseEnvelope: { payload: "", signatures: [] } },
    { payloadType: "application/vnd.in-toto+json", payload: "", signatures: [{ sig: "" }] },
    { critical: { image: { "docker-manifest-digest": DIGEST } }, optional: null },
    { name: "chart", version: "1.2.3", config: {} },
    { version: 8, sources: {}, layers: [{ id: "water", type: "fill" }] },
  ]) {
    t.equal(
      looksLikeManifest(Buffer.from(JSON.stringify(document))),
      false,
      JSON.stringify(document),
    );
  }
  for (const bytes of [[], [0x1f, 0x8b, 8], [0x28, 0xb5, 0x2f, 0xfd], [0x5b, 0x5d], [0x7b]]) {
    t.equal(looksLikeManifest(Buffer.from(bytes)), false);
  }
  t.end();
});

t.test("what carries only small signatures is a signature artefact", (t) => {
  const ofTypes = (...types: readonly string[]): object =>
    image({ layers: types.map((type) => descriptor(type)) });
  for (const type of [
    BUNDLE,
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.sigstore.bundle.v0.2+json",
    "application/vnd.dev.cosign.simplesigning.v1+json",
    "application/vnd.dsse.envelope.v1+json",
    "application/jose+json",
    "application/cose",
    "application/vnd.in-toto+json",
    "application/spdx+json",
    "text/spdx+json",
    "text/spdx",
    "application/vnd.cyclonedx+json",
    "application/vnd.cyclonedx+xml",
  ]) {
    t.equal(isSignatureArtefact(inspect(ofTypes(type, type))), true, type);
    t.equal(isSignatureArtefact(inspect(ofTypes(type, LAYER))), false, `${type} and a layer`);
  }
  const sized = (...sizes: readonly number[]): Inspection =>
    inspect(image({ layers: sizes.map((size) => ({ ...descriptor(BUNDLE), size })) }));
  const MIB = 1_048_576;
  t.equal(isSignatureArtefact(sized(16 * MIB, 16 * MIB)), true);
  t.equal(isSignatureArtefact(sized(16 * MIB + 1)), false);
  t.equal(isSignatureArtefact(sized(16 * MIB, 16 * MIB, 1)), false);
  t.equal(isSignatureArtefact(sized()), false, "without a layer");
  const config = { ...descriptor(CONFIG), size: MIB + 1 };
  const layers = [descriptor(BUNDLE)];
  t.equal(isSignatureArtefact(inspect(image({ config, layers }))), false);
  const foreign = [descriptor(BUNDLE, { urls: ["https://elsewhere.example"] })];
  t.equal(isSignatureArtefact(inspect(image({ layers: foreign }))), false);
  t.equal(isSignatureArtefact(inspect(image())), false);
  t.equal(isSignatureArtefact(inspect(index(), ociIndex)), false);
  t.equal(isSignatureArtefact(inspect(image({ layers, manifests: [] }))), false, "malformed");
  t.end();
});

t.test("a list of referrers is told from an index of images, and by tag", (t) => {
  const listOf = (...entries: readonly object[]): Inspection =>
    inspect(index({ manifests: entries.map((entry) => descriptor(ociManifest, entry)) }), ociIndex);
  const notation = { artifactType: "application/vnd.cncf.notary.signature" };
  t.equal(isArtefactIndex(listOf({ artifactType: BUNDLE }, notation)), true);
  t.equal(isArtefactIndex(listOf()), true);
  t.equal(isArtefactIndex(listOf({ artifactType: BUNDLE }, {})), false);
  t.equal(isArtefactIndex(listOf({ artifactType: "application/vnd.acme.tool" })), false);
  const platform = { os: "linux", architecture: "amd64" };
  t.equal(isArtefactIndex(listOf({ artifactType: BUNDLE, platform })), false);
  t.equal(isArtefactIndex(inspect(image())), false);
  const hex = "0123456789abcdef".repeat(4);
  t.equal(isReferrersTag(`sha256-${hex}`), true);
  t.equal(isReferrersTag(`sha256-${hex}.sig`), false);
  for (const tag of ["v1", `sha256-${hex.slice(1)}`, `sha256-${hex.toUpperCase()}`]) {
    t.equal(isReferrersTag(tag), false);
  }
  t.end();
});
