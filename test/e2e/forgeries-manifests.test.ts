import t from "tap";
import { startForger } from "../support/forger.ts";
import {
  IMAGE_CONFIG,
  IMAGE_LAYER,
  putBlob,
  putDocument,
  TAR_GZIP,
} from "../support/forger-content.ts";
import { rulesOf } from "../support/forger-rules.ts";
import { byKey, bySignatureTag, key, PLATFORMS, sigstore } from "../support/policy-rig.ts";
import { asBundle } from "../support/sign-placements.ts";
import type { AddedImage } from "../support/signed-images.ts";
import { addSignedImage, OCI_INDEX, OCI_MANIFEST, signAll } from "../support/signed-images.ts";
import { startProxy } from "../support/start-proxy.ts";

const rules = rulesOf("key", "own");
const forger = await startForger(t, rules);
const { upstream } = forger;

const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
const repository = "key/documents";
const config = putBlob(upstream, repository, { mediaType: IMAGE_CONFIG, bytes: Buffer.from("{}") });
const layer = putBlob(upstream, repository, { mediaType: IMAGE_LAYER, bytes: TAR_GZIP });
const other = { ...layer, digest: upstream.addBlob(repository, Buffer.from("another layer")) };
const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] };
const child = { mediaType: OCI_MANIFEST, digest: layer.digest, size: layer.size };
const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [child] };

/** JSON of an object, with one more member behind its others. */
function withMember(object: object, member: string): string {
  return `${JSON.stringify(object).slice(0, -1)},${member}}`;
}

const layers = (one: object): string => JSON.stringify([one]);

/** Each is signed properly, by whom the rule names. */
const DOCUMENTS: Readonly<
  Record<string, readonly [document: object | string, why: RegExp, mediaType?: string]>
> = {
  "an image that is an index, too": [{ ...image, manifests: [child] }, /two things/],
  "an index that is an image, too": [
    { ...index, config, layers: [layer] },
    /two things/,
    OCI_INDEX,
  ],
  "an image with blobs": [{ ...image, blobs: [layer] }, /two things/],
  "an image with fsLayers": [{ ...image, fsLayers: [] }, /schema 1/],
  "Docker's schema 1": [
    { schemaVersion: 1, fsLayers: [{ blobSum: layer.digest }] },
    /schema 1/,
    SCHEMA_1,
  ],
  "schema 1 that is called an image": [{ schemaVersion: 1, config, layers: [] }, /schema 1/],
  "schema 3": [{ ...image, schemaVersion: 3 }, /schemaVersion is not 2/],
  "a schema in text": [{ ...image, schemaVersion: "2" }, /schemaVersion is not 2/],
  "layers twice": [withMember(image, `"layers":${layers(other)}`), /layers.? twice/],
  "config twice": [withMember(image, `"config":${JSON.stringify(other)}`), /config.? twice/],
  "layers twice, once with an escape": [
    withMember(image, `"l\\u0061yers":${layers(other)}`),
    /layers.? twice/,
  ],
  "Layers beside layers": [{ ...image, Layers: [other] }, /Layers/],
  "LAYERS before layers": [{ LAYERS: [other], ...image }, /LAYERS/],
  "layerſ beside layers": [{ ...image, layerſ: [other] }, /layer/],
  "Config beside config": [{ ...image, Config: other }, /Config/],
  "Manifests in an image": [{ ...image, Manifests: [child] }, /Manifests/],
  "MediaType beside mediaType": [{ ...image, MediaType: OCI_INDEX }, /MediaType/],
  "Digest in a descriptor": [{ ...image, layers: [{ ...layer, Digest: other.digest }] }, /Digest/],
  "a digest twice": [
    withMember(
      { ...image, layers: undefined },
      `"layers":[${withMember(layer, `"digest":"${other.digest}"`)}]`,
    ),
    /digest.? twice/,
  ],
  "Urls in a descriptor": [{ ...image, layers: [{ ...layer, Urls: ["https://x"] }] }, /Urls/],
  "urls in a layer": [
    { ...image, layers: [{ ...layer, urls: ["https://elsewhere.example/x"] }] },
    /layers with urls/,
  ],
  "urls in its config": [
    { ...image, config: { ...config, urls: ["https://elsewhere.example/x"] } },
    /layers with urls/,
  ],
  "urls in an index": [
    { ...index, manifests: [{ ...child, urls: ["https://elsewhere.example/x"] }] },
    /layers with urls/,
    OCI_INDEX,
  ],
  "urls that are no list": [
    { ...image, layers: [{ ...layer, urls: "https://elsewhere.example/x" }] },
    /not a list/,
  ],
  "no layers": [{ ...image, layers: undefined }, /no layers/],
  "no config": [{ ...image, config: undefined }, /config/],
  "annotations that are no text": [
    { ...image, layers: [{ ...layer, annotations: { a: 1 } }] },
    /annotations/,
  ],
};

/** As it comes from the registry, under a name of which the document says something else. */
const MISNAMED: typeof DOCUMENTS = {
  "an index by its own word, an image by the registry's": [
    { ...image, mediaType: OCI_INDEX },
    /is served as/,
  ],
  "an image by its own word, an index by the registry's": [image, /is served as/, OCI_INDEX],
  "Docker's by its own word": [{ ...image, mediaType: DOCKER_MANIFEST }, /is served as/],
  "Docker's by the registry's": [image, /is served as/, DOCKER_MANIFEST],
};

t.test(
  "a manifest that clients could read in several ways is refused, whoever signed it",
  async (t) => {
    const all = { ...DOCUMENTS, ...MISNAMED };
    for (const [name, [document, why, mediaType]] of Object.entries(all)) {
      const tag = name.replace(/[^A-Za-z0-9]+/g, "-").toLowerCase();
      const signatures = [byKey, bySignatureTag];
      const put = { repository, tag, signatures, ...(mediaType !== undefined && { mediaType }) };
      const refusal = { name, why, onlyAsManifest: Object.hasOwn(MISNAMED, name) };
      await forger.refuseImage(t, await putDocument(upstream, document, put), refusal);
    }
    const signatures = [byKey, bySignatureTag];
    const good = await putDocument(upstream, image, { repository, tag: "good", signatures });
    await forger.serveImage(t, good, "the same image without any of that");
  },
);

t.test("what cannot be parsed at all is not handed on", async (t) => {
  const broken: Readonly<Record<string, string>> = {
    "a byte order mark": `\ufeff${JSON.stringify(image)}`,
    "something behind it": `${JSON.stringify(image)}x`,
    "a size of 1e400": JSON.stringify(image).replace(`"size":${layer.size}`, '"size":1e400'),
    "a size below nothing": JSON.stringify({ ...image, layers: [{ ...layer, size: -1 }] }),
    "a size in text": JSON.stringify({ ...image, layers: [{ ...layer, size: "12" }] }),
    "a size past what a number holds": JSON.stringify({
      ...image,
      layers: [{ ...layer, size: 2 ** 60 }],
    }),
    "a digest that is none": JSON.stringify({
      ...image,
      layers: [{ ...layer, digest: "sha256:x" }],
    }),
    "nested 100,000 deep": `${JSON.stringify(image).slice(0, -1)},"a":${"[".repeat(100_000)}`,
    "a list": JSON.stringify([image]),
  };
  for (const [name, document] of Object.entries(broken)) {
    const tag = name.replace(/[^A-Za-z0-9]+/g, "-").toLowerCase();
    const { digest } = await putDocument(upstream, document, {
      repository,
      tag,
      signatures: [byKey],
    });
    for (const path of [`manifests/${tag}`, `manifests/${digest}`, `blobs/${digest}`]) {
      for (const method of ["GET", "HEAD"]) {
        const response = await fetch(`${forger.proxy.url}/v2/${repository}/${path}`, { method });
        const isBlob = path.startsWith("blobs") && name === "a list";
        const refusals = isBlob ? [200] : [403, 502];
        t.ok(refusals.includes(response.status), `${name}: ${method} ${path}: ${response.status}`);
        await response.arrayBuffer();
      }
    }
  }
});

t.test(
  "an index says nothing for what it does not sign, and a child nothing for its index",
  async (t) => {
    const childSignatures = [byKey, bySignatureTag];
    const signedChildren = await addSignedImage(upstream, {
      repository: "key/children",
      tag: "index",
      platforms: PLATFORMS,
      childSignatures,
    });
    await forger.refuseImage(t, signedChildren, {
      name: "an index whose children are signed",
      why: /no signature (?:was )?found/,
    });
    for (const one of signedChildren.children) {
      await forger.serveImage(
        t,
        { ...asImage(one), tag: one.digest },
        "a child with its own signature",
      );
    }

    const own = await addSignedImage(upstream, {
      repository: "own/app",
      tag: "index",
      platforms: PLATFORMS,
      signatures: [byKey],
    });
    await forger.serveImage(t, own, "an index under a rule that asks children for their own");
    for (const one of own.children) {
      const refusal = { name: "its child", why: /no signature (?:was )?found/ };
      await forger.refuseImage(t, { ...asImage(one), tag: one.digest }, refusal);
    }
  },
);

t.test("another repository's index vouches for nothing in this one", async (t) => {
  const named = { tag: "index", platforms: PLATFORMS, text: "the same index" };
  const signed = { ...named, repository: "key/signed", signatures: [byKey, bySignatureTag] };
  const vouching = await addSignedImage(upstream, signed);
  const copy = await addSignedImage(upstream, { ...named, repository: "key/copied" });
  t.equal(copy.digest, vouching.digest);
  await forger.serveImage(t, vouching, "where it is signed");
  await forger.refuseImage(t, copy, {
    name: "where it is not",
    why: /no signature (?:was )?found/,
  });
  for (const one of copy.children) {
    const refusal = { name: "a child of the copy", why: /no signature (?:was )?found/ };
    await forger.refuseImage(t, { ...asImage(one), tag: one.digest }, refusal);
  }
});

t.test(
  "an index that is signed names an image that another, unsigned one names as well",
  async (t) => {
    const repo = "key/shared";
    const [bad] = (
      await addSignedImage(upstream, { repository: repo, tag: "bad", platforms: PLATFORMS })
    ).children;
    const good = await addSignedImage(upstream, {
      repository: repo,
      tag: "good",
      signatures: [byKey],
    });
    const manifests = [good, asImage(bad)].map(({ mediaType, digest, size }) => ({
      mediaType,
      digest,
      size,
    }));
    const mixed = await putDocument(
      upstream,
      { schemaVersion: 2, mediaType: OCI_INDEX, manifests },
      { repository: repo, tag: "mixed", mediaType: OCI_INDEX },
    );
    const refusal = {
      name: "an unsigned index with a signed child",
      why: /no signature (?:was )?found/,
    };
    await forger.refuseImage(t, mixed, refusal);
    await forger.refuseImage(
      t,
      { ...asImage(bad), tag: "bad" },
      { name: "its unsigned one", why: /\S/ },
    );
    await forger.serveImage(t, good, "its signed one");
  },
);

t.test("indexes nested deeper than anybody does", async (t) => {
  const repo = "key/nested";
  const bottom = await addSignedImage(upstream, { repository: repo, tag: "bottom" });
  const chain: AddedImage[] = [bottom];
  for (let depth = 1; depth <= 5; depth += 1) {
    const below = chain[0] ?? bottom;
    const manifests = [{ mediaType: below.mediaType, digest: below.digest, size: below.size }];
    const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
    const put = { repository: repo, tag: `depth-${depth}`, mediaType: OCI_INDEX };
    chain.unshift(await putDocument(upstream, document, put));
  }
  const [top = bottom, ...rest] = chain;
  await signAll(upstream, top, [byKey]);
  for (const one of rest.toReversed()) {
    const name = `${one.tag}, before any index above it`;
    await forger.refuseImage(t, one, { name, why: /no signature (?:was )?found/ });
  }
});

t.test("the deny list holds where no rule does, whoever signed", async (t) => {
  const bad = await addSignedImage(upstream, {
    repository: "key/denied",
    tag: "bad",
    signatures: [byKey],
  });
  const policy = {
    unmatched: "allow",
    rules: [],
    exceptions: [],
    deny: [{ digest: bad.digest, reason: "bad" }],
  } as const;
  const upstreams = [{ urls: [upstream.url] }];
  const proxy = await startProxy(t, { upstreams, policy });
  for (const reference of ["bad", bad.digest]) {
    const response = await fetch(`${proxy.url}/v2/key/denied/manifests/${reference}`);
    t.equal(response.status, 403, reference);
  }
});

t.test(
  "a signature of one index does not pass to another that names the same images",
  async (t) => {
    const repo = "key/rewrapped";
    const signed = await addSignedImage(upstream, {
      repository: repo,
      tag: "signed",
      platforms: PLATFORMS,
      signatures: [byKey],
    });
    const manifests = signed.children.map(({ mediaType, digest, size }) => ({
      mediaType,
      digest,
      size,
    }));
    const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: manifests.toReversed() };
    const put = { repository: repo, tag: "rewrapped", mediaType: OCI_INDEX };
    const bundle = asBundle(await sigstore.bundle({ digest: signed.digest, by: key }));
    const rewrapped = await putDocument(upstream, document, { ...put, signatures: [() => bundle] });
    await forger.refuseImage(t, rewrapped, { name: "rewrapped", why: /another image/ });
  },
);

function asImage(image: AddedImage["children"][number] | undefined): AddedImage {
  if (image === undefined) {
    throw new Error("there is no such child");
  }
  return { ...image, tag: image.digest, children: [] };
}
