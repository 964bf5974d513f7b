import type { IncomingMessage, ServerResponse } from "node:http";

/**
 * Calls `begin` when a response has the connection for itself. Pipelined requests take turns (RFC
 * 9112 §9.3.2): node parses them at once, but until the one before is done a response has no
 * socket, hears nothing of its end, and would hold what it opened for ever.
 */
export function inTurn(
  request: IncomingMessage,
  response: ServerResponse,
  begin: () => void,
): void {
  if (response.socket !== null) {
    begin();
    return;
  }
  const { socket } = request;
  const go = (): void => {
    socket.removeListener("close", leave);
    // Not from within the assignment: what was answered before is still being finished.
    setImmediate(begin);
  };
  const leave = (): void => {
    response.removeListener("socket", go);
  };
  response.once("socket", go);
  socket.once("close", leave);
}
