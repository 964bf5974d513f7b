import { getStaticTOMLValue, ParseError, parseTOML } from "toml-eslint-parser";

type Table = Readonly<Record<string, unknown>>;

/** One place that containerd asks: a `[host."…"]` table, or `server` with the keys of the root. */
export interface HostEntry {
  /** As an error names it: `server`, or `host "http://sluice.example:5000"`. */
  readonly label: string;
  /** As written; undefined for a root without `server`: that is the image's own registry. */
  readonly url: string | undefined;
  readonly capabilities: readonly string[] | undefined;
  /** Certificates and keys, as written. */
  readonly files: readonly string[];
  readonly skipVerify: boolean;
  readonly overridePath: boolean;
}

/** A hosts.toml as containerd understands it: entries in the order in which they are asked. */
export interface HostsFile {
  readonly hosts: readonly HostEntry[];
  readonly server: HostEntry;
}

/** Why containerd would take the file for broken, and go on as if it were not there. */
export class BrokenHostsFile extends Error {
  override readonly name = "BrokenHostsFile";
}

/**
 * Reads strictly TOML 1.0, as containerd does: what only TOML 1.1 allows is broken on a node.
 *
 * @throws BrokenHostsFile
 */
export function parseHostsFile(text: string): HostsFile {
  try {
    const [body] = parseTOML(text, { tomlVersion: "1.0" }).body;
    const root: Table = getStaticTOMLValue(body);
    const tables = own(root, "host") ?? {};
    // containerd takes the order, and with it the hosts, from table headers: others do not count.
    const headers = body.body.flatMap((node) =>
      node.type === "TOMLTable" ? [node.resolvedKey] : [],
    );
    const urls = new Set(
      headers.filter(([first]) => first === "host").flatMap(([, url]) => url ?? []),
    );
    return {
      hosts: [...urls].map((url) => {
        const table = own(asTable(tables, "host"), String(url));
        return readEntry(asTable(table, `host "${url}"`), `host "${url}"`, String(url));
      }),
      server: readEntry(root, "server", optional(root, "server", isString, "a text")),
    };
  } catch (cause) {
    if (cause instanceof ParseError) {
      throw new BrokenHostsFile(`line ${cause.lineNumber}: ${cause.message}`, { cause });
    }
    throw cause;
  }
}

function readEntry(table: Table, label: string, url: string | undefined): HostEntry {
  const timeout = optional(table, "dial_timeout", isString, "a text");
  if (timeout !== undefined && !/^([0-9.]+(ns|us|µs|ms|s|m|h))+$/u.test(timeout)) {
    throw new BrokenHostsFile(`dial_timeout of ${label} is not a duration`);
  }
  for (const value of Object.values(asTable(own(table, "header") ?? {}, "header"))) {
    if (!isString(value) && !isStrings(value)) {
      throw new BrokenHostsFile(`a header of ${label} is neither a text nor a list of texts`);
    }
  }
  const files: unknown = [own(table, "ca"), own(table, "client")]
    .flat(2)
    .filter((file) => file !== undefined);
  if (!isStrings(files)) {
    throw new BrokenHostsFile(`ca or client of ${label} is not a list of files`);
  }
  return {
    label,
    url: url === "" ? undefined : url,
    capabilities: optional(table, "capabilities", isStrings, "a list of texts"),
    files: files.filter((file) => file !== ""),
    skipVerify: optional(table, "skip_verify", isBoolean, "true or false") ?? false,
    overridePath: optional(table, "override_path", isBoolean, "true or false") ?? false,
  };
}

function optional<T>(
  table: Table,
  key: string,
  is: (value: unknown) => value is T,
  expected: string,
): T | undefined {
  const value = own(table, key);
  if (value === undefined || is(value)) {
    return value;
  }
  throw new BrokenHostsFile(`${key} is not ${expected}`);
}

/** A file may have a `[__proto__]` table: what it holds must not pass for keys of the file. */
function own(table: Table, key: string): unknown {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

function asTable(value: unknown, label: string): Table {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BrokenHostsFile(`${label} is not a table`);
  }
  return value as Table;
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(isString);
}

function isBoolean(value: unknown): value is boolean {
  return typeof value === "boolean";
}
