export type Environment = Readonly<Record<string, string | undefined>>;

export interface Substituted {
  readonly text: string;
  readonly problem?: string;
}

const VARIABLE_PATTERN = /\$(\$?)\{([^}]*)(\}?)/gu;
const NAME_PATTERN = /^[A-Za-z_][A-Za-z0-9_]*$/u;

/**
 * Fills in `${NAME}`; `$${` stands for a plain `${`. An unset variable is a problem, and so is one
 * that is set to nothing: a secret that did not arrive must not become an empty password.
 */
export function substitute(text: string, environment: Environment): Substituted {
  let problem: string | undefined;
  const filled = text.replace(
    VARIABLE_PATTERN,
    (whole: string, dollar: string, name: string, end: string) => {
      if (dollar !== "") {
        return whole.slice(1);
      }
      const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
      if (end === "" || !NAME_PATTERN.test(name)) {
        problem ??= `found \${ without a variable's name, expected \${NAME}, or $\${ for a plain \${`;
      } else if (value === undefined || value === "") {
        const found = value === undefined ? "not set" : "empty";
        problem ??= `the environment variable ${name} is ${found}, expected a value`;
      }
      return value ?? whole;
    },
  );
  return problem === undefined ? { text: filled } : { text: filled, problem };
}

/** Whether a value is one variable and nothing else, as a secret in a file has to be. */
export function isVariable(written: unknown): boolean {
  return typeof written === "string" && /^\$\{[A-Za-z_][A-Za-z0-9_]*\}$/u.test(written);
}
