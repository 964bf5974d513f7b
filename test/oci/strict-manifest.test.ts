import t from "tap";
import { MEDIA_TYPES } from "../../server/oci/media-types.ts";
import { inspectManifest, looksLikeManifest } from "../../server/oci/strict-manifest.ts";
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
import { pick, runSeed, seeded } from "../support/seeded.ts";

const { ociManifest, ociIndex, ociArtifact, dockerManifest, dockerList } = MEDIA_TYPES;

t.test("images, indexes and artifacts are read, with what policy asks of them", (t) => {
  const subject = descriptor(ociManifest);
  const annotations = { Layers: "x", "dev.sigstore.cosign/bundle": "{}" };
  const layers = [descriptor(BUNDLE, { annotations })];
  t.match(inspect(image({ mediaType: ociManifest, artifactType: BUNDLE, subject, layers })), {
    problem: undefined,
    kind: "image",
    children: [],
    hasForeignLayers: false,
    hasPlatforms: false,
    subject: DIGEST,
    artifactType: BUNDLE,
    config: { mediaType: CONFIG, sizeBytes: 7 },
    layers: [{ mediaType: BUNDLE, digest: DIGEST, sizeBytes: 7, annotations }],
  });
  t.match(inspect(index(), ociIndex), {
    problem: undefined,
    kind: "index",
    hasPlatforms: true,
    children: [{ digest: DIGEST, sizeBytes: 7, mediaType: ociManifest, hasPlatform: true }],
    layers: [],
  });
  const blobs = [descriptor("application/spdx+json")];
  t.match(inspect({ mediaType: ociArtifact, blobs, subject }, ociArtifact), {
    problem: undefined,
    kind: "artifact",
    subject: DIGEST,
    layers: [{ mediaType: "application/spdx+json" }],
  });
  for (const [document, mediaType] of [
    [image({ mediaType: dockerManifest }), dockerManifest],
    [index({ mediaType: dockerList }), dockerList],
    [image(), `${ociManifest}; charset=utf-8`],
    [image(), ociManifest.toUpperCase()],
    [image({ layers: [] }), ociManifest],
    [image({ layers: null, subject: null, annotations: null }), ociManifest],
    [index({ manifests: [] }), ociIndex],
    [{ blobs: null }, ociArtifact],
    [image({ somebodys: { Own: { Config: 1 } } }), ociManifest],
  ] as const) {
    t.equal(inspect(document, mediaType).problem, undefined, JSON.stringify(document));
  }
  t.end();
});

t.test("what clients could read in two ways is refused", (t) => {
  const urls = ["https://evil.example"];
  const cases: readonly [document: unknown, mediaType: string, says: RegExp][] = [
    [image({ manifests: [] }), ociManifest, /image .* has manifests/],
    [index({ layers: [] }), ociIndex, /index .* has layers/],
    [index({ config: descriptor(CONFIG) }), ociIndex, /index .* has config/],
    [image({ blobs: [] }), ociManifest, /blobs/],
    [{ blobs: [], layers: [] }, ociArtifact, /artifact .* has layers/],
    [image({ mediaType: ociIndex }), ociManifest, /says that it is .*index.* served as/],
    [image({ mediaType: dockerManifest }), ociManifest, /served as/],
    [image({ mediaType: ociManifest.toUpperCase() }), ociManifest, /served as/],
    [image({ mediaType: null }), ociManifest, /served as/],
    [image(), ociIndex, /index .* has (config|layers)/],
    [index(), ociManifest, /image .* has manifests/],
    [{}, ociManifest, /has no layers/],
    [{ layers: [] }, ociManifest, /config/],
    [{ schemaVersion: 2 }, ociIndex, /has no manifests/],
    [image({ schemaVersion: 1 }), ociManifest, /schema 1/],
    [image({ schemaVersion: "2" }), ociManifest, /schemaVersion/],
    [image({ fsLayers: [] }), ociManifest, /schema 1/],
    [image(), "application/vnd.docker.distribution.manifest.v1+prettyjws", /schema 1/],
    [image(), "application/vnd.docker.distribution.manifest.v1+json", /schema 1/],
    [image(), "application/json", /unknown/],
    [image(), "", /unknown/],
    [image(), "application/vnd.oci.image.manifest.v2+json", /unknown/],
    [image({ layers: {} }), ociManifest, /not a list/],
    [image({ layers: [null] }), ociManifest, /no descriptor/],
    [image({ layers: [[]] }), ociManifest, /no descriptor/],
    [image({ config: [] }), ociManifest, /no descriptor/],
    [image({ config: null }), ociManifest, /no descriptor/],
    [index({ manifests: "x" }), ociIndex, /not a list/],
    [image({ subject: "x" }), ociManifest, /subject/],
    [image({ artifactType: 1 }), ociManifest, /artifactType/],
    [image({ layers: [descriptor(LAYER, { urls: "x" })] }), ociManifest, /urls/],
    [image({ layers: [{ ...descriptor(LAYER), digest: "sha256:AB" }] }), ociManifest, /digest/],
    [image({ layers: [{ ...descriptor(LAYER), mediaType: 1 }] }), ociManifest, /media type/],
    [image({ layers: [descriptor(LAYER, { annotations: [] })] }), ociManifest, /annotations/],
    [image({ layers: [descriptor(LAYER, { annotations: { a: 1 } })] }), ociManifest, /annotations/],
    [image({ layers: [descriptor(LAYER, { Urls: urls })] }), ociManifest, /'Urls' as urls/],
    [index({ manifests: [descriptor(ociManifest, { Digest: DIGEST })] }), ociIndex, /'Digest' as/],
    [image({ Layers: [] }), ociManifest, /'Layers' as layers/],
    [image({ MANIFESTS: [] }), ociManifest, /as manifests/],
    [image({ "layer\u017f": [] }), ociManifest, /as layers/],
    [image({ "manife\u017ft\u017f": [] }), ociManifest, /as manifests/],
    ["\ufeff{}", ociManifest, /byte order mark/],
    ["", ociManifest, /not a JSON object/],
    ["[]", ociManifest, /not a JSON object/],
    ["null", ociManifest, /not a JSON object/],
    ['"x"', ociManifest, /not a JSON object/],
    [`${JSON.stringify(image())}x`, ociManifest, /not a JSON object/],
  ];
  for (const [document, mediaType, says] of cases) {
    const { problem, children, layers } = inspect(document, mediaType);
    t.match(problem, says, `${JSON.stringify(document)} as ${mediaType}`);
    t.strictSame([children, layers], [[], []], "and nothing of it is believed");
  }
  t.match(inspectManifest(Buffer.from([0x7b, 0xff, 0x7d]), ociManifest).problem, /UTF-8/);
  for (const size of [-1, 0.5, 2 ** 53, "7", null, undefined]) {
    const layers = [{ ...descriptor(LAYER), size }];
    t.match(inspect(image({ layers })).problem, /size/, `size ${size}`);
  }
  const sized = JSON.stringify(image()).replaceAll(":7", ":1e400");
  t.match(inspect(sized).problem, /size/);
  t.end();
});

t.test("a member that is there twice is refused, at any depth and however it is written", (t) => {
  const cases: readonly string[] = [
    withMember(image(), '"layers":[]'),
    withMember(image(), '"\\u006cayers":[]'),
    withMember(image(), '"x":{"a":1,"b":{},"a":2}'),
    withMember(image(), '"x":[{"a":1},{"a":[],"\\u0061":2}]'),
    withMember(image(), '"annotations":{"a\\\\":"1","a\\\\":"2"}'),
    withMember(image(), '"annotations":{"\\ud800":"1","\\udfff":"2"}'),
    withMember(image(), '"__proto__":{},"__proto__":{}'),
    withMember(image(), '"":1,"":2'),
    withMember(image(), '"x":"\\"","y":{"a":1,"a":2}'),
  ];
  for (const text of cases) {
    t.doesNotThrow(() => JSON.parse(text));
    t.match(inspect(text).problem, /twice/, text);
  }
  for (const member of [
    '"x":[{"a":1},{"a":2}],"y":{"a":"a"}',
    '"x":["a","a"],"y":"y"',
    '"annotations":{"a":"{\\"a\\":1,\\"a\\":2}","b":"a","B":"\\\\"}',
    '"x":{"a":{"a":{"a":1}}}',
    `"x":[${'"a",'.repeat(150_000)}"a"]`,
    '"__proto__":{"layers":[]}',
  ]) {
    t.equal(inspect(withMember(image(), member)).problem, undefined, member.slice(0, 100));
  }
  t.end();
});

t.test("a bomb is refused, and costs no stack", (t) => {
  const deep = (open: string, close: string): string =>
    withMember(image(), `"x":${open.repeat(100_000)}1${close.repeat(100_000)}`);
  t.match(inspect(deep("[", "]")).problem, /deeper/);
  t.match(inspect(deep('{"a":', "}")).problem, /deeper/);
  t.match(inspect("[".repeat(4_000_000)).problem, /deeper/);
  const many = Array.from({ length: 300_000 }, (_, number) => `"${number}":1`).join(",");
  t.match(inspect(withMember(image(), many)).problem, /members/);
  t.match(inspect(`"${"\\".repeat(3_000_000)}`).problem, /not a JSON object/);
  const layers = Array.from({ length: 10_001 }, () => descriptor(LAYER));
  t.match(inspect(image({ layers })).problem, /list of at most/);
  t.equal(inspect(image({ layers: layers.slice(1) })).problem, undefined);
  for (const text of [deep("[", "]"), deep('{"a":', "}"), `{"a":${"[".repeat(4_000_000)}`]) {
    t.type(looksLikeManifest(Buffer.from(text)), "boolean");
  }
  t.end();
});

t.test("descriptors with urls are told of, wherever they are", (t) => {
  const foreign = descriptor(LAYER, { urls: ["https://elsewhere.example/layer"] });
  t.equal(inspect(image({ layers: [descriptor(LAYER), foreign] })).hasForeignLayers, true);
  t.equal(inspect(image({ config: foreign })).hasForeignLayers, true);
  t.equal(inspect(index({ manifests: [foreign] }), ociIndex).hasForeignLayers, true);
  t.equal(inspect({ blobs: [foreign] }, ociArtifact).hasForeignLayers, true);
  const empty = descriptor(LAYER, { urls: [] });
  t.equal(inspect(image({ layers: [empty] })).hasForeignLayers, false);
  t.end();
});

/** Members and values to make documents of that clients may read differently. */
const KEYS = [
  "schemaVersion",
  "mediaType",
  "config",
  "layers",
  "manifests",
  "blobs",
  "subject",
  "annotations",
  "Layers",
  "layer\\u017f",
  "fsLayers",
  "__proto__",
  "constructor",
  "digest",
  "x",
];
const VALUES = [
  "2",
  "1",
  "null",
  "[]",
  "{}",
  '"x"',
  "1e400",
  JSON.stringify(ociManifest),
  JSON.stringify(ociIndex),
  JSON.stringify(descriptor(CONFIG)),
  JSON.stringify([descriptor(LAYER)]),
  JSON.stringify([{ ...descriptor(LAYER), size: -1 }]),
  `[${'{"a":'.repeat(3)}1}}}]`,
  `{"digest":"${DIGEST}","digest":"x","size":7}`,
];

t.test("any document is refused, or is one thing to everybody", (t) => {
  const seed = runSeed();
  t.comment(`seed ${seed}`);
  const random = seeded(seed);
  let accepted = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const count = Math.floor(random() * 6);
    const members = Array.from(
      { length: count },
      () => `"${pick(random, KEYS)}":${pick(random, VALUES)}`,
    );
    if (random() < 0.5) {
      members.push(`"config":${VALUES[9]}`, `"layers":${VALUES[10]}`);
    }
    const text = mutated(random, `{${members.join(",")}}`);
    const mediaType = pick(random, [ociManifest, ociIndex, ociArtifact, dockerManifest]);
    const { problem, kind } = inspect(text, mediaType);
    if (problem === undefined) {
      accepted += 1;
      if (!agrees(JSON.parse(text), kind, mediaType) || !isWithoutTwins(text)) {
        t.fail(`accepted as ${mediaType}: ${text}`);
      }
      if (kind === "image" && !looksLikeManifest(Buffer.from(text))) {
        t.fail(`does not look like a manifest: ${text}`);
      }
    }
  }
  t.ok(accepted > 100, `${accepted} were accepted`);
  t.end();
});

/** Now and then with a character changed, doubled or left out. */
function mutated(random: () => number, text: string): string {
  if (random() < 0.7) {
    return text;
  }
  const at = Math.floor(random() * text.length);
  const inserted = pick(random, ["", '"', "{", "}", ",", "\\", "\u0000", "\ufeff", "7"]);
  return text.slice(0, at) + inserted + text.slice(at + 1);
}

function agrees(document: Record<string, unknown>, kind: string, mediaType: string): boolean {
  const own = { image: "layers", index: "manifests", artifact: "blobs" }[kind];
  const others = ["layers", "manifests", "blobs", "fsLayers"].filter((field) => field !== own);
  const { mediaType: said } = document;
  return (
    others.every((field) => (document[field] ?? null) === null) &&
    (said === undefined || said === mediaType)
  );
}

/** Each of these keys is in one spelling, and in the root once. */
function isWithoutTwins(text: string): boolean {
  return (
    !/"Layers"|"layer(?:\\u017f|\u017f)"/.test(text) &&
    ["config", "layers", "manifests", "subject"].every((key) => text.split(`"${key}":`).length <= 2)
  );
}
