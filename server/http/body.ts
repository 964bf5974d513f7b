import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { CLIENT_LIMITS } from "../limits.ts";
import type { Exchange } from "./exchange.ts";

/**
 * Sends what is left of a body, one chunk at a time: the buffer is used again, so the next chunk
 * is asked for only when the last one is with the kernel. Ends quietly when the client is gone.
 */
export async function sendChunks(
  exchange: Exchange,
  chunks: AsyncIterator<Uint8Array>,
  first: IteratorResult<Uint8Array>,
): Promise<void> {
  const { response } = exchange;
  const stall = watchStall(response);
  try {
    for (let next = first; next.done !== true; next = await chunks.next()) {
      stall.isWriting = true;
      const isAlive = await write(response, next.value);
      stall.isWriting = false;
      if (!isAlive) {
        return;
      }
      exchange.sent(next.value.byteLength);
    }
    response.end();
    if (!response.writableFinished && !response.destroyed) {
      await once(response, "close");
    }
  } finally {
    stall.end();
  }
}

/** False when the client has left. */
function write(response: ServerResponse, chunk: Uint8Array): Promise<boolean> {
  if (response.destroyed || response.socket === null) {
    return Promise.resolve(false);
  }
  return new Promise((resolve) => {
    response.write(chunk, (error) => resolve(error === null || error === undefined));
  });
}

interface Stall {
  isWriting: boolean;
  end(): void;
}

/**
 * The socket's own timer knows of partial progress, which a timer of ours would not. A reader that
 * waits for a slow upstream is not stalled, so only the time in a write counts.
 */
function watchStall(response: ServerResponse): Stall {
  const { socket } = response;
  const stall: Stall = {
    isWriting: false,
    end: () => {
      response.removeListener("timeout", onTimeout);
      socket?.setTimeout(CLIENT_LIMITS.keepAliveTimeoutMs);
    },
  };
  const onTimeout = (): void => {
    if (stall.isWriting) {
      response.destroy();
    } else {
      socket?.setTimeout(CLIENT_LIMITS.writeStallTimeoutMs);
    }
  };
  response.on("timeout", onTimeout);
  socket?.setTimeout(CLIENT_LIMITS.writeStallTimeoutMs);
  return stall;
}
