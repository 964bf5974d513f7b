/**
 * The pull and discovery categories of the OCI conformance suite against Sluice before a real
 * docker-registry: `node test/conformance.ts SUITE`, SUITE being the program of that suite at
 * version 1.1.1. Not part of `npm test`.
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { OCI_INDEX, OCI_MANIFEST } from "./support/image-builder.ts";
import { run } from "./support/processes.ts";
import { PASSWORD, RealRegistry, USER } from "./support/real-registry.ts";
import { SluiceProcess } from "./support/sluice-process.ts";

const REPOSITORY = "conformance/test";
const CATEGORIES = [
  ["pull", { OCI_TEST_PULL: "1" }],
  ["pull and discovery", { OCI_TEST_PULL: "1", OCI_TEST_CONTENT_DISCOVERY: "1" }],
] as const;

interface Manifest {
  readonly subject?: { readonly digest: string };
  readonly artifactType?: string;
  readonly config?: { readonly mediaType: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

const [, , suite] = process.argv;
if (suite === undefined) {
  process.stderr.write("usage: node test/conformance.ts SUITE\n");
  process.exit(2);
}
await using registry = await RealRegistry.startWithPasswords();
await using sluice = await SluiceProcess.start({
  config: {
    defaultUpstream: "team.example",
    upstreams: {
      "team.example": {
        url: registry.url,
        auth: { username: USER, passwordFile: "password" },
        tagFreshSeconds: 0,
      },
    },
  },
  files: { password: PASSWORD },
});
const authorization = await registry.authorize(REPOSITORY);

const front = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => response.destroy(error as Error));
}).listen(0, "127.0.0.1");
await once(front, "listening");
const { port } = front.address() as AddressInfo;
for (const [name, categories] of CATEGORIES) {
  const { code, output } = await run(suite, ["-ginkgo.no-color"], {
    env: {
      ...categories,
      OCI_ROOT_URL: `http://127.0.0.1:${port}`,
      OCI_NAMESPACE: REPOSITORY,
      OCI_REPORT_DIR: "none",
      OCI_HIDE_SKIPPED_WORKFLOWS: "1",
    },
  });
  const told = code === 0 ? output.match(/^Ran .*$|^\S+! -- .*$/gm)?.join("\n") : output;
  process.stdout.write(`${name}\n${told}\n`);
  process.exitCode ||= code;
}
front.closeAllConnections();
front.close();

/** The suite pushes what it pulls: reads are Sluice's to answer, all else the registry's. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = "GET", url = "/" } = request;
  const isRead = method === "GET" || method === "HEAD";
  const headers = new Headers(isRead ? {} : { authorization });
  for (const name of ["accept", "content-type", "content-range", "range"]) {
    const value = request.headers[name];
    if (typeof value === "string") {
      headers.set(name, value);
    }
  }
  const body = await buffer(request);
  const target = `${isRead ? sluice.registry : registry.url}${url}`;
  const init = { method, headers, redirect: "manual" } as const;
  const answered = await fetch(target, isRead ? init : { ...init, body });
  const subject = method === "PUT" && answered.ok ? await refer(url, body) : undefined;
  if (subject !== undefined) {
    response.setHeader("oci-subject", subject);
  }
  for (const [name, value] of answered.headers) {
    if (!["connection", "keep-alive", "transfer-encoding"].includes(name)) {
      response.setHeader(name, value);
    }
  }
  response.writeHead(answered.status).end(Buffer.from(await answered.arrayBuffer()));
}

/** What a client does for a registry without the referrers API: it keeps the tag that stands in. */
async function refer(url: string, body: Buffer): Promise<string | undefined> {
  if (!url.includes("/manifests/")) {
    return;
  }
  const manifest = JSON.parse(body.toString("utf8")) as Manifest;
  if (manifest.subject === undefined) {
    return;
  }
  const { digest } = manifest.subject;
  const put = `${registry.url}/v2/${REPOSITORY}/manifests/${digest.replace(":", "-")}`;
  const before = await fetch(put, { headers: { authorization, accept: OCI_INDEX } });
  const { manifests } = before.ok
    ? ((await before.json()) as { readonly manifests: readonly object[] })
    : { manifests: [] };
  const descriptor = {
    mediaType: manifest.config === undefined ? OCI_INDEX : OCI_MANIFEST,
    digest: url.slice(url.lastIndexOf("/") + 1),
    size: body.length,
    artifactType: manifest.artifactType ?? manifest.config?.mediaType,
    annotations: manifest.annotations,
  };
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [...manifests, descriptor] };
  await fetch(put, {
    method: "PUT",
    headers: { authorization, "content-type": OCI_INDEX },
    body: JSON.stringify(index),
  });
  return digest;
}
