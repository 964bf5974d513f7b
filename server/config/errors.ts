/** What is wrong with a configuration, and where. Line and column count from 1. */
export interface Problem {
  /** The file as it was named, or the environment variable. */
  readonly file: string;
  /** Absent when the whole file is meant, or a variable. */
  readonly line?: number;
  readonly column?: number;
  readonly message: string;
}

/** A configuration that must not be run, with all that is wrong with it, sorted by position. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code = "config-invalid";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], options?: ErrorOptions) {
    const sorted = firstOfEachPlace(problems.toSorted(byPosition));
    super(sorted.map(formatProblem).join("\n"), options);
    this.problems = sorted;
  }
}

/** `file:line:column: message`, the form that editors and CI systems turn into links. */
export function formatProblem({ file, line, column, message }: Problem): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  return `${place}: ${message}`;
}

function byPosition(a: Problem, b: Problem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}

/** A second complaint about the same place is nearly always a consequence of the first. */
function firstOfEachPlace(sorted: readonly Problem[]): readonly Problem[] {
  return sorted.filter((problem, index) => {
    const before = sorted[index - 1];
    return (
      before?.line === undefined || before.line !== problem.line || before.column !== problem.column
    );
  });
}
