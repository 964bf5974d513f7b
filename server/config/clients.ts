import { readFileSync, statSync } from "node:fs";
import { checkHtpasswd } from "../clients/htpasswd.ts";
import { ACCESS_LIMITS } from "../limits.ts";
import type { ClientSettings, TokenSettings, UpstreamSettings } from "../settings.ts";
import { readAccessRules } from "./access-rules.ts";
import type { ClientsDraft, ConfigDraft, TokenDraft } from "./draft.ts";
import type { Path } from "./nodes.ts";
import type { ConfigScope } from "./scope.ts";
import { readTrustedUrl } from "./urls.ts";

const CLIENTS = ["clients"];
const HTPASSWD = [...CLIENTS, "htpasswdFile"];
const NAME_CLAIM = "sub";
const GROUPS_CLAIM = "groups";

/** Who may pull, as the file has it; undefined when it does not say. */
export function readClients(
  scope: ConfigScope,
  { clients }: ConfigDraft,
  upstreams: readonly UpstreamSettings[],
): ClientSettings | undefined {
  if (clients === undefined) {
    return undefined;
  }
  checkWaysIn(scope, clients);
  const htpasswdFile = readHtpasswdFile(scope, clients.htpasswdFile);
  const name = clients.certificates?.name;
  const rules = readAccessRules({ scope, upstreams }, clients);
  return {
    ...(htpasswdFile !== undefined && { htpasswdFile }),
    tokens: readTokens(scope, clients.tokens ?? []),
    ...(name !== undefined && { certificates: { name } }),
    anonymous: clients.anonymous ?? false,
    ...(rules !== undefined && { rules }),
  };
}

/** One that cannot be used is as good as none: then nobody could pull anything. */
function checkWaysIn(scope: ConfigScope, { anonymous = false }: ClientsDraft): void {
  const has = (key: string) => scope.has([...CLIENTS, key]);
  const isKnown = ["htpasswdFile", "tokens", "certificates"].some(has);
  if (!isKnown && !anonymous) {
    const expected = "expected htpasswdFile, tokens, certificates or anonymous: true";
    scope.problem(CLIENTS, `found no way to be let in, ${expected}`, "key");
  }
  if (has("certificates") && !scope.has(["tls", "clientCaFile"])) {
    const message = "found certificates and no tls.clientCaFile, expected their authorities there";
    scope.problem([...CLIENTS, "certificates"], message, "key");
  }
}

/** Looked into as well: whoever is left out by a slip would only be told that he is unknown. */
function readHtpasswdFile(scope: ConfigScope, text: string | undefined): string | undefined {
  const file = scope.readableFile(HTPASSWD, text);
  if (file === undefined) {
    return undefined;
  }
  const { passwordFileBytesMax } = ACCESS_LIMITS;
  if (statSync(file).size > passwordFileBytesMax) {
    scope.mismatch(HTPASSWD, `a file of at most ${passwordFileBytesMax} bytes`);
    return undefined;
  }
  const [first, ...others] = checkHtpasswd(readFileSync(file, "utf8"));
  if (first !== undefined) {
    const more = others.length === 0 ? "" : `, and ${others.length} more like it`;
    const message = `found ${scope.quote(HTPASSWD)}, line ${first.line}: ${first.problem}${more}`;
    scope.problem(HTPASSWD, message);
  }
  return file;
}

function readTokens(
  scope: ConfigScope,
  drafts: readonly (TokenDraft | undefined)[],
): readonly TokenSettings[] {
  const seen = new Set<string>();
  return drafts.flatMap((draft, index) => {
    const path = [...CLIENTS, "tokens", index];
    const token = draft && readToken(scope, path, draft);
    if (token === undefined) {
      return [];
    }
    const pair = JSON.stringify([token.issuer, token.audience]);
    if (seen.has(pair)) {
      scope.mismatch([...path, "audience"], "each issuer and audience once");
    }
    seen.add(pair);
    return token;
  });
}

function readToken(scope: ConfigScope, path: Path, draft: TokenDraft): TokenSettings | undefined {
  const { issuer, audience, nameClaim = NAME_CLAIM, groupsClaim = GROUPS_CLAIM } = draft;
  checkKeySource(scope, path);
  const file = (key: "jwksFile" | "caFile" | "tokenFile") =>
    scope.readableFile([...path, key], draft[key]);
  const example = "https://issuer.example/keys";
  const jwksUrl = readTrustedUrl(scope, [...path, "jwksUrl"], draft.jwksUrl, example);
  const [jwksFile, caFile, tokenFile] = [file("jwksFile"), file("caFile"), file("tokenFile")];
  if (jwksFile !== undefined && !isKeySet(jwksFile)) {
    scope.mismatch([...path, "jwksFile"], 'a JWK set: { "keys": [...] }, with a key or more');
  }
  if (issuer === undefined || audience === undefined) {
    return undefined;
  }
  return {
    issuer,
    audience,
    ...(jwksFile !== undefined && { jwksFile }),
    ...(jwksUrl !== undefined && { jwksUrl }),
    ...(caFile !== undefined && { caFile }),
    ...(tokenFile !== undefined && { tokenFile }),
    nameClaim,
    groupsClaim,
  };
}

/** Exactly one place of keys, and nothing beside it that only the other one reads. */
function checkKeySource(scope: ConfigScope, path: Path): void {
  const has = (key: string) => scope.has([...path, key]);
  if (has("jwksFile") && has("jwksUrl")) {
    scope.problem([...path, "jwksUrl"], "found jwksFile and jwksUrl, expected one", "key");
  } else if (!has("jwksFile") && !has("jwksUrl")) {
    scope.problem(path, "found no keys, expected jwksFile or jwksUrl", "key");
  }
  for (const key of has("jwksUrl") ? [] : ["caFile", "tokenFile"].filter(has)) {
    const message = `found ${key}, which nothing reads, expected jwksUrl beside it`;
    scope.problem([...path, key], message, "key");
  }
}

/** Only what tells it from other files: whoever uses the keys looks at each of them. */
function isKeySet(file: string): boolean {
  if (statSync(file).size > ACCESS_LIMITS.keySetBytesMax) {
    return false;
  }
  try {
    const { keys } = Object(JSON.parse(readFileSync(file, "utf8")));
    return Array.isArray(keys) && keys.length > 0;
  } catch {
    return false;
  }
}
