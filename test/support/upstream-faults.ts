import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** What goes wrong with an answer. Fields combine: status 200 with a body stalled after 10 bytes. */
export interface Fault {
  /** With an error body of the API for 400 and above, unless `body` is given. */
  readonly status?: number;
  /** Of the error body. */
  readonly code?: string;
  /** Added to, or in place of, the headers of the right answer. */
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** In place of the right body. Ranges apply to it. */
  readonly body?: Uint8Array | string;
  /** A redirect to this url; `…/*` is followed by the path that was asked for. */
  readonly redirect?: string;
  /** Sends nothing at all until `release`. */
  readonly hang?: boolean;
  /** Closes the connection without an answer. */
  readonly reset?: boolean;
  /** Sends so many bytes of the body, then nothing until `release`. */
  readonly stallAfterBytes?: number;
  /** Sends so many bytes of the body, then breaks the connection. */
  readonly truncateAfterBytes?: number;
  /** Sends a body without its length, chunked. */
  readonly chunked?: boolean;
  /** As if Range were unknown: always 200 and the whole. */
  readonly ignoreRange?: boolean;
  readonly bytesPerSecond?: number;
}

/** Opened once, for good. */
export class Gate {
  readonly #door = Promise.withResolvers<void>();

  get opened(): Promise<void> {
    return this.#door.promise;
  }

  open(): void {
    this.#door.resolve();
  }
}

export interface Sending {
  readonly request: {
    readonly method: string;
    readonly headers: { readonly range?: string | undefined };
  };
  readonly response: ServerResponse;
  readonly body: Buffer;
  readonly fault: Fault;
  readonly gate: Gate;
}

const CHUNK_BYTES = 65_536;
const THROTTLE_TICK_MS = 20;

/** Sends a body, or the range of it that was asked for, with the faults that concern bodies. */
export async function sendBody({ request, response, body, fault, gate }: Sending): Promise<void> {
  const range =
    fault.ignoreRange === true ? undefined : rangeOf(request.headers.range, body.length);
  if (range === "unsatisfiable") {
    response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
    return;
  }
  const { first, last } = range ?? { first: 0, last: body.length - 1 };
  const part = body.subarray(first, last + 1);
  response.statusCode = fault.status ?? (range === undefined ? 200 : 206);
  if (range !== undefined && !response.hasHeader("content-range")) {
    response.setHeader("content-range", `bytes ${first}-${last}/${body.length}`);
  }
  if (fault.chunked !== true && !response.hasHeader("content-length")) {
    response.setHeader("content-length", part.length);
  }
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  response.flushHeaders();
  const cut = fault.stallAfterBytes ?? fault.truncateAfterBytes ?? part.length;
  await write(response, part.subarray(0, cut), fault.bytesPerSecond);
  if (fault.truncateAfterBytes !== undefined) {
    response.destroy();
    return;
  }
  if (fault.stallAfterBytes !== undefined) {
    await gate.opened;
    await write(response, part.subarray(cut), fault.bytesPerSecond);
  }
  response.end();
}

async function write(
  response: ServerResponse,
  bytes: Buffer,
  bytesPerSecond: number | undefined,
): Promise<void> {
  const chunkBytes =
    bytesPerSecond === undefined
      ? CHUNK_BYTES
      : Math.max(1, Math.floor((bytesPerSecond * THROTTLE_TICK_MS) / 1000));
  for (let at = 0; at < bytes.length && !response.destroyed; at += chunkBytes) {
    if (!response.write(bytes.subarray(at, at + chunkBytes))) {
      await writable(response);
    }
    if (bytesPerSecond !== undefined) {
      await sleep(THROTTLE_TICK_MS);
    }
  }
}

/** Until there is room again, or nobody to write for. */
function writable(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

function rangeOf(
  header: string | undefined,
  size: number,
): { readonly first: number; readonly last: number } | "unsatisfiable" | undefined {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? "");
  if (match === null) {
    return undefined;
  }
  const first = Number(match[1]);
  const last = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  return first >= size || last < first ? "unsatisfiable" : { first, last };
}
