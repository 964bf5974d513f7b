import { loadConfig, processEnvironment } from "../config/config.ts";
import { effectiveConfig, effectiveValues } from "../config/effective.ts";
import type { Fingerprint } from "../config/effective-policy.ts";
import { policyFingerprints } from "../config/effective-policy.ts";
import { ConfigError, formatProblem } from "../config/errors.ts";
import { configNotes } from "../config/notes.ts";
import type { Settings } from "../settings.ts";

/** Validates a configuration and prints what is in effect. Returns the exit code. */
export function check(file: string, options: { readonly json?: true }): number {
  try {
    const settings = loadConfig(file, processEnvironment());
    process.stdout.write(options.json ? toJson({ valid: true, settings }) : toText(settings));
    return 0;
  } catch (error) {
    if (!(error instanceof ConfigError)) {
      throw error;
    }
    if (options.json) {
      process.stdout.write(toJson({ valid: false, problems: error.problems }));
    } else {
      process.stderr.write(error.problems.map((problem) => `${formatProblem(problem)}\n`).join(""));
    }
    return 1;
  }
}

/** The effective configuration, then what no configuration says, as comments. */
function toText(settings: Settings): string {
  const { files, notes } = remarks(settings);
  const lines = [
    ...files.map(({ file, sha256 }) => `# ${file} ${sha256}`),
    ...notes.map((note) => `# note: ${note}`),
  ];
  return effectiveConfig(settings) + lines.map((line) => `${line}\n`).join("");
}

function remarks(settings: Settings): {
  readonly files: readonly Fingerprint[];
  readonly notes: readonly string[];
} {
  const { policy } = settings;
  return {
    files: policy === undefined ? [] : policyFingerprints(policy),
    notes: configNotes(settings, Date.now()),
  };
}

type Outcome =
  | { readonly valid: true; readonly settings: Settings }
  | { readonly valid: false; readonly problems: ConfigError["problems"] };

function toJson(outcome: Outcome): string {
  const shown = outcome.valid
    ? { valid: true, config: effectiveValues(outcome.settings), ...remarks(outcome.settings) }
    : outcome;
  return `${JSON.stringify(shown, undefined, 2)}\n`;
}
