import assert from "node:assert";
import type { Artifact, Content } from "./image-builder.ts";

export interface PushTarget {
  readonly url: string;
  /** The value of an Authorization header, asked for anew for each repository. */
  authorize(repository: string): Promise<string>;
}

/** Pushes all that an artifact names, then its manifests, then tags it. */
export async function push(
  target: PushTarget,
  repository: string,
  tag: string,
  artifact: Artifact,
): Promise<void> {
  const authorization = await target.authorize(repository);
  const base = `${target.url}/v2/${repository}`;
  for (const blob of artifact.blobs) {
    await pushBlob(base, authorization, blob);
  }
  for (const manifest of artifact.manifests) {
    await pushManifest(base, authorization, manifest.digest, manifest);
  }
  await pushManifest(base, authorization, tag, artifact.top);
}

async function pushBlob(base: string, authorization: string, blob: Content): Promise<void> {
  const headers = { authorization };
  const held = await fetch(`${base}/blobs/${blob.digest}`, { method: "HEAD", headers });
  if (held.ok) {
    return;
  }
  const opened = await fetch(`${base}/blobs/uploads/`, { method: "POST", headers });
  await expectStatus(opened, 202);
  const location = new URL(opened.headers.get("location") ?? "", base);
  location.searchParams.set("digest", blob.digest);
  const put = await fetch(location, {
    method: "PUT",
    headers: { ...headers, "content-type": "application/octet-stream" },
    body: Buffer.from(blob.bytes),
  });
  await expectStatus(put, 201);
}

async function pushManifest(
  base: string,
  authorization: string,
  reference: string,
  manifest: Content,
): Promise<void> {
  const put = await fetch(`${base}/manifests/${reference}`, {
    method: "PUT",
    headers: { authorization, "content-type": manifest.mediaType },
    body: Buffer.from(manifest.bytes),
  });
  await expectStatus(put, 201);
}

async function expectStatus(response: Response, status: number): Promise<void> {
  const body = await response.text();
  assert.equal(response.status, status, `${response.url}: ${response.status} ${body}`);
}
