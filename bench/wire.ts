import type { Socket } from "node:net";
import { connect } from "node:net";

export interface Target {
  readonly port: number;
  readonly path: string;
}

/** Fits the processor's cache; a quarter of it made the clients the limit of nginx. */
const BUFFER_BYTES = 262_144;
const ACCEPT =
  "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, */*";
const HEAD_END = Buffer.from("\r\n\r\n");
const shared = Buffer.allocUnsafe(BUFFER_BYTES);

export function toRequest(target: Target): string {
  return `GET ${target.path} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\nAccept: ${ACCEPT}\r\nUser-Agent: sluice-bench\r\n\r\n`;
}

export interface Head {
  readonly status: number;
  readonly bytes: number;
  readonly contentBytes: number;
}

/** Undefined until the whole head is there. */
export function parseHead(received: Buffer): Head | undefined {
  const end = received.indexOf(HEAD_END);
  if (end < 0) {
    return undefined;
  }
  const text = received.toString("latin1", 0, end);
  const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
  return {
    status: Number(text.slice(9, 12)),
    bytes: end + HEAD_END.length,
    contentBytes: length === undefined ? Number.NaN : Number(length),
  };
}

/** Opens one connection; `onChunk` returns false to read no more. */
export function open(target: Target, onChunk: (chunk: Buffer) => boolean): Socket {
  const socket = connect({
    port: target.port,
    host: "127.0.0.1",
    noDelay: true,
    onread: { buffer: shared, callback: (bytes) => onChunk(shared.subarray(0, bytes)) },
  });
  socket.write(toRequest(target));
  return socket;
}
