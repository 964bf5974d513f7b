import type { Digest } from "../../storage/digest.ts";
import { StorageError } from "../../storage/errors.ts";
import type { ChooseRange, OpenBlob } from "../cache/blob-cache.ts";
import type { Registry } from "../cache/cache.ts";
import type { Source } from "../cache/source.ts";
import { CLIENT_LIMITS } from "../limits.ts";
import { BLOB_MEDIA_TYPE } from "../oci/media-types.ts";
import { within } from "../within.ts";
import type { Headers } from "./answers.ts";
import { apiHeaders, sendNotModified } from "./answers.ts";
import { sendChunks } from "./body.ts";
import { etagOf, isNotModified, mayUseRange } from "./conditional.ts";
import type { Exchange } from "./exchange.ts";
import { parseRange, printContentRange } from "./range.ts";

/** A digest names its bytes for ever. */
const IMMUTABLE = "max-age=31536000, immutable";

/** GET and HEAD of a blob; Range on GET, whether it is held or not. */
export async function answerBlob(
  exchange: Exchange,
  registry: Registry,
  source: Source,
  digest: Digest,
): Promise<void> {
  if (exchange.isHead || exchange.header("if-none-match") !== undefined) {
    const { sizeBytes, outcome, decision } = await registry.statBlob(source, digest);
    exchange.outcome = outcome;
    exchange.decision = decision;
    if (isNotModified(exchange.header("if-none-match"), digest)) {
      sendNotModified(exchange, blobHeaders(digest));
      return;
    }
    if (exchange.isHead) {
      const length = sizeBytes === undefined ? {} : { "content-length": sizeBytes };
      exchange.response.writeHead(200, apiHeaders(exchange, { ...blobHeaders(digest), ...length }));
      exchange.response.end();
      return;
    }
  }
  const url = await registry.blobUrl(source, digest);
  if (url === undefined) {
    await sendBlob(exchange, registry, source, digest);
    return;
  }
  exchange.outcome = "hit";
  // RFC 9110 §15.4.8. Not to be kept: it ends, and it is a right to the bytes.
  const headers = { location: url, "content-length": 0, "cache-control": "no-store" };
  exchange.response.writeHead(307, apiHeaders(exchange, headers));
  exchange.response.end();
}

async function sendBlob(
  exchange: Exchange,
  registry: Registry,
  source: Source,
  digest: Digest,
): Promise<void> {
  const rangeHeader = mayUseRange(exchange.header("if-range"), digest)
    ? exchange.header("range")
    : undefined;
  const left = new AbortController();
  exchange.response.once("close", () => left.abort());
  const choose: ChooseRange = (sizeBytes) =>
    sizeBytes === undefined ? undefined : parseRange(rangeHeader, sizeBytes);
  const open = (): Promise<OpenBlob> =>
    registry.openBlob(source, digest, { choose, signal: left.signal });
  try {
    await sendOpened(exchange, digest, await open());
  } catch (error) {
    // What was held turned out to be damaged, and is out of the way now: fetch it for this client.
    if (!(error instanceof StorageError) || exchange.response.headersSent) {
      throw error;
    }
    await sendOpened(exchange, digest, await open());
  }
}

async function sendOpened(exchange: Exchange, digest: Digest, opened: OpenBlob): Promise<void> {
  await using blob = opened;
  const { response } = exchange;
  if (response.destroyed) {
    return;
  }
  // A reader may be waiting for bytes that are minutes away: leaving is what wakes it.
  const leave = (): void => {
    blob[Symbol.asyncDispose]().then(undefined, () => undefined);
  };
  response.once("close", leave);
  try {
    exchange.outcome = blob.outcome;
    exchange.from = blob.from;
    exchange.decision = blob.decision;
    const chunks = blob[Symbol.asyncIterator]();
    try {
      const first = chunks.next();
      const arrived = await within(first, CLIENT_LIMITS.firstChunkWaitMs);
      writeHead(exchange, digest, blob);
      if (arrived === undefined) {
        exchange.response.flushHeaders();
      }
      await sendChunks(exchange, chunks, await first);
    } finally {
      await chunks.return?.();
    }
  } finally {
    response.removeListener("close", leave);
  }
}

function writeHead(exchange: Exchange, digest: Digest, blob: OpenBlob): void {
  const { range, sizeBytes } = blob;
  const headers: Headers = { ...blobHeaders(digest), "content-type": BLOB_MEDIA_TYPE };
  if (range !== undefined && sizeBytes !== undefined) {
    headers["content-range"] = printContentRange(range, sizeBytes);
    headers["content-length"] = range.last - range.first + 1;
  } else if (sizeBytes !== undefined) {
    headers["content-length"] = sizeBytes;
  }
  const status = range === undefined ? 200 : 206;
  exchange.response.writeHead(status, apiHeaders(exchange, headers));
}

function blobHeaders(digest: Digest): Headers {
  return {
    "docker-content-digest": digest,
    etag: etagOf(digest),
    "accept-ranges": "bytes",
    "cache-control": IMMUTABLE,
    "content-type": BLOB_MEDIA_TYPE,
  };
}
