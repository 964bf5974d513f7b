import { readFileSync, statSync } from "node:fs";
import { CredentialError } from "../credentials/credential.ts";
import { parseKeyring } from "../credentials/docker-keyring.ts";
import { checkKubeletProviders } from "../credentials/kubelet-providers.ts";
import type { CredentialSettings, KubeletProviderSettings } from "../settings.ts";
import type { CredentialsDraft } from "./draft.ts";
import type { ConfigScope } from "./scope.ts";

const DOCKER_CONFIG = ["credentials", "dockerConfigFile"];
const PROVIDERS = ["credentials", "kubeletProviders"];
const ADMIN_TOKEN = ["adminTokenFile"];
/** A header has to hold it. */
const TOKEN_BYTES_MAX = 4096;

/** Where log-ins are looked up for upstreams without one of their own. */
export function readCredentials(
  scope: ConfigScope,
  draft: CredentialsDraft | undefined,
): CredentialSettings {
  const dockerConfigFile = scope.readableFile(DOCKER_CONFIG, draft?.dockerConfigFile);
  if (dockerConfigFile !== undefined) {
    checkDockerConfig(scope, dockerConfigFile);
  }
  const kubeletProviders = readKubeletProviders(scope, draft?.kubeletProviders);
  return {
    ...(dockerConfigFile !== undefined && { dockerConfigFile }),
    ...(kubeletProviders !== undefined && { kubeletProviders }),
  };
}

/** A broken one is refused here, so that a reload leaves the one that is in force. */
function checkDockerConfig(scope: ConfigScope, file: string): void {
  try {
    parseKeyring(file, readFileSync(file, "utf8"));
  } catch (error) {
    if (!(error instanceof CredentialError)) {
      throw error;
    }
    scope.problem(DOCKER_CONFIG, error.message);
  }
}

function readKubeletProviders(
  scope: ConfigScope,
  draft: CredentialsDraft["kubeletProviders"],
): KubeletProviderSettings | undefined {
  const configFile = scope.readableFile([...PROVIDERS, "configFile"], draft?.configFile);
  const binDir = scope.readableFolder([...PROVIDERS, "binDir"], draft?.binDir);
  if (configFile === undefined || binDir === undefined) {
    return undefined;
  }
  const [first, ...others] = checkKubeletProviders({ configFile, binDir });
  if (first !== undefined) {
    const more = others.length === 0 ? "" : `; and ${others.length} more problems in it`;
    scope.problem([...PROVIDERS, "configFile"], `${first}${more}`);
  }
  return { configFile, binDir };
}

/** A file with nothing in it would be a token that everybody has. */
export function readAdminTokenFile(
  scope: ConfigScope,
  text: string | undefined,
): string | undefined {
  const file = scope.readableFile(ADMIN_TOKEN, text);
  if (file === undefined) {
    return undefined;
  }
  if (statSync(file).size > TOKEN_BYTES_MAX) {
    scope.mismatch(ADMIN_TOKEN, `a file of at most ${TOKEN_BYTES_MAX} bytes`);
  } else if (readFileSync(file, "utf8").trim() === "") {
    const message = `found ${scope.quote(ADMIN_TOKEN)} which is empty, expected a file that holds a token`;
    scope.problem(ADMIN_TOKEN, message);
  }
  return file;
}
