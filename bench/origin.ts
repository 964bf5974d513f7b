/**
 * The upstream of the bench, in a process of its own: the pull side of the registry API for blobs
 * and manifests that are made up on demand, with a bandwidth limit, a latency and counters.
 *
 * A blob is one random block over and over, ended by 64 bytes of its own: the hash of all but the
 * end is computed once a size, so that a fresh digest costs nothing.
 */
import type { Hash } from "node:crypto";
import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { TokenBucket } from "./token-bucket.ts";

const BLOCK = randomBytes(1_048_576);
const TAIL_BYTES = 64;
const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const PATH_PATTERN = /^\/v2\/[a-z0-9/._-]+\/(blobs|manifests)\/(sha256:[0-9a-f]{64})$/;

/** How the upstream behaves from now on; what is left out is unlimited. */
export interface Shape {
  readonly bytesPerSecond?: number;
  /** Whether the limit is for all transfers together or for each. */
  readonly limit?: "total" | "connection";
  /** Before the headers of each answer. */
  readonly latencyMs?: number;
}

/** What was asked of one digest. */
export interface Count {
  readonly gets: number;
  readonly heads: number;
  readonly bytes: number;
}

interface Content {
  readonly sizeBytes: number;
  readonly mediaType: string;
  /** All of a manifest; the end of a blob. */
  readonly tail: Buffer;
  gets: number;
  heads: number;
  bytes: number;
}

const contents = new Map<string, Content>();
const prefixHashes = new Map<number, Hash>();
let shape: Shape = {};
let total: TokenBucket | undefined;

function prefixHash(sizeBytes: number): Hash {
  let hash = prefixHashes.get(sizeBytes);
  if (hash === undefined) {
    hash = createHash("sha256");
    for (let at = 0; at < sizeBytes - TAIL_BYTES; at += BLOCK.length) {
      hash.update(BLOCK.subarray(0, Math.min(BLOCK.length, sizeBytes - TAIL_BYTES - at)));
    }
    prefixHashes.set(sizeBytes, hash);
  }
  return hash.copy();
}

function keep(digest: string, mediaType: string, sizeBytes: number, tail: Buffer): string {
  contents.set(digest, { sizeBytes, mediaType, tail, gets: 0, heads: 0, bytes: 0 });
  return digest;
}

function makeBlob(sizeBytes: number): string {
  const tail = randomBytes(TAIL_BYTES);
  const digest = `sha256:${prefixHash(sizeBytes).update(tail).digest("hex")}`;
  return keep(digest, "application/octet-stream", sizeBytes, tail);
}

/** An image of twelve layers: about 2 KiB. */
function makeManifest(): string {
  const layer = (kind: string, size: number): object => ({
    mediaType: `application/vnd.oci.image.${kind}`,
    digest: `sha256:${randomBytes(32).toString("hex")}`,
    size,
  });
  const layers = Array.from({ length: 12 }, (_, n) => layer("layer.v1.tar+gzip", 30_000_000 + n));
  const config = layer("config.v1+json", 7023);
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers };
  const body = Buffer.from(JSON.stringify(manifest));
  const digest = `sha256:${createHash("sha256").update(body).digest("hex")}`;
  return keep(digest, MANIFEST_TYPE, body.length, body);
}

/** The bytes from `at` on that lie in one buffer: a view, never a copy. */
function viewAt(content: Content, at: number, end: number): Buffer {
  const tailAt = content.sizeBytes - content.tail.length;
  if (at >= tailAt) {
    return content.tail.subarray(at - tailAt, end - tailAt);
  }
  const offset = at % BLOCK.length;
  return BLOCK.subarray(offset, Math.min(BLOCK.length, offset + Math.min(end, tailAt) - at));
}

/** Also when the client is gone. */
function untilDrained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
    if (response.destroyed) {
      done();
    }
  });
}

async function sendBody(
  response: ServerResponse,
  content: Content,
  first: number,
  end: number,
): Promise<void> {
  const own = shape.limit === "connection" ? new TokenBucket(shape.bytesPerSecond ?? 1) : undefined;
  const bucket = own ?? total;
  let at = first;
  while (at < end && !response.destroyed) {
    let view = viewAt(content, at, end);
    if (bucket !== undefined) {
      view = view.subarray(0, await bucket.take(view.length));
    }
    at += view.length;
    content.bytes += view.length;
    if (!response.write(view)) {
      await untilDrained(response);
    }
  }
  response.end();
}

/** `bytes=first-` and `bytes=first-last`: what resuming clients send. Else the whole. */
function parseRange(request: IncomingMessage, sizeBytes: number): { first: number; end: number } {
  const found = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const first = Number(found?.[1] ?? 0);
  const last = found?.[2] ? Number(found[2]) : sizeBytes - 1;
  return { first, end: Math.min(last + 1, sizeBytes) };
}

async function answerContent(
  request: IncomingMessage,
  response: ServerResponse,
  digest: string,
): Promise<void> {
  const content = contents.get(digest);
  if (content === undefined) {
    response.writeHead(404, { "content-type": "application/json" });
    response.end('{"errors":[{"code":"BLOB_UNKNOWN","message":"not made"}]}');
    return;
  }
  const { first, end } = parseRange(request, content.sizeBytes);
  const part = request.headers.range !== undefined;
  response.writeHead(part ? 206 : 200, {
    "content-type": content.mediaType,
    "content-length": end - first,
    "docker-content-digest": digest,
    "accept-ranges": "bytes",
    etag: `"${digest}"`,
    ...(part ? { "content-range": `bytes ${first}-${end - 1}/${content.sizeBytes}` } : {}),
  });
  if (request.method === "HEAD") {
    content.heads += 1;
    response.end();
    return;
  }
  content.gets += 1;
  await sendBody(response, content, first, end);
}

function toCounts(): Record<string, Count> {
  return Object.fromEntries(
    [...contents].map(([digest, { gets, heads, bytes }]) => [digest, { gets, heads, bytes }]),
  );
}

function resetCounts(): void {
  for (const content of contents.values()) {
    content.gets = 0;
    content.heads = 0;
    content.bytes = 0;
  }
}

/** Everything under `/-/` belongs to the harness: the query is the argument, the answer is JSON. */
function control(url: URL): unknown {
  const number = (name: string): number => Number(url.searchParams.get(name) ?? 0);
  switch (url.pathname) {
    case "/-/blob":
      return makeBlob(number("sizeBytes"));
    case "/-/manifest":
      return makeManifest();
    case "/-/counts":
      return toCounts();
    case "/-/reset":
      return resetCounts();
    case "/-/shape": {
      const limit = url.searchParams.get("limit") === "connection" ? "connection" : "total";
      const bytesPerSecond = number("bytesPerSecond");
      shape = { bytesPerSecond, latencyMs: number("latencyMs"), ...(bytesPerSecond && { limit }) };
      total = bytesPerSecond > 0 && limit === "total" ? new TokenBucket(bytesPerSecond) : undefined;
      return shape;
    }
    default:
      throw new Error(`no such control: ${url.pathname}`);
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = request.url ?? "/";
  if (url.startsWith("/-/")) {
    response.end(JSON.stringify(control(new URL(url, "http://upstream")) ?? null));
    return;
  }
  if (shape.latencyMs) {
    await sleep(shape.latencyMs);
  }
  response.setHeader("docker-distribution-api-version", "registry/2.0");
  const found = PATH_PATTERN.exec(url.split("?", 1)[0] ?? "");
  if (found?.[2] !== undefined) {
    await answerContent(request, response, found[2]);
    return;
  }
  response.writeHead(url === "/v2/" ? 200 : 404, { "content-type": "application/json" });
  response.end("{}");
}

const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  answer(request, response).catch((error: unknown) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  const address = server.address();
  process.send?.(typeof address === "object" ? address?.port : undefined);
});
process.on("disconnect", () => process.exit(0));
