import { isLoopbackHost } from "../loopback.ts";
import type { Path } from "./nodes.ts";
import type { ConfigScope } from "./scope.ts";

/**
 * A url that may be sent something secret, or that is believed: https, or http on loopback. As it
 * is written, but for what every parser of urls makes equal.
 *
 * @param example - completes "a url such as".
 */
export function readTrustedUrl(
  scope: ConfigScope,
  path: Path,
  text: string | undefined,
  example: string,
): string | undefined {
  if (text === undefined) {
    return undefined;
  }
  const url = URL.parse(text);
  const isPlain = url?.protocol === "http:" && !isLoopbackHost(url.hostname);
  if (url === null || isPlain) {
    scope.mismatch(path, `an https url such as ${example}; plain http only on loopback`);
    return undefined;
  }
  if (url.username !== "" || url.password !== "" || text.includes("#")) {
    scope.mismatch(path, "a url without user name, password and #");
    return undefined;
  }
  return url.href;
}
