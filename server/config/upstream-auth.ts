import { checkCloudAuth } from "../credentials/cloud-check.ts";
import type { BasicCredential, CloudAuth, UpstreamSettings } from "../settings.ts";
import type { AuthDraft } from "./draft.ts";
import type { Path } from "./nodes.ts";
import type { ConfigScope } from "./scope.ts";
import { readTrustedUrl } from "./urls.ts";
import { isVariable } from "./variables.ts";

const BASIC_KEYS = ["username", "passwordFile", "password"];
const CLOUD_KEYS = ["region", "endpoint", "keyFile", "clientId"];

type Owner = Pick<UpstreamSettings, "name" | "urls">;

/** How we log in to one upstream: as a user, or by way of a cloud, never both. */
export function readAuth(
  scope: ConfigScope,
  auth: AuthDraft | undefined,
  owner: Owner,
): BasicCredential | CloudAuth | undefined {
  const path = ["upstreams", owner.name, "auth"];
  if (auth === undefined) {
    return undefined;
  }
  const has = (key: string) => scope.has([...path, key]);
  if (has("provider")) {
    for (const key of BASIC_KEYS.filter(has)) {
      scope.problem([...path, key], `found ${key} and provider, expected one of them`, "key");
    }
    const cloud = readCloudAuth(scope, path, auth);
    const problem = cloud && checkCloudAuth(owner.name, owner.urls, cloud);
    if (problem !== undefined) {
      scope.problem(path, problem, "key");
    }
    return cloud;
  }
  for (const key of CLOUD_KEYS.filter(has)) {
    const message = `found ${key}, which nothing reads, expected provider beside it`;
    scope.problem([...path, key], message, "key");
  }
  if (!has("username")) {
    const expected = "expected username, and passwordFile or password; or provider";
    scope.problem(path, `found no username, ${expected}`, "key");
  }
  return readBasic(scope, path, auth);
}

function readCloudAuth(scope: ConfigScope, path: Path, auth: AuthDraft): CloudAuth | undefined {
  const { provider, region, clientId } = auth;
  const example = "https://registry.example";
  const endpoint = readTrustedUrl(scope, [...path, "endpoint"], auth.endpoint, example);
  const keyFile = scope.readableFile([...path, "keyFile"], auth.keyFile);
  return (
    provider && {
      provider,
      ...(region !== undefined && { region }),
      ...(endpoint !== undefined && { endpoint: endpoint.replace(/\/+$/u, "") }),
      ...(keyFile !== undefined && { keyFile }),
      ...(clientId !== undefined && { clientId }),
    }
  );
}

function readBasic(scope: ConfigScope, path: Path, auth: AuthDraft): BasicCredential | undefined {
  const { username, password } = auth;
  const passwordFile = scope.readableFile([...path, "passwordFile"], auth.passwordFile);
  if (password !== undefined && !isVariable(scope.written([...path, "password"]))) {
    const message = `found a value that is not shown, expected a variable such as \${TEAM_PASSWORD}, or passwordFile`;
    scope.problem([...path, "password"], message);
  }
  if (password !== undefined && auth.passwordFile !== undefined) {
    scope.problem([...path, "password"], "found password and passwordFile, expected one", "key");
  } else if (!["password", "passwordFile"].some((key) => scope.has([...path, key]))) {
    scope.problem(path, "found no password, expected passwordFile or password", "key");
  }
  if (username === undefined) {
    return undefined;
  }
  return passwordFile === undefined
    ? { username, ...(password !== undefined && { password }) }
    : { username, passwordFile };
}
