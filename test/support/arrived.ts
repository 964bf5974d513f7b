import assert from "node:assert";
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Artifact } from "./image-builder.ts";

/** How much of an artifact a client keeps, and by which names. */
export type Keeps =
  /** Every manifest and every blob of every platform. */
  | "everything"
  /** What this machine's platform needs. */
  | "platform"
  /** The same, but layers as they are after unpacking: by the digests of their archives. */
  | "unpacked";

interface Described {
  readonly digest: string;
}

interface Manifest {
  readonly manifests?: readonly Described[];
  readonly config?: Described;
  readonly layers?: readonly Described[];
}

/** The digests that must have arrived, when a client has pulled `artifact`. */
export function expectedDigests(artifact: Artifact, keeps: Keeps): string[] {
  if (keeps === "everything") {
    return [...artifact.manifests, ...artifact.blobs].map((content) => content.digest);
  }
  const top = parse<Manifest>(artifact.top.bytes);
  const child = top.manifests?.[0]?.digest ?? artifact.top.digest;
  const { config, layers = [] } = parse<Manifest>(bytesOf(artifact, child));
  assert(config);
  if (keeps === "platform") {
    const digests = [artifact.top, { digest: child }, config, ...layers].map((one) => one.digest);
    return [...new Set(digests)];
  }
  const { rootfs } = parse<{ readonly rootfs: { readonly diff_ids: readonly string[] } }>(
    bytesOf(artifact, config.digest),
  );
  return [artifact.top.digest, config.digest, ...rootfs.diff_ids];
}

/** The blobs among them, by the names under which an upstream serves them. */
export function expectedBlobs(artifact: Artifact, keeps: Keeps): string[] {
  const digests = expectedDigests(artifact, keeps === "everything" ? keeps : "platform");
  const blobs = new Set(artifact.blobs.map((blob) => blob.digest));
  return digests.filter((digest) => blobs.has(digest));
}

/** Every digest in an OCI layout that its own bytes prove. The first is what index.json names. */
export async function digestsOfLayout(folder: string): Promise<string[]> {
  const index = parse<Manifest>(await readFile(join(folder, "index.json")));
  const proven: string[] = [];
  for (const algorithm of ["sha256", "sha512"]) {
    const blobs = join(folder, "blobs", algorithm);
    for (const name of existsSync(blobs) ? await readdir(blobs) : []) {
      const digest = await digestOfFile(join(blobs, name), algorithm);
      assert.equal(digest, `${algorithm}:${name}`, `${name} holds other bytes`);
      proven.push(digest);
    }
  }
  const top = index.manifests?.[0]?.digest ?? "";
  assert(proven.includes(top), `index.json names ${top}, which is not there`);
  return [top, ...proven];
}

/** The same for skopeo's `dir:` form: manifest.json, HEX.manifest.json for children, HEX for blobs. */
export async function digestsOfFolder(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name !== "version");
  return await Promise.all(names.map((name) => digestOfFile(join(folder, name), "sha256")));
}

async function digestOfFile(file: string, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  return `${algorithm}:${hash.digest("hex")}`;
}

function bytesOf(artifact: Artifact, digest: string): Uint8Array {
  const found = [...artifact.manifests, ...artifact.blobs].find((one) => one.digest === digest);
  assert(found, `the artifact has no ${digest}`);
  return found.bytes;
}

function parse<Value>(bytes: Uint8Array): Value {
  return JSON.parse(Buffer.from(bytes).toString()) as Value;
}
