import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:net";
import type { Test } from "tap";
import t from "tap";
import { digestOf } from "../../storage/digest.ts";
import type { RigOptions } from "../support/upstream-rig.ts";
import { bytesOf, openUpstream } from "../support/upstream-rig.ts";

const MANIFEST = { repository: "team/app", reference: "1" };
const BLOB = { repository: "team/app", digest: digestOf(Buffer.from("x")), offset: 0 };
const OK = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/** An upstream that answers each request with what `lie` writes to its socket. */
async function openLiar(
  t: Test,
  lie: (socket: Socket) => void,
  options?: RigOptions,
): Promise<ReturnType<typeof openUpstream>> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", () => lie(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
  });
  const { port } = server.address() as AddressInfo;
  return openUpstream(t, [`http://127.0.0.1:${port}`], options);
}

t.test("what is not HTTP, or breaks it, is refused and not retried", async (t) => {
  const lies: [what: string, answer: string][] = [
    ["another protocol", "220 smtp.example ESMTP\r\n"],
    ["two lengths", `${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
    ["a negative length", `${OK}Content-Length: -2\r\n\r\n{}`],
    ["a huge length", `${OK}Content-Length: 99999999999999999999\r\n\r\n{}`],
    ["length and chunks", `${OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["a header of 64 KB", `${OK}X: ${"x".repeat(65_536)}\r\n\r\n`],
    ["thousands of headers", `${OK}${"X: y\r\n".repeat(50_000)}\r\n`],
    ["1,000 early hints", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000)],
    ["a chunk without a size", `${OK}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}`],
  ];
  for (const [what, answer] of lies) {
    let asked = 0;
    const { upstream } = await openLiar(t, (socket) => {
      asked += 1;
      socket.write(answer);
    });
    await t.rejects(upstream.fetchManifest(MANIFEST), { code: "upstream-invalid" }, what);
    t.equal(asked, 1, what);
  }
});

t.test("early hints without an end are cut off at the deadline", async (t) => {
  const timers = new Set<NodeJS.Timeout>();
  t.teardown(() => timers.forEach(clearInterval));
  const { upstream } = await openLiar(
    t,
    (socket) => {
      const hint = () => socket.write("HTTP/1.1 103 Early Hints\r\n\r\n");
      timers.add(setInterval(hint, 20));
    },
    { limits: { blobFirstByteTimeoutMs: 200 } },
  );
  await t.rejects(upstream.openBlob(BLOB), { code: "upstream-unavailable", message: /in time/ });
});

t.test("headers that never end are cut off at the deadline", async (t) => {
  const { upstream } = await openLiar(t, (socket) => socket.write(`${OK}X-Half: `), {
    limits: { manifestFirstByteTimeoutMs: 100 },
  });
  await t.rejects(upstream.fetchManifest(MANIFEST), { message: /did not answer in time/ });
});

t.test("a manifest that never ends arriving is cut off, too", async (t) => {
  const { upstream } = await openLiar(
    t,
    (socket) => socket.write(`${OK}Content-Length: 1000\r\n\r\n{`),
    { limits: { answerTimeoutMs: 100 } },
  );
  await t.rejects(upstream.fetchManifest(MANIFEST), { code: "upstream-unavailable" });
});

t.test("bytes after the announced length are not the blob's", async (t) => {
  const { upstream } = await openLiar(t, (socket) => {
    socket.write(`${OK}Content-Length: 4\r\n\r\nabcdEXTRA`);
  });
  t.equal((await bytesOf(await upstream.openBlob(BLOB))).toString(), "abcd");
});

t.test("a body that a HEAD should not have does not spoil the next answer", async (t) => {
  let asked = 0;
  const { upstream } = await openLiar(t, (socket) => {
    asked += 1;
    const isHead = asked % 2 === 1;
    socket.write(`${OK}Content-Length: 2\r\n\r\n${isHead ? '{"evil":1}' : "{}"}`);
  });
  for (let round = 0; round < 5; round += 1) {
    t.equal((await upstream.headManifest(MANIFEST)).sizeBytes, 2);
    t.equal((await upstream.fetchManifest(MANIFEST)).bytes.toString(), "{}");
  }
});

t.test("a connection that ends before any answer is tried again, then given up", async (t) => {
  let asked = 0;
  const { upstream, delays } = await openLiar(t, (socket) => {
    asked += 1;
    socket.resetAndDestroy();
  });
  await t.rejects(upstream.fetchManifest(MANIFEST), {
    code: "upstream-unavailable",
    message: /closed the connection/,
  });
  t.ok(asked >= 3 && asked <= 4, `asked ${asked} times`);
  t.equal(delays.length, 2);
});

t.test("a header that arrives byte by byte is read like any other", async (t) => {
  const answer = `${OK}Docker-Content-Digest: ${BLOB.digest}\r\nContent-Length: 2\r\n\r\n{}`;
  const { upstream } = await openLiar(t, (socket) => {
    socket.setNoDelay(true);
    let at = 0;
    const next = (): void => {
      if (at < answer.length && !socket.destroyed) {
        socket.write(answer.charAt(at), () => setImmediate(next));
        at += 1;
      }
    };
    next();
  });
  t.equal((await upstream.fetchManifest(MANIFEST)).bytes.toString(), "{}");
});
