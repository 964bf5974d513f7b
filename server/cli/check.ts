import {
  effectiveConfig,
  effectiveValues,
  loadConfig,
  processEnvironment,
} from "../config/config.ts";
import { ConfigError, formatProblem } from "../config/errors.ts";
import type { Settings } from "../settings.ts";

/** Validates a configuration and prints what is in effect. Returns the exit code. */
export function check(file: string, options: { readonly json?: true }): number {
  try {
    const settings = loadConfig(file, processEnvironment());
    process.stdout.write(
      options.json ? toJson({ valid: true, settings }) : effectiveConfig(settings),
    );
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

type Outcome =
  | { readonly valid: true; readonly settings: Settings }
  | { readonly valid: false; readonly problems: ConfigError["problems"] };

function toJson(outcome: Outcome): string {
  const shown = outcome.valid
    ? { valid: true, config: effectiveValues(outcome.settings) }
    : outcome;
  return `${JSON.stringify(shown, undefined, 2)}\n`;
}
