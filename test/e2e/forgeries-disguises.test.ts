import { gzipSync } from "node:zlib";
import t from "tap";
import type { Forger, Refusal } from "../support/forger.ts";
import { startForger } from "../support/forger.ts";
import type { Layer } from "../support/forger-content.ts";
import {
  IMAGE_CONFIG,
  IMAGE_LAYER,
  putBlob,
  putDocument,
  TAR,
  TAR_GZIP,
} from "../support/forger-content.ts";
import { rulesOf } from "../support/forger-rules.ts";
import { byKey, PLATFORMS } from "../support/policy-rig.ts";
import { BUNDLE_V03 } from "../support/sign-bundle.ts";
import { DSSE, SIMPLE_SIGNING } from "../support/sign-legacy.ts";
import {
  LEGACY_REFERRER,
  NOTATION_SIGNATURE,
  OCI_EMPTY,
  tagOf,
} from "../support/sign-placements.ts";
import { addSignedImage, OCI_INDEX, OCI_MANIFEST } from "../support/signed-images.ts";

const forger = await startForger(t, rulesOf("key"));
const { upstream } = forger;

const IN_TOTO = "application/vnd.in-toto+json";
const KNOWN_TYPES: readonly string[] = [
  SIMPLE_SIGNING,
  DSSE,
  BUNDLE_V03,
  IN_TOTO,
  "application/jose+json",
  "application/cose",
  "application/spdx+json",
  "text/spdx",
  "application/vnd.cyclonedx+xml",
];

interface Disguise {
  readonly layers: readonly (Partial<Layer> & {
    readonly bytes?: Uint8Array;
    readonly urls?: string[];
  })[];
  readonly configType?: string;
  readonly rest?: object;
  readonly why?: RegExp;
}

const JSON_BYTES = Buffer.from('{"hello":"world"}');
const MIB = 1024 * 1024;
const UNSIGNED = /no signature (?:was )?found/;

/** Images that would be taken for a signature or an attestation by who looks at names only. */
const DISGUISES: Readonly<Record<string, Disguise>> = {
  "a known layer and a real one": {
    layers: [
      { mediaType: SIMPLE_SIGNING, bytes: JSON_BYTES },
      { mediaType: IMAGE_LAYER, bytes: TAR_GZIP },
    ],
  },
  "a real layer, and then a known one": {
    layers: [
      { mediaType: IMAGE_LAYER, bytes: TAR_GZIP },
      { mediaType: IN_TOTO, bytes: JSON_BYTES },
    ],
  },
  "a signature's artifactType": {
    layers: [{ mediaType: IMAGE_LAYER, bytes: TAR_GZIP }],
    rest: { artifactType: BUNDLE_V03 },
  },
  "a signature's config": {
    layers: [{ mediaType: IMAGE_LAYER, bytes: TAR_GZIP }],
    configType: NOTATION_SIGNATURE,
  },
  "an older signature's config and type": {
    layers: [{ mediaType: IMAGE_LAYER, bytes: TAR_GZIP }],
    configType: LEGACY_REFERRER,
    rest: { artifactType: LEGACY_REFERRER },
  },
  "a config and no layer": { layers: [] },
  "a config and no layer, by a signature's type": {
    layers: [],
    configType: OCI_EMPTY,
    rest: { artifactType: BUNDLE_V03 },
  },
  "a layer without a type": { layers: [{ mediaType: "", bytes: JSON_BYTES }] },
  "a known type with a parameter": { layers: [{ mediaType: `${IN_TOTO};x=y`, bytes: JSON_BYTES }] },
  "a known type in other case": {
    layers: [{ mediaType: IN_TOTO.toUpperCase(), bytes: JSON_BYTES }],
  },
  "a known type with a tail": { layers: [{ mediaType: `${IN_TOTO}+gzip`, bytes: JSON_BYTES }] },
  "a known type with a space": { layers: [{ mediaType: ` ${IN_TOTO}`, bytes: JSON_BYTES }] },
  "a bundle's type of many digits": {
    layers: [{ mediaType: "application/vnd.dev.sigstore.bundle.v0.123+json", bytes: JSON_BYTES }],
  },
  "a layer of 17 MiB by its descriptor": {
    layers: [{ mediaType: IN_TOTO, bytes: JSON_BYTES, size: 17 * MIB }],
  },
  "three of 12 MiB": {
    layers: [1, 2, 3].map((at) => ({
      mediaType: IN_TOTO,
      bytes: Buffer.from(`{"at":${at}}`),
      size: 12 * MIB,
    })),
  },
  "a known layer that is somewhere else": {
    layers: [{ mediaType: IN_TOTO, bytes: JSON_BYTES, urls: ["https://elsewhere.example/x"] }],
    why: /layers with urls/,
  },
  "an image in a list of files": {
    layers: [{ mediaType: "application/octet-stream", bytes: TAR_GZIP }],
  },
  "a Helm chart's layer": {
    layers: [{ mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", bytes: TAR_GZIP }],
  },
};

t.test("an image is not a signature because it looks like one", async (t) => {
  for (const [name, disguise] of Object.entries(DISGUISES)) {
    await refuse(t, forger, disguise, { name, why: disguise.why ?? UNSIGNED });
  }
});

t.test("layers that could be unpacked are no signatures, whatever their types say", async (t) => {
  const zstd = Buffer.from("28b52ffd240061000001000099e9d851", "hex");
  const unpackable: Readonly<Record<string, Buffer>> = {
    "a tar": TAR,
    "a gzip": TAR_GZIP,
    "a zstd": zstd,
    "a zstd behind a frame that is skipped": Buffer.concat([
      Buffer.from("502a4d1804000000aaaaaaaa", "hex"),
      zstd,
    ]),
    "a bzip2": Buffer.from("425a6839314159265359", "hex"),
    "an xz": Buffer.from("fd377a585a000004e6d6b446", "hex"),
    "a tar whose name begins like JSON": renamed(TAR, '{"critical":{}}'),
  };
  for (const [name, bytes] of Object.entries(unpackable)) {
    for (const mediaType of KNOWN_TYPES) {
      const what = `${name} as ${mediaType}`;
      await refuse(t, forger, { layers: [{ mediaType, bytes }] }, { name: what, why: UNSIGNED });
    }
    const mixed = {
      layers: [
        { mediaType: IN_TOTO, bytes: JSON_BYTES },
        { mediaType: DSSE, bytes },
      ],
    };
    await refuse(t, forger, mixed, { name: `${name} behind a real attestation`, why: UNSIGNED });
  }
});

t.test("a layer that is pushed after the image was looked at", async (t) => {
  const repository = "key/late";
  const config = putBlob(upstream, repository, { mediaType: IMAGE_CONFIG, bytes: JSON_BYTES });
  const late = { mediaType: IN_TOTO, bytes: gzipSync("a layer that nobody has seen yet") };
  const layer = putBlob(upstream, repository, late);
  upstream.removeBlob(repository, layer.digest as Parameters<typeof upstream.removeBlob>[1]);
  const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] };
  const image = await putDocument(upstream, document, { repository, tag: "late" });
  const early = await fetch(`${forger.proxy.url}/v2/${repository}/manifests/late`);
  t.equal(early.status, 403, "before it");
  await early.arrayBuffer();
  putBlob(upstream, repository, late);
  await forger.refuseImage(t, image, { name: "a layer that came late", why: UNSIGNED });
});

t.test("a name makes nothing of an image", async (t) => {
  const repository = "key/names";
  const unsigned = await addSignedImage(upstream, { repository, tag: "unsigned" });
  const index = await addSignedImage(upstream, { repository, tag: "index", platforms: PLATFORMS });
  const signed = await addSignedImage(upstream, { repository, tag: "signed", signatures: [byKey] });
  const tags = [signed, unsigned, index].flatMap(({ digest }) => [
    tagOf(digest, ".sig"),
    tagOf(digest, ".att"),
    `${tagOf(digest)}.sbom`,
  ]);
  for (const tag of [...tags, tagOf(signed.digest), tagOf(unsigned.digest)]) {
    for (const image of [unsigned, index]) {
      upstream.addTag(`${repository}-${image.tag}`, tag, image.digest);
      const copy = await addSignedImage(upstream, {
        repository: `${repository}-${image.tag}`,
        tag,
        ...(image === index && { platforms: PLATFORMS }),
        text: `${tag} ${image.tag}`,
      });
      const name = `an ${image === index ? "index" : "image"} that is called ${tag.slice(0, 12)}…${tag.slice(71)}`;
      await forger.refuseImage(t, copy, { name, why: UNSIGNED });
    }
  }
});

t.test("a list of referrers gives nothing away of what it names", async (t) => {
  const repository = "key/lists";
  const { children } = await addSignedImage(upstream, {
    repository,
    tag: "index",
    platforms: PLATFORMS,
  });
  const listing = (extra: object): object => ({
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: children.map(({ mediaType, digest, size }) => ({
      mediaType,
      digest,
      size,
      ...extra,
    })),
  });
  const lists: Readonly<Record<string, readonly [tag: string, list: object, isServed: boolean]>> = {
    "of signatures by their types": ["types", listing({ artifactType: BUNDLE_V03 }), true],
    "under its tag": [tagOf(children[0]?.digest ?? ""), listing({}), true],
    "under another tag": ["elsewhere", listing({ a: 1 }), false],
    "of signatures for a platform": [
      "platforms",
      listing({ artifactType: BUNDLE_V03, platform: { os: "linux", architecture: "amd64" } }),
      false,
    ],
    "under its tag, for a platform": [
      tagOf(children[1]?.digest ?? ""),
      listing({ platform: { os: "linux", architecture: "amd64" } }),
      false,
    ],
    "of something else": ["other", listing({ artifactType: "application/vnd.example" }), false],
  };
  for (const [name, [tag, list, isServed]] of Object.entries(lists)) {
    await putDocument(upstream, list, { repository, tag, mediaType: OCI_INDEX });
    const response = await fetch(`${forger.proxy.url}/v2/${repository}/manifests/${tag}`);
    t.equal(response.status, isServed ? 200 : 403, `a list ${name}`);
    for (const { digest } of children) {
      const child = await fetch(`${forger.proxy.url}/v2/${repository}/manifests/${digest}`);
      t.equal(child.status, 403, `what is in a list ${name}`);
    }
  }
});

async function refuse(
  t: Parameters<Forger["refuseImage"]>[0],
  { refuseImage }: Forger,
  disguise: Disguise,
  refusal: Refusal,
): Promise<void> {
  const repository = "key/disguises";
  const { configType = IMAGE_CONFIG, rest } = disguise;
  const config = putBlob(upstream, repository, { mediaType: configType, bytes: JSON_BYTES });
  const layers = disguise.layers.map(({ mediaType = "", bytes = JSON_BYTES, ...more }) => {
    return { ...putBlob(upstream, repository, { mediaType, bytes }), ...more };
  });
  const tag = refusal.name.replace(/[^A-Za-z0-9]+/g, "-");
  const annotations = { "org.example.name": refusal.name };
  const document = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config,
    layers,
    annotations,
    ...rest,
  };
  await refuseImage.call(
    forger,
    t,
    await putDocument(upstream, document, { repository, tag }),
    refusal,
  );
}

/** A tar with another name for its first entry, and the checksum that goes with it. */
function renamed(tar: Buffer, name: string): Buffer {
  const copy = Buffer.from(tar);
  copy.fill(0, 0, 100);
  copy.write(name, 0);
  copy.fill(" ", 148, 156);
  const sum = copy.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return copy;
}
