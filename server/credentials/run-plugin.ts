import { CredentialError } from "./credential.ts";

export interface PluginRun {
  /** An absolute path, or a name that is looked up on PATH. */
  readonly command: string;
  readonly args: readonly string[];
  readonly input: string;
  /** Added to the process's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** For messages: `credHelpers docker-credential-ecr-login`. */
  readonly description: string;
}

export interface PluginResult {
  readonly exitCode: number;
  readonly stdout: string;
  /** Its beginning, printable: for people. May hold what the plugin says of its own accord. */
  readonly stderr: string;
}

/**
 * Runs a credential helper: bounded in time and output, its whole process group ended with it.
 *
 * @throws CredentialError when it cannot be started, does not end in time or writes too much.
 */
export function runPlugin({ description }: PluginRun): Promise<PluginResult> {
  return Promise.reject(new CredentialError(`${description} is not there yet`));
}
