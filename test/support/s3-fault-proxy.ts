import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, request } from "node:http";
import type { Test } from "tap";

/** What goes wrong with one request. */
export type S3Fault =
  /** Answered in the server's place. */
  | { readonly answer: number; readonly body?: string; readonly headers?: Record<string, string> }
  /** Never answered. */
  | "stall"
  /** The connection is reset before the server sees it. */
  | "reset"
  /** The server does it, and the client does not hear of it. */
  | "lose-answer"
  /** The body ends after so many bytes, by a reset. */
  | { readonly cutAfter: number }
  /** One byte of the body is another one. */
  | { readonly flipAt: number };

export interface S3Request {
  /** `PUT`, `PUT part`, `POST complete`, `GET list` and so on. */
  readonly what: string;
  readonly isConditional: boolean;
  readonly range: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface S3FaultProxy {
  readonly url: string;
  readonly seen: S3Request[];
  /** Asked for each request; undefined lets it through. */
  fault: (request: S3Request) => S3Fault | undefined;
}

/** Between a store and a real S3, to do to them what networks and overloaded servers do. */
export async function startS3FaultProxy(t: Test, port: number): Promise<S3FaultProxy> {
  const seen: S3Request[] = [];
  const proxy: S3FaultProxy = { url: "", seen, fault: () => undefined };
  const server = createServer((incoming, outgoing) => {
    const described = describe(incoming);
    seen.push(described);
    const fault = proxy.fault(described);
    if (fault === "reset") {
      incoming.socket.resetAndDestroy();
    } else if (fault === "stall") {
      incoming.resume();
    } else if (typeof fault === "object" && "answer" in fault) {
      // Answered when all of the request is there, as servers do that look at it.
      incoming.resume().on("end", () => {
        outgoing.writeHead(fault.answer, fault.headers).end(fault.body);
      });
    } else {
      forward(incoming, outgoing, { port, fault });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const own = typeof address === "object" && address !== null ? address.port : 0;
  return Object.assign(proxy, { url: `http://127.0.0.1:${own}` });
}

/** An error as S3 sends it, with whatever status. */
export function s3Answer(status: number, code: string, message = "as the test wants"): S3Fault {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { answer: status, body, headers: { "content-type": "application/xml" } };
}

function forward(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  to: { readonly port: number; readonly fault: S3Fault | undefined },
): void {
  const { method, url: path, headers } = incoming;
  const onward = request({ host: "127.0.0.1", port: to.port, method, path, headers });
  incoming.pipe(onward);
  incoming.on("error", () => onward.destroy());
  outgoing.on("close", () => onward.destroy());
  onward.on("error", () => incoming.socket.resetAndDestroy());
  onward.on("response", (answer) => {
    if (to.fault === "lose-answer") {
      answer.resume().on("end", () => incoming.socket.resetAndDestroy());
      return;
    }
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    let sent = 0;
    answer.on("data", (chunk: Buffer) => {
      const start = sent;
      sent += chunk.byteLength;
      const { fault } = to;
      if (typeof fault === "object" && "cutAfter" in fault && sent >= fault.cutAfter) {
        answer.destroy();
        outgoing.write(chunk.subarray(0, fault.cutAfter - start), () => outgoing.destroy());
        return;
      }
      if (typeof fault === "object" && "flipAt" in fault) {
        const at = fault.flipAt - start;
        chunk[at] = (chunk[at] ?? 0) ^ 1;
      }
      if (!outgoing.write(chunk)) {
        answer.pause();
        outgoing.once("drain", () => answer.resume());
      }
    });
    answer.on("end", () => outgoing.end());
    answer.on("error", () => outgoing.destroy());
  });
}

function describe(incoming: IncomingMessage): S3Request {
  const { searchParams } = new URL(incoming.url ?? "/", "http://s3");
  let kind = searchParams.has("partNumber") ? " part" : "";
  if (kind === "" && searchParams.has("uploadId")) {
    kind = incoming.method === "POST" ? " complete" : " upload";
  } else if (searchParams.has("uploads")) {
    kind = incoming.method === "POST" ? " create" : " list";
  }
  return {
    what: `${incoming.method}${kind}`,
    isConditional: incoming.headers["if-none-match"] === "*",
    range: incoming.headers.range,
    headers: incoming.headers,
  };
}
