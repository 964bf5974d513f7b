import t from "tap";
import { Layout } from "../../server/air-gap/layout.ts";
import { openLayoutSource } from "../../server/air-gap/layout-source.ts";
import { MEDIA_TYPES } from "../../server/oci/media-types.ts";
import { digestOf } from "../../storage/digest.ts";

const BYTES = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: "application/x", digest: digestOf(Buffer.from("{}")), size: 2 },
    layers: [],
  }),
);
const DIGEST = digestOf(BYTES);

function folderWith(mediaType: string): NonNullable<Parameters<typeof t.testdir>[0]> {
  const annotations = { "io.containerd.image.name": "team.example/team/app:v1" };
  const entry = { mediaType, digest: DIGEST, size: BYTES.byteLength, annotations };
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [entry] };
  return {
    "oci-layout": '{"imageLayoutVersion":"1.0.0"}',
    "index.json": JSON.stringify(index),
    blobs: { sha256: { [DIGEST.slice("sha256:".length)]: BYTES } },
  };
}

t.test("a manifest is taken under a media type, and under nothing else", async (t) => {
  const good = t.testdir(folderWith(MEDIA_TYPES.ociManifest));
  await using source = await openLayoutSource(good);
  const layout = await Layout.read(source);
  t.match(await layout.manifest(DIGEST), { mediaType: MEDIA_TYPES.ociManifest });
});

for (const more of [";\r\nx-more: 1", ";\u0100", `+${"x".repeat(200)}`]) {
  t.test(`${JSON.stringify(more.slice(0, 20))} cannot become a header`, async (t) => {
    const bad = t.testdir(folderWith(`${MEDIA_TYPES.ociManifest}${more}`));
    await using source = await openLayoutSource(bad);
    const layout = await Layout.read(source);
    await t.rejects(layout.manifest(DIGEST), { message: /is no media type/ });
  });
}
