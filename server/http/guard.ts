import type { IncomingMessage } from "node:http";
import { RegistryError } from "../errors.ts";
import { CLIENT_LIMITS } from "../limits.ts";

/**
 * What is wrong with a request before its path is even looked at. Each of these has let somebody
 * smuggle a second request past a proxy, or costs more to serve than to refuse.
 *
 * @throws RegistryError `request-invalid` or `method-unsupported`.
 */
export function guardRequest(request: IncomingMessage): void {
  const { method, headers, rawHeaders } = request;
  if (method !== "GET" && method !== "HEAD") {
    throw new RegistryError(
      "method-unsupported",
      "this is a pull-through proxy: it answers GET and HEAD, and pushes go to the registry itself",
    );
  }
  if (!request.httpVersion.startsWith("1.")) {
    throw new RegistryError("request-invalid", "expected HTTP/1.1");
  }
  if (headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) !== 0) {
    throw new RegistryError("request-invalid", `a ${method} request has no body here`);
  }
  if (rawHeaders.length / 2 >= CLIENT_LIMITS.headersMax) {
    // node drops what is past its own limit, so a request that reaches it was not seen whole.
    throw new RegistryError(
      "headers-too-large",
      `the request has more than ${CLIENT_LIMITS.headersMax} header fields`,
    );
  }
  if (countOf(rawHeaders, "host") !== 1) {
    throw new RegistryError("request-invalid", "expected exactly one Host header");
  }
  if ((request.url ?? "").length > CLIENT_LIMITS.urlBytesMax) {
    throw new RegistryError("url-too-long", "the URL is longer than 4 KiB");
  }
}

function countOf(rawHeaders: readonly string[], name: string): number {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const field = rawHeaders[at];
    if (field?.length === name.length && field.toLowerCase() === name) {
      count += 1;
    }
  }
  return count;
}
