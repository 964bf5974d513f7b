import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get } from "node:http";

/** The whole body, whatever the status. */
export async function fetchBytes(
  url: string,
  headers: Record<string, string> = {},
): Promise<Buffer> {
  const response = await fetch(url, { headers });
  return Buffer.from(await response.arrayBuffer());
}

/** The response as soon as its headers are there; the body waits. */
export async function open(
  url: string,
  headers: Record<string, string> = {},
): Promise<IncomingMessage> {
  const request = get(url, { headers, agent: false });
  request.on("error", () => undefined);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.on("error", () => undefined);
  return response;
}
