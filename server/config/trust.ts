import { readFileSync, statSync } from "node:fs";
import { CONFIG_LIMITS } from "../limits.ts";
import { isLoopbackHost } from "../loopback.ts";
import type { TrustSettings } from "../policy-settings.ts";
import type { TrustDraft } from "./policy-draft.ts";
import type { ConfigScope } from "./scope.ts";

/** Its first root.json comes with the library; that of any other has to be named. */
const SIGSTORE_MIRROR = "https://tuf-repo-cdn.sigstore.dev";
const ROOT_FILE = ["trust", "tufRootFile"];
const MIRROR = ["trust", "tufMirror"];

/** Where the trusted root of the public good instance comes from. */
export function readTrust(scope: ConfigScope, draft: TrustDraft | undefined): TrustSettings {
  const publicGood = draft?.publicGood ?? "bundled";
  for (const path of [MIRROR, ROOT_FILE]) {
    if (publicGood === "bundled" && scope.has(path)) {
      const message = `found ${path[1]}, which nothing reads, expected publicGood: tuf beside it`;
      scope.problem(path, message, "key");
    }
  }
  const tufMirror = readMirror(scope, draft?.tufMirror);
  const tufRootFile = scope.readableFile(ROOT_FILE, draft?.tufRootFile);
  if (tufRootFile !== undefined && !isTufRoot(tufRootFile)) {
    scope.mismatch(ROOT_FILE, "the root.json of a TUF repository");
  }
  if (tufMirror !== undefined && tufMirror !== SIGSTORE_MIRROR && !scope.has(ROOT_FILE)) {
    scope.problem(MIRROR, "found no tufRootFile for this mirror, expected its root.json", "key");
  }
  return {
    publicGood,
    ...(tufMirror !== undefined && { tufMirror }),
    ...(tufRootFile !== undefined && { tufRootFile }),
  };
}

function readMirror(scope: ConfigScope, text: string | undefined): string | undefined {
  if (text === undefined) {
    return undefined;
  }
  const url = URL.parse(text);
  const isPlain = url?.protocol === "http:" && !isLoopbackHost(url.hostname);
  if (url === null || isPlain) {
    scope.mismatch(MIRROR, "an https url such as https://tuf.example");
    return undefined;
  }
  if (url.username !== "" || url.password !== "" || /[?#]/u.test(url.href)) {
    scope.mismatch(MIRROR, "a url without user name, password, ? and #");
  }
  return url.href.replace(/\/+$/u, "");
}

/** Only what tells it from other files: TUF itself verifies it. */
function isTufRoot(file: string): boolean {
  if (statSync(file).size > CONFIG_LIMITS.trustFileBytesMax) {
    return false;
  }
  try {
    const { signed } = Object(JSON.parse(readFileSync(file, "utf8")));
    return Object(signed)["_type"] === "root";
  } catch {
    return false;
  }
}
