import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { finished } from "node:stream/promises";
import t from "tap";
import { connectWide } from "../../server/upstream/wide-socket.ts";
import { digestOf, hasher } from "../../storage/digest.ts";
import { bytesOfSize, openUpstream } from "../support/upstream-rig.ts";

const BLOB = bytesOfSize(24_000_000);
const HEAD = `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n`;

/** Sends `parts` to whoever connects and asks, as fast as they are taken. */
async function openSender(parts: readonly (Buffer | string)[]): Promise<{
  readonly port: number;
  close: () => void;
}> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => {
      socket.cork();
      for (const part of parts) {
        socket.write(part);
      }
      socket.uncork();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { port, close: () => server.close() };
}

t.test("reads larger than node's own arrive whole and in order, fast reader or slow", async (t) => {
  const sender = await openSender([HEAD, `Content-Length: ${BLOB.length}\r\n\r\n`, BLOB]);
  const digest = digestOf(BLOB);
  for (const readBytes of [65_536, 131_072, 1_048_576]) {
    for (const pauseEvery of [0, 1, 3]) {
      const { upstream } = openUpstream(t, [`http://127.0.0.1:${sender.port}`], {
        limits: { readBytes },
      });
      const body = await upstream.openBlob({ repository: "team/app", digest, offset: 0 });
      const hash = hasher("sha256");
      let resume = (): void => undefined;
      let chunks = 0;
      await body.pipe({
        start: (callback) => {
          resume = callback;
        },
        write: (chunk) => {
          hash.update(chunk);
          chunks += 1;
          if (pauseEvery === 0 || chunks % pauseEvery !== 0) {
            return true;
          }
          setImmediate(resume);
          return false;
        },
      });
      t.equal(`sha256:${hash.digest("hex")}`, digest, `${readBytes} ${pauseEvery}`);
    }
  }
  sender.close();
});

t.test("the same holds for a chunked body, whose chunks end anywhere in a read", async (t) => {
  const parts: (Buffer | string)[] = [HEAD, "Transfer-Encoding: chunked\r\n\r\n"];
  let at = 0;
  for (let size = 1; at < BLOB.length; size = (size * 7) % 300_007) {
    const part = BLOB.subarray(at, at + size);
    parts.push(`${part.length.toString(16)}\r\n`, part, "\r\n");
    at += part.length;
  }
  parts.push("0\r\nX-Trailer: of no interest\r\n\r\n");
  const sender = await openSender(parts);
  const digest = digestOf(BLOB);
  const { upstream } = openUpstream(t, [`http://127.0.0.1:${sender.port}`]);
  for (let round = 0; round < 2; round += 1) {
    const body = await upstream.openBlob({ repository: "team/app", digest, offset: 0 });
    const hash = hasher("sha256");
    let resume = (): void => undefined;
    let chunks = 0;
    await body.pipe({
      start: (callback) => {
        resume = callback;
      },
      write: (chunk) => {
        hash.update(chunk);
        chunks += 1;
        if (chunks % 5 !== 0) {
          return true;
        }
        queueMicrotask(resume);
        return false;
      },
    });
    t.equal(`sha256:${hash.digest("hex")}`, digest);
  }
  sender.close();
});

t.test("a socket that nobody reads keeps what it has, and its order", async (t) => {
  const sender = await openSender([BLOB.subarray(0, 2_000_000)]);
  const options = { host: "127.0.0.1", port: sender.port };
  const socket = connectWide(options, { readBytes: 131_072 });
  await once(socket, "connect");
  socket.write("go");
  await once(socket, "readable");
  t.ok(socket.readableLength <= 2 * 131_072, "bounded");
  const chunks: Buffer[] = [];
  let seenBytes = 0;
  socket.on("data", (chunk: Buffer) => {
    chunks.push(Buffer.from(chunk));
    seenBytes += chunk.length;
    if (seenBytes === 2_000_000) {
      socket.destroy();
    }
  });
  await finished(socket).catch(() => undefined);
  t.ok(Buffer.concat(chunks).equals(BLOB.subarray(0, 2_000_000)));
  sender.close();
});
